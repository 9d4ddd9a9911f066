"""Turns on a database: requests, results, values, deletions (design page, § 3)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from house import CALLER, House
from small_flows import HELD, ONE, WAITS

from mistral.db import models
from mistral.errors import Bug, NotFound
from mistral.messages import (
    ActionFinished,
    DeleteWorkflow,
    PauseWorkflow,
    StartWorkflow,
    UpdateAction,
)


def test_journey_of_a_call(house: House) -> None:
    """DESIGN § 3: start, offer, claim, result, end; nothing is left behind."""
    house.upload(ONE)
    id = house.start("one", {"size": 2})
    [offer] = house.rows(models.outbox)
    assert (offer["kind"], offer["run_id"]) == ("CallAction", id)
    house.settle()
    header = house.header(id)
    assert header["state"] == "SUCCESS", header["state_info"]
    assert header["output"] == {"made": {"k0": "v", "k1": "v"}}
    assert house.rows(models.outbox) == []
    assert house.rows(models.poison) == []
    [action] = house.rows(models.action_executions)
    assert (action["state"], action["executor_id"]) == ("SUCCESS", "executor-1")


def test_a_name_means_the_given_namespace_only(house: House) -> None:
    """REST § 9.1.2: at the start there is no fallback; for a sub-workflow there
    is (§ 6.1)."""
    house.upload("version: '2.0'\n\nkid: {tasks: {t: {description: x}}}")
    outer = "version: '2.0'\n\nouter: {tasks: {t: {workflow: kid}}}"
    house.upload(outer, namespace="n")

    def start(name: str) -> str:
        event = StartWorkflow(
            run_id=house.new_id(),
            workflow_name=name,
            namespace="n",
            request_id=name,
            context=CALLER.to_dict(),
        )
        return str(house.ask(event)["id"])

    with pytest.raises(NotFound, match=r"\[name=kid\] \[namespace=n\]"):
        start("kid")
    id = start("outer")
    house.settle()
    assert house.header(id)["state"] == "SUCCESS"


def test_each_event_has_a_history_row(house: House) -> None:
    house.upload(ONE)
    id = house.run("one", {"size": 1})["id"]
    found = house.rows(models.history, run_id=id)
    kinds = [row["kind"] for row in found]
    assert kinds == ["StartWorkflow", "ActionFinished"]
    assert [row["seq"] for row in found] == [1, 2]
    assert found[0]["body"]["event"]["workflow_name"] == "one"
    ends = [step[-1] for step in found[1]["body"]["transitions"]]
    assert ends == ["SUCCESS", "SUCCESS", "SUCCESS"]


def test_large_values_are_not_copied_into_history(house: House) -> None:
    house.upload(ONE)
    id = house.run("one", {"size": "1" * 5_000})["id"]
    [first, *_] = house.rows(models.history, run_id=id)
    assert set(first["body"]["event"]["input"]) == {"$omitted"}


def test_a_repeated_request_gets_the_stored_answer(house: House) -> None:
    """DESIGN § 3, requests."""
    house.upload(WAITS)
    start = StartWorkflow(
        run_id=house.new_id(),
        workflow_name="waits",
        request_id="r1",
        context=CALLER.to_dict(),
    )
    first = house.ask(start)
    events = len(house.rows(models.history))
    assert house.ask(start) == first == {"id": start.run_id}
    assert len(house.rows(models.history)) == events


def test_repeats_in_one_turn_are_decided_once(house: House) -> None:
    house.upload(WAITS)
    start = StartWorkflow(
        run_id=house.new_id(),
        workflow_name="waits",
        request_id="r1",
        context=CALLER.to_dict(),
    )
    answers = [house.put(start), house.put(start)]
    house.turn()
    assert [a.result(0) for a in answers] == [{"id": start.run_id}] * 2
    assert len(house.rows(models.task_executions)) == 1


def test_a_refused_request_writes_nothing_and_hurts_no_neighbour(
    house: House,
) -> None:
    house.upload(WAITS)
    wrong = house.put(
        StartWorkflow(
            run_id=house.new_id(),
            workflow_name="nobody knows it",
            request_id="r1",
            context=CALLER.to_dict(),
        )
    )
    id = house.start("waits")
    with pytest.raises(NotFound):
        wrong.result(0)
    assert [row["id"] for row in house.rows(models.workflow_executions)] == [id]
    assert house.rows(models.poison) == []


def test_a_refused_request_leaves_the_other_events_of_its_run(house: House) -> None:
    house.upload(HELD)
    house.hold.add("std.sleep")
    id = house.start("held")
    house.settle()
    asked = {"run_id": id, "context": CALLER.to_dict()}
    wrong = house.put(UpdateAction(action_id="none", state="SUCCESS", **asked))
    right = house.put(PauseWorkflow(request_id="p", **asked))
    house.turn()
    with pytest.raises(NotFound):
        wrong.result(0)
    assert right.result(0) == {"id": id}
    assert house.header(id)["state"] == "PAUSED"


# -- Offers and results -------------------------------------------------------


def test_one_token_runs_an_attempt_and_gets_the_same_answer(house: House) -> None:
    """DESIGN § 3: a call is an offer; a claim starts it."""
    house.upload(HELD)
    house.start("held")
    house.engine.deliver.offers.send_waiting()
    call = house.post.offers.popleft()
    assert house.claim(call, "first")
    assert not house.claim(call, "second")
    assert house.claim(call, "first")
    assert house.rows(models.outbox) == []


def test_results_are_applied_once(house: House) -> None:
    house.upload(HELD)
    house.hold.add("std.sleep")
    id = house.start("held")
    house.settle()
    [call] = house.running
    house.finish(call, 1)
    house.finish(call, 2)
    house.turn()
    [action] = house.rows(models.action_executions)
    assert action["output"] == {"result": 1}
    assert house.header(id)["state"] == "SUCCESS"


def test_results_of_nobody_are_acknowledged(house: House) -> None:
    unknown = ActionFinished(run_id=house.new_id(), action_id=house.new_id())
    assert house.ask(unknown) is None
    assert house.rows(models.poison) == []


def test_results_without_their_run_find_it(house: House) -> None:
    """An event that names the action alone is guarded by the run's header."""
    house.upload(HELD)
    house.hold.add("std.sleep")
    id = house.start("held")
    house.settle()
    house.finish(replace(house.running[0], run_id=""))
    house.turn()
    assert house.header(id)["state"] == "SUCCESS"


