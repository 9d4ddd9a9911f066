"""Messages to a run: who takes which, when they are kept, and for how long."""

from __future__ import annotations

from typing import Any

import pytest
from simulator import CONTEXT, SUCCESS, Simulator

from mistral.engine.core.ports import Rules
from mistral.errors import Conflict, TooMany, WorkflowFault
from mistral.messages import (
    PauseWorkflow,
    PostMessage,
    RerunTask,
    ResumeWorkflow,
    State,
    StopWorkflow,
    UpdateAction,
    message_key,
)

FLOW = """
version: '2.0'
w:
  input: [key: null, seconds: null]
  tasks:
    before: {action: std.async_noop, on-success: t}
    t:
      action: std.wait_for name="paid" key=<% $.key %> timeout=<% $.seconds %>
      publish: {got: <% task().result %>}
  output: {got: <% $.got %>}
"""


def post(sim: Simulator, run_id: str, payload: Any, **values: Any) -> Any:
    values = {"name": "paid", "message_id": f"m{next(sim._count)}", **values}
    return sim.ask(PostMessage, run_id, payload=payload, **values)


def waiting(sim: Simulator, **input: Any) -> str:
    run_id = sim.start("w", input)
    [action] = sim.store.action_rows.values()
    sim.request(
        UpdateAction(
            run_id=run_id, action_id=action["id"], state="SUCCESS",
            request_id=f"a{run_id}", context=CONTEXT,
        )
    )  # fmt: skip
    sim.settle(sim.clock.now())
    return run_id


def test_a_message_is_the_result_of_the_task_that_waits() -> None:
    sim = Simulator(FLOW)
    run_id = waiting(sim, key="o-1")
    assert sim.states(run_id)["t"] == State.RUNNING
    answer = post(sim, run_id, {"sum": 3}, key="o-1")
    assert answer["taken_by"] in sim.store.action_rows
    assert sim.store.runs[run_id]["output"] == {"got": {"sum": 3}}
    assert not sim.store.wait_rows
    assert not sim.offers, "no executor is asked"


def test_a_message_that_comes_first_is_kept_until_the_task_waits() -> None:
    sim = Simulator(FLOW)
    run_id = sim.start("w", {"key": 7})
    assert post(sim, run_id, "first", key="7")["taken_by"] is None
    assert post(sim, run_id, "second", key="7")["taken_by"] is None
    sim.answer(run_id, "before")
    assert sim.store.runs[run_id]["output"] == {"got": "first"}
    [left] = sim.store.kept_messages(run_id)
    assert left["payload"] == "second"


@pytest.mark.parametrize("other", [{"key": "8"}, {"key": None}, {"name": "sent"}])
def test_name_and_key_must_be_the_same(other: dict[str, Any]) -> None:
    sim = Simulator(FLOW)
    run_id = waiting(sim, key="7")
    assert post(sim, run_id, 1, **{"key": "7", **other})["taken_by"] is None
    assert sim.states(run_id)["t"] == State.RUNNING
    assert post(sim, run_id, 2, key="7")["taken_by"]


def test_a_repeat_changes_nothing() -> None:
    sim = Simulator(FLOW)
    run_id = sim.start("w")
    payload = {"sum": 1.5, "of": [True, None]}
    again = {"of": [True, None], "sum": 1.5}
    first = post(sim, run_id, payload, message_id="m")
    assert post(sim, run_id, again, message_id="m") == first
    assert len(sim.store.message_rows) == 1
    sim.answer(run_id, "before")
    assert sim.store.runs[run_id]["output"] == {"got": payload}
    late = post(sim, run_id, again, message_id="m")
    assert late["taken_by"], "also when the run is over"


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"name": "sent"}, "another name"),
        ({"key": "8"}, "another key"),
        ({"payload": 2}, "another payload"),
        ({"payload": True}, "another payload"),
        ({"payload": None}, "another payload"),
        ({"name": "sent", "key": "8", "payload": 2}, "another name, key and payload"),
    ],
)
def test_an_id_means_one_message(other: Any, told: str, taken: bool) -> None:
    sim = Simulator(FLOW)
    run_id = sim.start("w", {"key": "7"})
    sent = {"payload": 1, "key": "7", "message_id": "m"}
    post(sim, run_id, **sent)
    if taken:
        sim.answer(run_id, "before")
    with pytest.raises(Conflict, match=f"'m' came with {told}"):
        post(sim, run_id, **{**sent, **other})
    assert bool(post(sim, run_id, **sent)["taken_by"]) == taken
    assert len(sim.store.message_rows) == 1
    if not taken:
        sim.answer(run_id, "before")
    assert sim.store.runs[run_id]["output"] == {"got": 1}


