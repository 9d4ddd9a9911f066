"""News between a run and its sub-workflows may come in any order (ENG-236)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from simulator import CONTEXT, ERROR, SUCCESS, Simulator

from mistral.errors import CallerError
from mistral.messages import (
    ActionFinished,
    ChildNews,
    ChildStarted,
    DeleteWorkflow,
    Event,
    PauseWorkflow,
    RerunTask,
    ResumeWorkflow,
    StopWorkflow,
)

HEAD = "version: '2.0'\n\n"


def ask(kind: Any, run_id: str, **values: Any) -> Any:
    return kind(run_id=run_id, request_id="q", context=CONTEXT, **values)


class Tree(Simulator):
    """Keeps back what sub-workflows tell their parents, or the other way."""

    def __init__(self, text: str, **more: Any) -> None:
        super().__init__(HEAD + text, **more)
        self.kept: list[Event] = []

    def settle_but(self, *kinds: type[Event]) -> None:
        """Hear everything but these, which are kept."""
        while True:
            self.settle_one(kinds)
            if not self.queue and not self.offers:
                return

    def settle_one(self, kinds: tuple[type[Event], ...]) -> None:
        queue, self.queue = self.queue, []
        for event, row in queue:
            if isinstance(event, kinds):
                self.kept.append(event)
            else:
                self.queue.append((event, row))
        if self.queue:
            self._turn(self.queue.pop(0)[0])
        elif self.offers:
            self._execute(next(iter(self.offers.values())))

    def named(self, name: str) -> dict[str, Any]:
        return next(r for r in self.store.runs.values() if r["workflow_name"] == name)

    def hear(self, events: Any) -> None:
        for event in events:
            self._turn(event)
        self.settle()


NESTED = """
w:
  tasks:
    t:
      workflow: s
      publish: {r: '<% task().result.r %>'}
