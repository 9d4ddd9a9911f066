"""Maintenance pauses runs and lets go of those alone that it paused (§ 10.7)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from simulator import CONTEXT, SUCCESS, Simulator

from mistral.engine.core.lifecycle import postponed
from mistral.errors import Locked
from mistral.messages import (
    ActionFinished,
    MaintenanceChanged,
    PauseWorkflow,
    RerunTask,
    ResumeWorkflow,
    RunAction,
    SkipTask,
    StartWorkflow,
    State,
    StopWorkflow,
    Tell,
)

TEXT = """
version: '2.0'
flat:
  tasks:
    a: {action: std.async_noop, on-success: b}
    b: {action: std.async_noop}
top:
  tasks:
    one: {workflow: middle, on-success: after}
    other: {action: std.async_noop}
    after: {action: std.noop}
middle:
  tasks:
    each: {with-items: 'i in <% [1, 2] %>', workflow: leaf}
leaf:
  tasks:
    wait: {action: std.async_noop, on-success: done}
    done: {action: std.noop}
many:
  tasks:
    m:
      with-items: i in <% [1, 2, 3] %>
      concurrency: 1
      action: std.async_noop
held:
  tasks:
    a: {action: std.noop, wait-before: 10}
nested:
  tasks:
    n: {workflow: flat}
bad:
  tasks:
    a: {action: std.fail, on-error: b}
    b: {action: std.fail}