def test_offers_that_were_sent_are_sent_again_later(house: House) -> None:
    """Decision 0037: 8 s after the first sends, later twice as long each time."""
    house.upload(HELD)
    house.start("held")
    house.engine.deliver.offers.send_waiting()
    house.post.offers.clear()
    began = house.clock.now()
    overdue = house.engine.sweeps[0]
    overdue.run_once()
    [row] = house.rows(models.outbox)
    assert (row["due_at"] - began).total_seconds() == 8
    house.clock.advance(8)
    overdue.run_once()
    assert house.engine.deliver.offers.send_waiting() == 1
    overdue.run_once()
    [row] = house.rows(models.outbox)
    assert (row["due_at"] - house.clock.now()).total_seconds() == 8


def test_offers_that_the_broker_refuses_are_sent_when_the_lease_ends(
    house: House,
) -> None:
    house.upload(HELD)
    id = house.start("held")
    house.post.closed = Bug("no broker")
    house.settle()
    house.post.closed = None
    house.clock.advance(10)
    house.sweep()
    assert house.header(id)["state"] == "SUCCESS"


def test_deleting_removes_all_that_belongs_to_a_run(house: House) -> None:
    house.upload(ONE)
    house.upload(WAITS)
    id = house.run("one", {"size": 1})["id"]
    other = house.start("waits")
    house.ask(DeleteWorkflow(run_id=id, request_id="d", context=CALLER.to_dict()))
    house.ask(
        DeleteWorkflow(
            run_id=other, force=True, request_id="e", context=CALLER.to_dict()
        )
    )
    for table in (
        models.workflow_executions,
        models.task_executions,
        models.action_executions,
        models.history,
        models.outbox,
    ):
        assert house.rows(table) == [], table.name


