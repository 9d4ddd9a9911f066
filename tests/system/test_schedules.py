"""Triggers of a text on a real service, by the wall clock, through three clients."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from system.embedded import COMMAND_SECONDS, PROGRAMS, Embedded
from system.processes import until

pytestmark = pytest.mark.system

TEXT = """\
version: '2.0'
each_second:
  output:
    begun: <% $.begun %>
    planned: <% execution().params.cron_params.planned_at %>
  vars: {begun: <% now().timestamp %>}
  triggers:
    tick: {type: cron, pattern: "* * * * * *", timezone: Europe/Berlin, count: 4}
    yearly: {type: cron, pattern: "0 3 1 1 *", timezone: America/New_York}
  tasks:
    t: {action: std.noop}
"""


def _control(service: Embedded, *words: str) -> Any:
    done = subprocess.run(
        [str(PROGRAMS / "mistralctl"), *words, "-o", "json"],
        env=os.environ | {"MISTRAL_URL": f"{service.root}/v2"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _runs(service: Embedded) -> list[dict[str, Any]]:
    path = "/v2/executions?workflow_name=each_second&include_output=true"
    found: list[dict[str, Any]] = service.request("GET", path)[1]["executions"]
    return found


def test_a_text_with_triggers_by_the_wall_clock(
    embedded: Embedded, tmp_path: Path
) -> None:
    file = tmp_path / "each_second.yaml"
    file.write_text(TEXT)
    _control(embedded, "upload", str(file))

    def done() -> bool:
        ended = [row for row in _runs(embedded) if row["state"] == "SUCCESS"]
        return len(ended) >= 4

    until(done, 60, "four firings")
    outputs = [json.loads(row["output"]) for row in _runs(embedded)]
    assert len({each["planned"] for each in outputs}) == len(outputs) == 4
    for each in outputs:
        planned = datetime.fromisoformat(each["planned"]).replace(tzinfo=UTC)
        assert 0 <= each["begun"] - planned.timestamp() < 30
    found = _control(embedded, "schedule", "each_second.tick", "--results")
    assert {row["outcome"] for row in found} == {"started"}
    assert _control(embedded, "schedule", "each_second.tick") == []
    [first, *_] = _control(embedded, "schedule", "each_second.yearly", "-n", "2")
    assert first["planned_at"].endswith("01-01 08:00:00")
    assert first["why"] == ["pattern 0 3 1 1 * in America/New_York"]
    # a client that knows nothing of all this
    listed = {row["Name"] for row in embedded.ok("cron-trigger-list")}
    assert {"each_second.tick", "each_second.yearly"} <= listed
    said = embedded.refuses("cron-trigger-delete", "each_second.yearly")
    assert "is defined by the workflow" in said
    embedded.tells("workflow-delete", "each_second")
    left = {row["Name"] for row in embedded.ok("cron-trigger-list")}
    assert not {"each_second.tick", "each_second.yearly"} & left