"""


class Service(Simulator):
    """A simulator with maintenance; ``tell`` is what the sweep does."""

    def maintain(self, status: str) -> None:
        self.store.maintenance = status
        self.tell()

    def tell(self) -> None:
        wanted = "RUNNING" if self.store.maintenance else "PAUSED"
        for id in [i for i, row in self.store.runs.items() if row["state"] == wanted]:
            self.request(MaintenanceChanged(run_id=id))
        self.drain()

    def drain(self) -> None:
        """All that waits is heard; no offer is taken and no time passes."""
        while self.queue:
            position = self.random.randrange(len(self.queue)) if self.random else 0
            self._turn(self.queue.pop(position)[0])

    def run_of(self, workflow: str) -> list[str]:
        rows = self.store.runs.values()
        return [row["id"] for row in rows if row["workflow_name"] == workflow]

    def all_states(self) -> set[str]:
        return {row["state"] for row in self.store.runs.values()}

    def finish_all(self) -> bool:
        """End every asynchronous action that waits; false when there is none."""
        waiting = [r for r in self.store.action_rows.values() if r["state"] in OPEN]
        for row in waiting:
            run_id, id = row["workflow_execution_id"], row["id"]
            self.request(ActionFinished(run_id=run_id, action_id=id, state=SUCCESS))
        self.settle()
        return bool(waiting)


OPEN = ("RUNNING", "PAUSED")


@pytest.fixture
def service() -> Service:
    return Service(TEXT)


def _settled(service: Service, name: str) -> str:
    id = service.start(name)
    service.settle()
    return id


def test_eng_230_work_ends_and_what_follows_waits(service: Service) -> None:
    id = _settled(service, "flat")
    service.maintain("PAUSING")
    assert service.store.runs[id]["state"] == "PAUSED"
    assert service.store.runs[id]["state_info"] == "Paused by maintenance."
    service.finish_all()
    assert service.states(id) == {"a": "SUCCESS"}
    service.maintain("")
    service.settle()
    assert service.store.runs[id]["state"] == "RUNNING"
    assert service.store.runs[id]["paused_by"] is None
    assert service.states(id) == {"a": "SUCCESS", "b": "RUNNING"}
    service.finish_all()
    assert service.store.runs[id]["state"] == "SUCCESS"


def test_eng_230_a_turn_starts_nothing_before_the_sweep_has_come(
    service: Service,
) -> None:
    id = _settled(service, "flat")
    service.store.maintenance = "PAUSING"
    service.finish_all()
    assert service.states(id) == {"a": "SUCCESS"}
    assert service.store.runs[id]["paused_by"] == "maintenance"


def test_eng_230_what_a_user_paused_stays_paused(service: Service) -> None:
    his, ours = _settled(service, "flat"), _settled(service, "flat")
    service.ask(PauseWorkflow, his)
    service.maintain("PAUSING")
    service.maintain("")
    assert service.store.runs[his]["state"] == "PAUSED"
    assert service.store.runs[ours]["state"] == "RUNNING"


def test_eng_230_a_tree_is_paused_and_goes_on_as_a_whole(service: Service) -> None:
    id = _settled(service, "top")
    assert len(service.run_of("leaf")) == 2
    service.maintain("PAUSING")
    assert service.all_states() == {"PAUSED"}
    assert service.states(id)["one"] == "PAUSED"
    service.finish_all()
    assert service.all_states() == {"PAUSED"}
    service.maintain("")
    service.settle()
    while service.finish_all():
        continue
    assert service.all_states() == {"SUCCESS"}
    assert service.states(id) == dict.fromkeys(("one", "other", "after"), "SUCCESS")


@pytest.mark.parametrize("speaker", ["top", "middle", "leaf"])
@pytest.mark.parametrize("when", ["before the sweep", "after the sweep"])
def test_eng_230_a_user_who_pauses_any_of_a_tree_pauses_it_all(
    service: Service, speaker: str, when: str
) -> None:
    _settled(service, "top")
    service.maintain("PAUSING")
    service.store.maintenance = ""
    if when == "after the sweep":
        service.tell()
    service.ask(PauseWorkflow, service.run_of(speaker)[0])
    service.tell()
    service.settle()
    assert service.all_states() == {"PAUSED"}
    assert {row["paused_by"] for row in service.store.runs.values()} == {None}
    service.ask(ResumeWorkflow, service.run_of("top")[0])
    assert service.all_states() == {"RUNNING"}
    while service.finish_all():
        continue
    assert service.all_states() == {"SUCCESS"}


@pytest.mark.parametrize("speaker", ["top", "middle"])
def test_eng_230_a_user_who_resumes_first_is_not_contradicted(
    service: Service, speaker: str
) -> None:
    _settled(service, "top")
    service.maintain("PAUSING")
    service.store.maintenance = ""
    service.ask(ResumeWorkflow, service.run_of(speaker)[0])
    assert service.all_states() == {"RUNNING"}
    service.tell()
    service.settle()
    while service.finish_all():
        continue
    assert service.all_states() == {"SUCCESS"}


def test_eng_230_who_was_kept_and_then_paused_holds_its_parent(
    service: Service,
) -> None:
    _settled(service, "top")
    service.maintain("PAUSING")
    service.store.maintenance = ""
    one, two = service.run_of("leaf")
    service.ask(PauseWorkflow, one)
    service.ask(ResumeWorkflow, two)
    states = {id: row["state"] for id, row in service.store.runs.items()}
    assert states.pop(two) == "RUNNING"
    assert set(states.values()) == {"PAUSED"}
    service.ask(ResumeWorkflow, one)
    assert service.all_states() == {"RUNNING"}


def test_eng_230_a_resume_on_its_way_starts_nothing_in_maintenance(
    service: Service,
) -> None:
    id = _settled(service, "nested")
    [child] = service.run_of("flat")
    service.ask(PauseWorkflow, id)
    service.finish_all()
    service.request(ResumeWorkflow(run_id=id, request_id="r", context=CONTEXT))
    service.maintain("PAUSING")
    assert service.all_states() == {"PAUSED"}
    assert service.states(child) == {"a": "SUCCESS"}
    service.maintain("")
    assert service.states(child) == {"a": "SUCCESS", "b": "RUNNING"}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("word", [PauseWorkflow, ResumeWorkflow])
def test_eng_230_a_word_on_its_way_when_maintenance_begins(
    seed: int, word: type[Any]
) -> None:
    """The user's word reaches the whole tree in the end, in any order."""
    service = Service(TEXT, seed=seed)
    chance = random.Random(seed)
    id = _settled(service, "top")
    if word is ResumeWorkflow:
        service.ask(PauseWorkflow, id)
    speaker = chance.choice(["top", "middle"])
    service.request(
        word(run_id=service.run_of(speaker)[0], request_id="q", context=CONTEXT)
    )
    for _ in range(chance.randrange(4)):
        if service.queue:
            service._turn(service.queue.pop(chance.randrange(len(service.queue)))[0])
    service.store.maintenance = "PAUSING"
    for run_id in chance.sample(list(service.store.runs), 2):
        service.request(MaintenanceChanged(run_id=run_id))
    service.drain()
    service.tell()
    assert service.all_states() == {"PAUSED"}
    service.maintain("")
    service.settle()
    if word is PauseWorkflow:
        assert service.all_states() == {"PAUSED"}
        service.ask(ResumeWorkflow, id)
    assert service.all_states() == {"RUNNING"}
    while service.finish_all():
        continue
    assert service.all_states() == {"SUCCESS"}


