"""An engine dies at each step of each turn of a run: another one goes on, the run
comes to the same, and nothing is done twice (ENG-235, ENG-236, DESIGN § 6).

Who is not the engine lives on and does what it does for real: the client sends a
request again whose answer it misses, the executor asks again with the same token and
holds results until they are committed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from cells import CELLS, Cell
from house import CALLER, House

from mistral.db import models
from mistral.engine.steps import Step, unwatched
from mistral.messages import (
    CallAction,
    Event,
    PauseWorkflow,
    PostMessage,
    RerunTask,
    ResumeWorkflow,
    StartWorkflow,
)

WORKFLOWS = """
version: '2.0'

child:
  input: [n]
  output: {double: <% $.double %>}
  tasks:
    twice: {action: std.test_dict size=1 key_prefix='k' val='v', publish: {double: <% $.n * 2 %>}}

w:
  output: {items: <% $.items %>, doubles: <% $.doubles %>, late: <% $.late %>, heard: <% $.heard %>}
  tasks:
    begin: {action: std.echo output='go', on-success: [fan, children, flaky, late, hears]}
    fan:
      with-items: i in <% range(3) %>
      concurrency: 2
      action: std.test_dict size=<% $.i %> key_prefix='k' val='v'
      publish: {items: <% task().result.len() %>}
      on-success: meet
    children:
      with-items: n in [1, 2]
      workflow: child n=<% $.n %>
      publish: {doubles: <% task().result.double %>}
      on-success: meet
    flaky: {action: std.fail, retry: {count: 1, delay: 1}, on-error: meet}
    late: {action: std.noop, wait-before: 1, wait-after: 1, publish: {late: yes}, on-success: meet}
    hears:
      action: std.wait_for name="m" timeout=1000
      publish: {heard: <% task().result %>}
      on-success: meet
    meet: {join: all, action: std.noop, on-success: fails}
    fails: {action: std.fail}

stubborn:
  timeout: 600
  retry: {count: 1, delay: 1, backoff: 2, jitter: 0.5}
  tasks:
    begin: {action: std.echo output='go', on-success: [meet, children]}
    children: {workflow: child n=1, on-success: meet}
    slow: {action: std.async_noop}
    meet: {join: all, action: std.noop, on-success: [fail]}
