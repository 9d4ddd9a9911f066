"""How late cron triggers fire: many of them, spread evenly over their period."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from client import Client, Wrong, fresh

FORMAT = "%Y-%m-%d %H:%M:%S"

FLOW = """\
version: '2.0'
NAME:
  vars: {begun: <% now().timestamp %>}
  output:
    begun: <% $.begun %>
    planned: <% execution().params.cron_params.planned_at %>
    trigger: <% execution().input.trigger %>
  input: [trigger]
  tasks:
    t: {action: std.noop}
"""


def pattern(offset: int, period: int) -> str:
    """Once in a period of 1, 60 or 300 seconds."""
    if period == 1:
        return "* * * * * *"
    if period == 60:
        return f"* * * * * {offset}"
    return f"{offset // 60}-59/5 * * * * {offset % 60}"


class Triggers:
    """So many, from making them to deleting them."""

    def __init__(self, client: Client, number: int, period: int) -> None:
        self._client = client
        self._period = period
        self.workflow = fresh("bench")
        client.upload(FLOW.replace("NAME", self.workflow))
        self._names = [f"{self.workflow}-{each}" for each in range(number)]
        client.each(self._make, range(number))

    def _make(self, number: int) -> None:
        body = {
            "name": self._names[number],
            "workflow_name": self.workflow,
            "workflow_input": {"trigger": number},
            "pattern": pattern(number % self._period, self._period),
        }
        self._client("POST", "cron_triggers", json=body)

    def delete(self) -> None:
        self._client.each(
            lambda name: self._client("DELETE", f"cron_triggers/{name}"), self._names
        )

    def late(self, start: datetime, end: datetime) -> list[float]:
        """Seconds from the planned time to the start, of all firings between.

        :raises Wrong: one is missing, or there twice.
        """
        found: dict[tuple[int, datetime], float] = {}
        for row in self._executions():
            said = _output(row)
            planned = datetime.strptime(said["planned"], FORMAT)
            key = (said["trigger"], planned)
            if key in found:
                raise Wrong(f"trigger {key[0]} fired twice for {planned}")
            found[key] = said["begun"] - planned.replace(tzinfo=UTC).timestamp()
        times = {key: late for key, late in found.items() if start <= key[1] < end}
        expected = sum(
            self._firings(number % self._period, start, end)
            for number in range(len(self._names))
        )
        if len(times) != expected:
            raise Wrong(f"expected {expected} firings, found {len(times)}")
        return list(times.values())

    def _firings(self, offset: int, start: datetime, end: datetime) -> int:
        """How often one fires between two whole seconds."""
        zero = datetime(2000, 1, 1) + timedelta(seconds=offset)
        until = [-((zero - each) // timedelta(seconds=self._period)) for each in
                 (start, end)]  # fmt: skip
        return until[1] - until[0]

    def _executions(self) -> list[dict[str, Any]]:
        path = (
            f"executions?workflow_name={self.workflow}&include_output=true&limit=1000"
            "&sort_keys=created_at,id"
        )
        rows: list[dict[str, Any]] = []
        while True:
            after = f"&marker={rows[-1]['id']}" if rows else ""
            page = self._client("GET", path + after)["executions"]
            rows += page
            if len(page) < 1000:
                return rows


def measure(client: Client, triggers: Triggers, seconds: float) -> list[float]:
    """Watch them for a while."""
    start = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    start += timedelta(seconds=2)
    end = start + timedelta(seconds=seconds)
    time.sleep(seconds + 5)
    client.wait_for_all(triggers.workflow)
    return triggers.late(start, end)


def _output(row: dict[str, Any]) -> dict[str, Any]:
    output = row["output"]
    return output if isinstance(output, dict) else dict(json.loads(output or "{}"))