@pytest.mark.parametrize("seed", range(40))
def test_eng_230_runs_end_the_same_whenever_maintenance_comes_and_goes(
    seed: int,
) -> None:
    service = Service(TEXT, seed=seed)
    chance = random.Random(seed)
    for name in ("top", "many", "nested", "held"):
        service.start(name)
    for _ in range(200):
        step = chance.randrange(6)
        if step == 0:
            service.store.maintenance = chance.choice(["", "PAUSING", "PAUSED"])
        elif step == 1 and service.store.runs:
            run_id = chance.choice(list(service.store.runs))
            service.request(MaintenanceChanged(run_id=run_id))
        elif step == 2 and service.offers:
            service._execute(next(iter(service.offers.values())))
        elif step == 3:
            rows = list(service.store.action_rows.values())
            waiting = [r for r in rows if r["state"] == "RUNNING" and r["started_by"]]
            if waiting:
                row = chance.choice(waiting)
                run_id, id = row["workflow_execution_id"], row["id"]
                service.request(ActionFinished(run_id=run_id, action_id=id))
        elif service.queue:
            place = chance.randrange(len(service.queue))
            before = len(service.offers)
            service._turn(service.queue.pop(place)[0])
            if service.store.maintenance:
                assert len(service.offers) <= before
    service.maintain("")
    service.settle()
    while service.finish_all():
        service.tell()
    assert service.all_states() == {"SUCCESS"}
    # each action ran once
    names = [row["name"] for row in service.store.action_rows.values()]
    assert names.count("std.async_noop") == 1 + 2 + 3 + 2


def test_eng_229_what_would_start_something_is_refused_in_the_turn(
    service: Service,
) -> None:
    id = _settled(service, "bad")
    [failed] = service.tasks(id, "b")
    paused = _settled(service, "flat")
    service.ask(PauseWorkflow, paused)
    service.store.maintenance = "PAUSED"
    who: dict[str, Any] = {"request_id": "x", "context": CONTEXT}
    for request in (
        StartWorkflow(run_id="new", workflow_name="flat", **who),
        RunAction(action_id="new", name="std.noop", save=True, **who),
        ResumeWorkflow(run_id=paused, **who),
        RerunTask(run_id=id, task_id=failed.id, **who),
        SkipTask(run_id=id, task_id=failed.id, **who),
    ):
        with pytest.raises(Locked, match="Current Mistral state is PAUSED"):
            service.request(request)
    again = StartWorkflow(run_id=id, workflow_name="bad", **who)
    assert service.request(again) == {"id": id}


def test_eng_229_a_run_can_be_cancelled_in_maintenance(service: Service) -> None:
    id = _settled(service, "top")
    service.maintain("PAUSING")
    service.ask(StopWorkflow, id, state=State.CANCELLED, message="enough")
    assert service.all_states() == {"CANCELLED"}
    service.maintain("")
    service.settle()
    assert service.all_states() == {"CANCELLED"}


def test_eng_230_a_sub_workflow_asked_for_before_begins_paused(
    service: Service,
) -> None:
    service.start("nested")
    service.store.maintenance = "PAUSING"
    service.settle()
    [child] = service.run_of("flat")
    assert service.all_states() == {"PAUSED"}
    assert service.states(child) == {"a": "IDLE"}
    assert not service.store.action_rows
    service.maintain("")
    service.settle()
    assert service.states(child) == {"a": "RUNNING"}
    while service.finish_all():
        continue
    assert service.all_states() == {"SUCCESS"}


def test_eng_230_a_timer_that_comes_in_maintenance_waits_for_its_end(
    service: Service,
) -> None:
    id = service.start("held")
    service.maintain("PAUSED")
    service.settle()
    assert service.states(id) == {"a": "DELAYED"}
    service.maintain("")
    assert service.store.runs[id]["state"] == "SUCCESS"


def test_eng_225_a_trigger_asks_in_one_place(service: Service) -> None:
    now = service.clock.now()
    event = StartWorkflow(run_id="r", workflow_name="flat", context=CONTEXT)
    assert postponed(service.store, event, now) is None
    service.store.maintenance = "PAUSED"
    [effect] = postponed(service.store, event, now) or ()
    assert isinstance(effect, Tell)
    assert effect.event is event
    assert effect.due_at is not None and effect.due_at > now