ADHOC = """
version: '2.0'
hears:
  base: std.wait_for
  base-input: {name: paid}
  output: {heard: <% $ %>}
"""


def test_a_payload_that_an_ad_hoc_action_has_changed_can_be_repeated() -> None:
    sim = Simulator("""
version: '2.0'
w:
  tasks:
    t: {action: hears, publish: {got: <% task().result %>}}
  output: {got: <% $.got %>}
""", actions=ADHOC)  # fmt: skip
    run_id = sim.start("w")
    sim.settle()
    first = post(sim, run_id, 1, message_id="m")
    assert first["taken_by"]
    assert sim.store.runs[run_id]["output"] == {"got": {"heard": 1}}
    assert post(sim, run_id, 1, message_id="m") == first
    with pytest.raises(Conflict, match="another payload"):
        post(sim, run_id, {"larger": 1}, message_id="m")


def test_an_event_that_comes_again_means_the_message_of_the_first() -> None:
    """What an expression of its trigger makes of it may be something else now."""
    sim = Simulator(FLOW)
    run_id = sim.start("w")
    trigger = {"type": "event_trigger", "id": "e", "name": "e"}
    first = post(sim, run_id, 1, message_id="m", trigger=trigger)
    assert post(sim, run_id, 2, message_id="m", trigger=trigger) == first


ITEMS = """
version: '2.0'
w:
  tasks:
    t:
      with-items: i in <% range(3) %>
      action: std.wait_for name="paid"
      publish: {got: <% task().result %>}
  output: {got: <% $.got %>}
"""


def test_each_message_has_one_taker_and_who_waited_longest_is_first() -> None:
    sim = Simulator(ITEMS)
    run_id = sim.start("w")
    sim.settle()
    takers = [post(sim, run_id, n)["taken_by"] for n in range(3)]
    assert len(set(takers)) == 3
    assert sim.store.runs[run_id]["output"] == {"got": [0, 1, 2]}


def test_messages_that_were_kept_are_taken_in_their_order() -> None:
    sim = Simulator("""
version: '2.0'
w:
  tasks:
    t: {action: std.async_noop, on-success: i}
    i:
      with-items: i in <% range(3) %>
      action: std.wait_for name="paid"
      publish: {got: <% task().result %>}
  output: {got: <% $.got %>}
""")
    run_id = sim.start("w")
    for n in range(4):
        post(sim, run_id, n)
    sim.answer(run_id, "t")
    assert sim.store.runs[run_id]["output"] == {"got": [0, 1, 2]}
    assert sim.store.runs[run_id]["internals"]["kept_messages"] == 1


def test_the_wait_ends_with_its_time() -> None:
    sim = Simulator(FLOW)
    run_id = waiting(sim, seconds=60)
    sim.settle(sim.later(59))
    assert sim.states(run_id)["t"] == State.RUNNING
    sim.settle(sim.later(2))
    assert sim.store.runs[run_id]["state"] == State.ERROR
    [action] = [a for a in sim.store.action_rows.values() if a["name"] != "x"][-1:]
    assert action["output"] == {"result": "No message 'paid' came in time."}
    assert not sim.store.wait_rows


def test_a_timer_of_a_wait_that_was_ended_means_nothing() -> None:
    sim = Simulator(FLOW)
    run_id = waiting(sim, seconds=60)
    post(sim, run_id, 1)
    sim.settle()
    assert sim.store.runs[run_id]["state"] == SUCCESS


def test_a_rerun_waits_anew_and_takes_what_came_meanwhile() -> None:
    sim = Simulator(FLOW)
    run_id = waiting(sim, seconds=60)
    sim.settle()
    [task] = sim.tasks(run_id, "t")
    with pytest.raises(Conflict, match="is in ERROR"):
        post(sim, run_id, 1)
    sim.request(
        RerunTask(run_id=run_id, task_id=task.id, request_id="again", context=CONTEXT)
    )
    sim.settle(sim.clock.now())
    assert post(sim, run_id, 2)["taken_by"]
    assert sim.store.runs[run_id]["output"] == {"got": 2}


def test_a_task_that_timed_out_takes_nothing() -> None:
    sim = Simulator("""
version: '2.0'
w:
  tasks:
    t: {action: std.wait_for name="paid", timeout: 5, on-error: u}
    u: {action: std.wait_for name="paid", publish: {got: <% task().result %>}}
  output: {got: <% $.got %>}
""")
    run_id = sim.start("w")
    sim.settle(sim.later(6))
    assert len(sim.store.wait_rows) == 1
    post(sim, run_id, "late")
    assert sim.store.runs[run_id]["output"] == {"got": "late"}