"""  # noqa: E501

OUTPUT = ("items", "doubles", "late", "heard")
ENDS = ("SUCCESS", "ERROR")
SECONDS = 3.0
"""That time goes on by: leases last longer."""


class Died(BaseException):
    """An engine process is no more."""


class World(House):
    """An engine that can die, a client and an executor that do not."""

    def __init__(self, directory: Path, **more: Any) -> None:
        super().__init__(directory, **more)
        self.upload(WORKFLOWS)
        self.engines = 1
        self.offered: dict[tuple[str, int], tuple[CallAction, str]] = {}
        self.results: list[tuple[Event, Future[Any]]] = []
        self.ran: Counter[tuple[str, int]] = Counter()
        self.steps: list[Step] = []

    def dies_at(self, place: int) -> None:
        """At that step from now on, counted from 0; once."""
        self.steps = []

        def reached(step: Step) -> None:
            self.steps.append(step)
            if len(self.steps) > place:
                self.reached = unwatched
                raise Died(step)

        self.reached = reached

    def next_engine(self) -> None:
        self.engines += 1
        self.engine = self.new_engine(f"engine-{self.engines}")
        self.results = [
            (event, self.put(event))
            for event, answer in self.results
            if not answer.done()
        ]

    # -- The executor ---------------------------------------------------------

    def execute(self, call: CallAction) -> None:
        key = (call.action_id, call.attempt)
        self.offered.setdefault(key, (call, self.new_id()))
        self.claim_offered()

    def claim_offered(self) -> None:
        for key, (call, token) in list(self.offered.items()):
            yes = self.claim(call, token)
            del self.offered[key]
            if yes:
                self.ran[key] += 1
                result = self.runner.run(call)
                self.results.append((result, self.put(result)))

    # -- The client -----------------------------------------------------------

    def told(self, event: Event) -> Any:
        """The answer to a request, which is sent until there is one."""
        while True:
            try:
                return self.ask(event)
            except Died:
                self.next_engine()

    def lives(self, run_id: str) -> dict[str, Any]:
        """The run at its end, however many engines that takes."""
        for _ in range(100):
            try:
                self.claim_offered()
                self.settle()
                self.engine.overdue.run_once()
                self.settle()
            except Died:
                self.next_engine()
            header = self.header(run_id)
            if header["state"] in ENDS:
                return header
            self.clock.advance(SECONDS)
        raise AssertionError(f"stuck: {self.tasks(run_id)}")

    def life(self) -> dict[str, Any]:
        """A run with all that a user does to it, and what is left of it."""
        self.ran.clear()
        run_id = self.new_id()

        def request(cls: Any, **values: Any) -> Event:
            values |= {"run_id": run_id, "request_id": self.new_id()}
            return cls(context=CALLER.to_dict(), **values)  # type: ignore[no-any-return]

        self.told(request(StartWorkflow, workflow_name="w"))
        for number in ("first", "second"):
            mail = {"message_id": number, "name": "m", "payload": number}
            self.told(request(PostMessage, **mail))
        self.told(request(PauseWorkflow))
        self.told(request(ResumeWorkflow))
        first = self.lives(run_id)
        [failed] = self.rows(
            models.task_executions, workflow_execution_id=run_id, name="fails"
        )
        self.told(request(RerunTask, task_id=failed["id"]))
        last = self.lives(run_id)
        self.finish_answers(run_id)
        assert set(self.ran.values()) == {1}, "each attempt once"
        assert self.rows(models.outbox) == []
        assert self.examined() == []
        return {
            "states": [first["state"], last["state"]],
            "output": {name: last["output"][name] for name in OUTPUT},
            "tasks": self._tasks(run_id),
            "actions": len(self.ran),
            "messages": self._messages(run_id),
        }

    def stubborn_life(self) -> dict[str, Any]:
        """A run that begins later, fails and begins anew, all by itself."""
        self.ran.clear()
        run_id, request_id = self.new_id(), self.new_id()
        event = StartWorkflow(
            run_id=run_id,
            request_id=request_id,
            context=CALLER.to_dict(),
            workflow_name="stubborn",
            params={"start-after": 5},
        )
        self.told(event)
        assert (self.header(run_id)["state"], self.tasks(run_id)) == ("IDLE", {})
        last = self.lives(run_id)
        self.finish_answers(run_id)
        assert set(self.ran.values()) == {1}, "each attempt once"
        assert self.rows(models.outbox) == []
        assert self.examined() == []
        heard = [r["body"]["event"] for r in self.rows(models.history, run_id=run_id)]
        timers = [event["key"] for event in heard if event["kind"] == "RunWoke"]
        assert sorted(timers) == ["retry", "start"]
        return {
            "state": last["state"],
            "begun": last["internals"]["begun"],
            "tasks": self._tasks(run_id),
            "actions": len(self.ran),
        }

    def finish_answers(self, run_id: str) -> None:
        """An engine may die when all is over."""
        for _ in range(100):
            if not self.rows(models.outbox) and all(f.done() for _, f in self.results):
                return
            self.clock.advance(SECONDS)
            self.lives(run_id)
        raise AssertionError("something is left")

    def _messages(self, run_id: str) -> list[tuple[str, bool]]:
        found = self.rows(models.posted_messages, workflow_execution_id=run_id)
        return sorted((row["message_id"], bool(row["taken_by"])) for row in found)

    def _tasks(self, run_id: str) -> list[tuple[str, str]]:
        found = self.rows(models.task_executions, workflow_execution_id=run_id)
        return sorted((row["name"], row["state"]) for row in found)


@pytest.fixture(params=CELLS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    cell: Cell = request.param
    with cell.world(World, tmp_path) as world:
        yield world


def test_eng_235_an_engine_that_dies_at_any_step_loses_and_repeats_nothing(
    world: World,
) -> None:
    world.dies_at(1_000_000)
    calm = world.life()
    seen = list(world.steps)
    assert set(seen) == set(Step)
    assert calm["states"] == ["ERROR", "ERROR"]
    died: Counter[Step] = Counter()
    # What servers do otherwise is waiting, not deciding: a third of the places.
    apart = 1 if world.database.is_sqlite else 3
    for place in range(0, len(seen), apart):
        world.dies_at(place)
        before = world.engines
        assert world.life() == calm, f"died at {place}: {world.steps[-1]}"
        if world.engines > before:
            died[world.steps[place]] += 1
    assert set(died) == set(Step)


def test_eng_235_a_run_begins_once_at_its_time_and_once_for_each_attempt(
    world: World,
) -> None:
    """Decision 0043: timers of runs are rows as those of tasks are."""
    world.dies_at(1_000_000)
    calm = world.stubborn_life()
    seen = list(world.steps)
    assert (calm["state"], calm["begun"]) == ("ERROR", 2)
    apart = 1 if world.database.is_sqlite else 3
    for place in range(0, len(seen), apart):
        world.dies_at(place)
        assert world.stubborn_life() == calm, f"died at {place}: {world.steps[-1]}"
    assert world.engines > len(seen) // apart // 2