s: {tasks: {u: {action: std.sleep seconds=1, publish: {r: 1}}}}
"""


def outcome_of_a_rerun_child(order: tuple[int, ...], text: str = NESTED) -> Any:
    """A child starts, fails, is opened again and succeeds: four news in ``order``."""
    answers = iter([(ERROR, "no"), (SUCCESS, 1)])
    sim = Tree(text, script=lambda call: next(answers))
    run_id = sim.start("w")
    sim.settle_but(ChildNews)
    child = sim.named("s")
    (task,) = sim.tasks(child["id"])
    sim.request(ask(RerunTask, child["id"], task_id=task.id, reset=True))
    sim.settle_but(ChildNews)
    kinds = [type(event).__name__ for event in sim.kept]
    assert kinds == ["ChildStarted", "ChildFinished", "ChildReopened", "ChildFinished"]
    sim.hear(sim.kept[i] for i in order)
    row = sim.store.runs[run_id]
    return row["state"], row["output"], sim.tasks(run_id, "t")[0].state


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_eng_189_a_child_that_failed_and_was_rerun_has_one_outcome(
    order: tuple[int, ...],
) -> None:
    """Its parent ends as the last word says."""
    assert outcome_of_a_rerun_child(order) == (SUCCESS, {"r": 1}, SUCCESS)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_eng_189_as_an_item_among_others(order: tuple[int, ...]) -> None:
    text = NESTED.replace(
        "workflow: s\n", "workflow: s\n      with-items: i in <% [1] %>\n"
    )
    text = text.replace("result.r", "result[0].r")
    assert outcome_of_a_rerun_child(order, text) == (SUCCESS, {"r": 1}, SUCCESS)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_eng_168_169_a_child_paused_and_resumed_leaves_nothing_paused(
    order: tuple[int, ...],
) -> None:
    """Started, paused, resumed, finished, heard in any order."""
    held: list[Any] = [None]
    sim = Tree(NESTED, script=lambda call: held[0])
    run_id = sim.start("w")
    sim.settle_but(ChildNews)
    child = sim.named("s")
    sim.request(ask(PauseWorkflow, child["id"], message=None))
    sim.request(ask(ResumeWorkflow, child["id"], env=None))
    (action,) = sim.store.action_rows.values()
    sim.request(ActionFinished(run_id=child["id"], action_id=action["id"], result=1))
    sim.settle_but(ChildNews)
    kinds = [type(event).__name__ for event in sim.kept]
    assert kinds == ["ChildStarted", "ChildPaused", "ChildResumed", "ChildFinished"]
    sim.hear(sim.kept[i] for i in order)
    assert sim.store.runs[run_id]["state"] == SUCCESS
    assert sim.states(run_id) == {"t": SUCCESS}


def test_eng_167_an_old_pause_after_a_resume_is_void() -> None:
    sim = Tree(NESTED)
    run_id = sim.start("w")
    sim.settle()
    sim.request(ask(PauseWorkflow, run_id, message=None))
    sim.request(ask(ResumeWorkflow, run_id, env=None))
    sim.settle_but(PauseWorkflow, ResumeWorkflow)
    pause, resume = sim.kept
    sim.hear([resume, pause])
    assert {row["state"] for row in sim.store.runs.values()} == {"RUNNING"}


def test_eng_167_a_child_that_obeyed_late_does_not_pause_its_parent() -> None:
    """The pause is heard, and answered, after the parent went on."""
    sim = Tree(NESTED)
    run_id = sim.start("w")
    sim.settle()
    sim.request(ask(PauseWorkflow, run_id, message=None))
    sim.settle_but(PauseWorkflow)
    sim.request(ask(ResumeWorkflow, run_id, env=None))
    sim.settle_but(ResumeWorkflow)
    pause, resume = sim.kept
    sim._turn(pause)
    sim.settle()
    assert sim.store.runs[run_id]["state"] == "RUNNING"
    assert sim.states(run_id) == {"t": "PAUSED"}
    sim.hear([resume])
    assert {row["state"] for row in sim.store.runs.values()} == {"RUNNING"}
    assert sim.states(run_id) == {"t": "RUNNING"}


def test_eng_167_a_resume_that_a_child_obeys_does_not_undo_a_newer_pause() -> None:
    sim = Tree(NESTED)
    run_id = sim.start("w")
    sim.settle()
    sim.request(ask(PauseWorkflow, run_id, message=None))
    sim.settle()
    sim.request(ask(ResumeWorkflow, run_id, env=None))
    sim.settle_but(ChildNews)
    sim.request(ask(PauseWorkflow, run_id, message=None))
    sim.settle_but(PauseWorkflow)
    news, pause = sim.kept
    sim.hear([news])
    assert sim.store.runs[run_id]["state"] == "PAUSED"
    sim.hear([pause])
    assert {row["state"] for row in sim.store.runs.values()} == {"PAUSED"}


@pytest.mark.parametrize(
    ("kind", "values", "state"),
    [
        (PauseWorkflow, {"message": None}, "PAUSED"),
        (StopWorkflow, {"state": "CANCELLED", "message": "no"}, "CANCELLED"),
    ],
)
def test_eng_167_170_a_child_that_was_not_there_yet_hears_it_when_it_starts(
    kind: Any, values: Any, state: str
) -> None:
    """The child's start did not see what its parent had decided."""
    sim = Tree(NESTED)
    run_id = sim.start("w")
    sim.settle_but(ChildStarted)
    child = sim.named("s")
    sim.store.runs.pop(child["id"])
    sim.request(ask(kind, run_id, **values))
    sim.settle()
    sim.store.runs[child["id"]] = child
    sim.hear(sim.kept)
    assert sim.store.runs[child["id"]]["state"] == state
    assert sim.store.runs[run_id]["state"] == state


def test_eng_199_a_child_of_a_deleted_parent_is_deleted() -> None:
    sim = Tree(NESTED)
    run_id = sim.start("w")
    sim.settle_but(ChildStarted)
    child = sim.named("s")
    sim.store.runs.pop(child["id"])
    sim.request(ask(DeleteWorkflow, run_id, force=True))
    sim.settle()
    sim.store.runs[child["id"]] = child
    sim.hear(sim.kept)
    assert not sim.store.runs


def test_eng_188_nothing_is_rerun_below_a_run_that_ended_well() -> None:
    text = """
w: {tasks: {t: {workflow: s, on-error: noop}}}
s: {tasks: {u: {action: std.fail}}}
"""
    sim = Tree(text)
    row = sim.run("w")
    assert row["state"] == SUCCESS
    child = sim.named("s")
    (task,) = sim.tasks(child["id"])
    with pytest.raises(CallerError, match="ended in SUCCESS"):
        sim.request(ask(RerunTask, child["id"], task_id=task.id, reset=True))