def test_a_paused_run_takes_messages_and_goes_on_when_it_is_resumed() -> None:
    sim = Simulator("""
version: '2.0'
w:
  tasks:
    t: {action: std.wait_for name="paid", on-success: u}
    u: {action: std.noop}
""")
    run_id = sim.start("w")
    sim.ask(PauseWorkflow, run_id)
    assert post(sim, run_id, 1)["taken_by"]
    assert sim.states(run_id) == {"t": SUCCESS}
    sim.ask(ResumeWorkflow, run_id)
    assert sim.store.runs[run_id]["state"] == SUCCESS


def test_a_wait_has_its_time_again_when_the_run_is_reopened() -> None:
    sim = Simulator("""
version: '2.0'
w:
  tasks:
    t: {action: std.wait_for name="paid" timeout=60, on-error: noop}
    u: {action: std.fail}
""")
    run_id = sim.start("w")
    stop = StopWorkflow(run_id=run_id, state="ERROR", request_id="s", context=CONTEXT)
    sim.request(stop)
    assert sim.store.runs[run_id]["state"] == "ERROR"
    [failed] = sim.tasks(run_id, "u")
    sim.timers.clear()
    sim.request(
        RerunTask(run_id=run_id, task_id=failed.id, request_id="q", context=CONTEXT)
    )
    assert sim.states(run_id)["t"] == State.RUNNING
    sim.settle()
    assert sim.states(run_id)["t"] == State.ERROR


def test_a_cancelled_run_takes_none() -> None:
    sim = Simulator(FLOW)
    run_id = waiting(sim)
    sim.ask(StopWorkflow, run_id, state="CANCELLED")
    with pytest.raises(Conflict, match="is in CANCELLED"):
        post(sim, run_id, 1)


def test_only_the_execution_that_is_addressed_takes_it() -> None:
    sim = Simulator("""
version: '2.0'
child: {tasks: {t: {action: std.wait_for name="paid"}}}
parent: {tasks: {t: {workflow: child}}}
""")
    run_id = sim.start("parent")
    sim.settle()
    assert post(sim, run_id, 1)["taken_by"] is None
    [child] = [r["id"] for r in sim.store.runs.values() if r["task_execution_id"]]
    assert post(sim, child, 2)["taken_by"]
    assert sim.store.runs[run_id]["state"] == SUCCESS


def test_what_a_run_keeps_is_bounded() -> None:
    sim = Simulator(FLOW, rules=Rules(kept_messages=2, kept_message_bytes=20))
    run_id = sim.start("w")
    post(sim, run_id, "a" * 10)
    with pytest.raises(TooMany, match="keeps 1 messages of 12 bytes"):
        post(sim, run_id, "b" * 10)
    post(sim, run_id, 1)
    with pytest.raises(TooMany, match="may keep 2"):
        post(sim, run_id, 2)
    sim.answer(run_id, "before")
    assert sim.store.runs[run_id]["internals"]["kept_messages"] == 1


def test_a_payload_above_the_field_limit_is_refused() -> None:
    sim = Simulator(FLOW, rules=Rules(field_limit=100))
    run_id = sim.start("w")
    with pytest.raises(WorkflowFault, match="Field size limit exceeded"):
        post(sim, run_id, "a" * 200)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("name=<% 1 %>", "'name' of 1 to 255 characters is expected"),
        ('name="x" key=<% list(1) %>', "'key' is expected to be a text"),
        ('name="x" timeout=<% 0 %>', "'timeout' is expected"),
        ('name="x" timeout=<% true %>', "'timeout' is expected"),
    ],
)
def test_a_wrong_wait_fails_the_task(wrong: str, said: str) -> None:
    sim = Simulator(f"""
version: '2.0'
w: {{tasks: {{t: {{action: 'std.wait_for {wrong}', on-error: noop}}}}}}
""")
    run = sim.run("w")
    assert run["state"] == SUCCESS
    assert said in sim.tasks(run["id"], "t")[0].state_info


def test_keys_are_texts() -> None:
    assert message_key(7) == message_key("7") == "7"
    assert message_key("") is message_key(None) is None
    for wrong in (True, 1.5, ["a"], "x" * 256):
        with pytest.raises(ValueError, match="'key' is expected"):
            message_key(wrong)