def test_eng_104_globals_and_large_values_are_seen_in_later_turns(
    house: House,
) -> None:
    """Also by tasks() of the whole project, of this run and others (LANG § 23)."""
    house.upload(
        """version: '2.0'
w:
  output: {g: <% global(g) %>, big: <% $.big.len() %>, all: <% $.all %>}
  tasks:
    a:
      publish: {big: <% 'x' * 9000 %>}
      on-success:
        publish: {global: {g: {a: 1}}}
        next: b
    b:
      wait-before: 1
      on-success:
        publish:
          branch:
            all: >-
              <% tasks().orderBy($.name)
              .select([$.name, $.state, ($.published or dict()).len()]) %>
          global: {g: {b: <% $.g.a + 1 %>}}
other: {tasks: {o: {publish: {x: 1, y: 2}}}}
"""
    )
    house.run("other")
    run_id = house.start("w")
    house.advance(1)
    assert house.header(run_id)["output"] == {
        "g": {"a": 1, "b": 2},
        "big": 9000,
        "all": [["a", "SUCCESS", 1], ["b", "SUCCESS", 0], ["o", "SUCCESS", 2]],
    }


def test_eng_112_values_that_compare_as_equal_are_written(house: House) -> None:
    """``true`` over ``1`` is a change of the row, in a turn of its own."""
    house.upload(
        """version: '2.0'
w:
  vars: {g: 1}
  output: {g: <% global(g) %>}
  tasks:
    a:
      wait-before: 1
      on-success: {publish: {global: {g: true}}, next: b}
    b: {wait-before: 1}
"""
    )
    run_id = house.start("w")
    house.advance(1)
    house.advance(1)
    assert house.header(run_id)["output"]["g"] is True


def test_eng_199_a_tree_is_deleted_in_one_turn(house: House) -> None:
    """Who asks for a sub-workflow right after the answer finds none."""
    house.upload(
        "version: '2.0'\n"
        "top: {tasks: {t: {workflow: mid}}}\n"
        "mid: {tasks: {t: {workflow: low}}}\n"
        "low: {tasks: {t: {action: std.async_noop}}}\n"
    )
    id = house.start("top")
    house.settle()
    assert len(house.rows(models.workflow_executions)) == 3
    house.ask(
        DeleteWorkflow(
            run_id=id, force=True, request_id="delete", context=CALLER.to_dict()
        )
    )
    for table in (
        models.workflow_executions,
        models.task_executions,
        models.action_executions,
        models.outbox,
        models.history,
    ):
        assert house.rows(table) == []


@pytest.mark.parametrize("name", ["a\0b", "a" * 70_000])
def test_names_that_no_row_can_have(house: House, name: str) -> None:
    """LANG § 28.1: what nobody can be called is unknown like any other name;
    the database is not asked for it, which would break the turn."""
    house.upload(
        """version: '2.0'

action:
  input: [n]
  tasks: {t: {with-items: "i in [1]", action: <% $.n %>, on-error: noop}}
workflow:
  input: [n]
  tasks: {t: {workflow: <% $.n %>, on-error: noop}}
task:
  input: [n]
  output: {t: <% task($.n) %>}
  tasks: {t: {description: x}}"""
    )
    states = {
        kind: house.run(kind, {"n": name})["state"]
        for kind in ("action", "workflow", "task")
    }
    assert set(states.values()) == {"SUCCESS"}, states
    with pytest.raises(NotFound):
        house.start(name)
