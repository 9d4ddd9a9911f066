"""Delayed starts, time limits and repetitions of whole runs, on the core alone
(decision 0043)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from simulator import CONTEXT, ERROR, SUCCESS, Simulator

from mistral.engine.core.ports import Rules
from mistral.errors import (
    BadRequest,
    ExpressionFault,
    MistralError,
    TransitionRefused,
)
from mistral.messages import (
    ChildStarted,
    DeleteWorkflow,
    Event,
    MaintenanceChanged,
    PauseWorkflow,
    RerunTask,
    ResumeWorkflow,
    StopWorkflow,
    UpdateAction,
    UpdateWorkflow,
)

HEAD = "version: '2.0'\n\n"
PLAIN = "w: {tasks: {t: {action: std.noop}}}"
WAITS = "w: {timeout: 10, tasks: {t: {action: std.async_noop}}}"


class Life:
    """A run whose time moves when the test says so.

    :param answers: what its actions say, one after the other; the last for ever.
    """

    def __init__(
        self, body: str, answers: Any = ((SUCCESS, 1),), **params: Any
    ) -> None:
        left = list(answers)
        self.made = 0

        def script(call: Any) -> Any:
            if call["name"] == "std.async_noop":
                return None
            self.made += 1
            return left.pop(0) if len(left) > 1 else left[0]

        self.sim = Simulator(
            HEAD + body, script=script, rules=Rules(inline_actions=False)
        )
        self.first = self.sim.clock.now()
        self.id = self.sim.start("w", **params)
        self.at(0)

    def at(self, second: float) -> Life:
        """All that happens up to this second."""
        self.sim.settle(self.first + timedelta(seconds=second))
        return self

    def ask(self, kind: Any, **values: Any) -> Life:
        event = kind(run_id=self.id, request_id="q", context=CONTEXT, **values)
        return self.hear(event)

    def hear(self, event: Event) -> Life:
        self.sim.request(event)
        return self.at((self.sim.clock.now() - self.first).total_seconds())

    @property
    def row(self) -> Mapping[str, Any]:
        return self.sim.store.runs[self.id]

    @property
    def state(self) -> str:
        return str(self.row["state"])

    @property
    def info(self) -> str:
        return self.row["state_info"] or ""

    @property
    def tasks(self) -> list[tuple[str, str]]:
        return [(task.name, task.state) for task in self.sim.tasks(self.id)]


# -- start-at, start-after ----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("start-after", 90),
        ("start_after", 90.0),
        ("start-after", "PT1M30S"),
        ("start-at", None),
        ("start_at", None),
    ],
)
def test_a_run_is_idle_until_its_time(name: str, value: Any) -> None:
    if value is None:
        moment = Simulator(HEAD + PLAIN).clock.now() + timedelta(seconds=90 + 3600)
        value = f"{moment.isoformat()}+01:00"
    life = Life(PLAIN, **{name: value})
    for second in (0, 89):
        assert (life.at(second).state, life.tasks) == ("IDLE", [])
        assert life.info.startswith("Starts at ")
    assert life.at(90).state == SUCCESS
    assert life.info == ""
    assert life.row["params"][name] == value
    [task] = life.sim.tasks(life.id)
    assert task.started_at == life.first + timedelta(seconds=90)


@pytest.mark.parametrize(
    ("name", "value"),
    [("start-after", 0), ("start-after", "PT0S"), ("start-at", "2001-01-01T00:00:00Z")],
)
def test_a_time_that_has_come_is_now(name: str, value: Any) -> None:
    assert Life(PLAIN, **{name: value}).state == SUCCESS


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"start-at": "tomorrow"}, "an ISO 8601 time with a zone"),
        ({"start-at": "2030-01-01T00:00:00"}, "no zone in '2030-01-01T00:00:00'"),
        ({"start-at": 5}, "in 'params.start-at', found a number"),
        ({"start-at": "9999-12-31T23:59:59Z"}, "within a hundred years"),
        ({"start-at": "9999-12-31T23:59:59-12:00"}, "in 'params.start-at'"),
        ({"start-after": -1}, "seconds from 0 on"),
        ({"start_after": True}, "in 'params.start_after', found True"),
        ({"start-after": "P1M"}, "an ISO 8601 duration"),
        ({"start-after": "P"}, "an ISO 8601 duration"),
        ({"start-after": "P1DT"}, "an ISO 8601 duration"),
        ({"start-after": []}, "found an empty list"),
        ({"start-after": 10**10}, "seconds or less"),
        ({"start-after": 1, "start-at": "x"}, "Expected one time to start at"),
        ({"start-after": 1, "start_after": 1}, "Expected one time to start at"),
    ],
)
def test_what_is_no_time_is_refused(params: Any, said: str) -> None:
    with pytest.raises(BadRequest, match="params") as refusal:
        Life(PLAIN, **params)
    assert said in refusal.value.message


def test_faults_are_told_to_who_asks_and_looked_at_again_later() -> None:
    body = """w:
  input: [{n: 1}]
  vars: {v: "<% env().get(n, 1) * 2 %>"}
  output: {v: <% $.v %>}
  tasks: {t: {action: std.noop}}"""
    with pytest.raises(ExpressionFault):
        Life(body.replace("get(n, 1)", "nope.deeper.x"), **{"start-after": 5})
    life = Life(body, **{"start-after": 5})
    life.ask(UpdateWorkflow, env={"n": 4})
    assert life.at(5).row["output"] == {"v": 8}
    broken = Life(body, **{"start-after": 5}).ask(UpdateWorkflow, env={"n": {}})
    assert broken.at(5).state == ERROR
    assert "env().get(n, 1) * 2" in broken.info


def test_a_run_that_waits_can_be_begun_cancelled_failed_and_deleted() -> None:
    def waiting() -> Life:
        return Life(PLAIN, **{"start-after": 60})

    assert waiting().ask(ResumeWorkflow).at(1).state == SUCCESS
    early = waiting().ask(ResumeWorkflow).at(100)
    assert early.tasks == [("t", SUCCESS)], "its time means nothing any more"
    for state in ("CANCELLED", ERROR):
        life = waiting().ask(StopWorkflow, state=state, message="no").at(100)
        assert (life.state, life.info, life.tasks) == (state, "no", [])
    for kind, values in ((PauseWorkflow, {}), (StopWorkflow, {"state": SUCCESS})):
        with pytest.raises(TransitionRefused):
            waiting().ask(kind, **values)
    with pytest.raises(MistralError, match="IDLE"):
        waiting().ask(DeleteWorkflow)
    gone = waiting().ask(DeleteWorkflow, force=True).at(100)
    assert gone.sim.store.runs == {}


def test_maintenance_holds_back_what_is_due() -> None:
    life = Life(PLAIN, **{"start-after": 60})
    life.sim.store.maintenance = "PAUSED"
    assert life.at(100).state == "IDLE"
    life.sim.store.maintenance = ""
    assert life.at(106).state == SUCCESS


def test_maintenance_holds_the_next_attempt_back() -> None:
    life = Life(AGAIN, [BAD, GOOD])
    life.sim.store.maintenance = "PAUSED"
    assert (life.at(50).state, life.made) == ("PAUSED", 1)
    assert life.row["paused_by"] == "maintenance"
    life.sim.store.maintenance = ""
    assert life.hear(MaintenanceChanged(run_id=life.id)).state == SUCCESS


def test_names_of_tasks_inputs_start_nothing_later() -> None:
    """Q20: what a sub-workflow does not declare is a parameter."""
    body = """w: {tasks: {t: {workflow: s start-after=100}}}
s: {tasks: {u: {action: std.noop}}}"""
    assert Life(body).state == SUCCESS


# -- timeout of a workflow ----------------------------------------------------


@pytest.mark.parametrize("form", ["10", '"<% $.n %>"', '"{{ env().n }}"'])
def test_a_run_that_is_not_done_in_time_ends(form: str) -> None:
    body = f"""w:
  input: [{{n: 10}}]
  timeout: {form}
  output-on-error: {{far: <% $.far %>}}
  tasks:
    a: {{action: std.noop, publish: {{far: 1}}}}
    b: {{action: std.async_noop}}
    c: {{wait-before: 60, retry: count=3 delay=1}}
    d: {{workflow: s}}
s: {{tasks: {{u: {{action: std.async_noop}}}}}}"""
    life = Life(body, env={"n": 10})
    assert life.at(9.9).state == "RUNNING"
    assert life.at(10).state == ERROR
    assert life.info == "Workflow timed out [timeout(s)=10]."
    assert life.row["output"] == {"result": life.info, "far": 1}
    ends = {"a": SUCCESS, "b": "CANCELLED", "c": "CANCELLED", "d": "CANCELLED"}
    assert dict(life.tasks) == ends
    [child] = [r for id, r in life.sim.store.runs.items() if id != life.id]
    assert child["state"] == "CANCELLED"
    assert child["state_info"] == "Parent workflow timed out [timeout(s)=10]."
    assert life.at(200).tasks == [*ends.items()]


def test_a_run_that_is_done_in_time_does_not_hear_of_it() -> None:
    life = Life("w: {timeout: 10, tasks: {t: {action: std.noop}}}").at(100)
    assert (life.state, life.info) == (SUCCESS, "")


def test_the_time_of_a_delayed_start_does_not_count_and_that_of_a_pause_does() -> None:
    life = Life(WAITS, **{"start-after": 60})
    assert life.at(65).state == "RUNNING"
    life.ask(PauseWorkflow, message=None)
    assert (life.at(69.9).state, life.at(70).state) == ("PAUSED", ERROR)


def test_a_sub_workflow_has_its_own_limit() -> None:
    body = """w: {tasks: {t: {workflow: s, on-error: u}, u: {action: std.noop}}}
s: {timeout: 5, tasks: {v: {action: std.async_noop}}}"""
    life = Life(body).at(5)
    assert (life.state, life.tasks) == (SUCCESS, [("t", ERROR), ("u", SUCCESS)])
    assert life.sim.tasks(life.id, "t")[0].state_info.startswith("Workflow timed out")


def test_a_run_that_is_opened_again_has_its_whole_time() -> None:
    body = """w:
  timeout: 10
  tasks:
    t: {action: std.fail, on-error: u}
    u: {action: std.async_noop}"""
    life = Life(body, [(ERROR, "no")]).at(10)
    [failed] = life.sim.tasks(life.id, "t")
    life.at(50).ask(RerunTask, task_id=failed.id, reset=True)
    assert (life.at(59.9).state, life.at(60).state) == ("RUNNING", ERROR)
    assert life.info == "Workflow timed out [timeout(s)=10]."


def test_a_child_that_starts_when_time_is_over_is_cancelled() -> None:
    body = "w: {timeout: 5, tasks: {t: {workflow: s}}}\ns: " + WAITS[3:]
    life = Life(body)
    child = next(id for id in life.sim.store.runs if id != life.id)
    life.at(4.9)
    # As if the child's word had been on its way.
    row = life.sim.store.runs.pop(child)
    life.at(5)
    assert life.state == ERROR
    life.sim.store.runs[child] = row
    [task] = life.sim.tasks(life.id)
    life.hear(ChildStarted(run_id=life.id, task_id=task.id, child_id=child))
    assert life.sim.store.runs[child]["state"] == "CANCELLED"


@pytest.mark.parametrize("value", ["'5'", "-1", "1.5", "null", "10000000000", "$.no.x"])
@pytest.mark.parametrize("name", ["timeout", "retry"])
def test_a_wrong_value_refuses_the_start(name: str, value: str) -> None:
    text = f'"<% {value} %>"'
    if name == "retry":
        text = f"{{count: 1, delay: {text}}}"
    with pytest.raises(ExpressionFault):
        Life(f"w: {{{name}: {text}, tasks: {{t: {{action: std.noop}}}}}}")


# -- retry of a workflow ------------------------------------------------------

AGAIN = """w:
  vars: {v: 1}
  output: {r: <% $.r %>, g: <% $.get(g) %>, v: <% $.v %>}
  retry: {count: 2, delay: 3, backoff: 2}
  tasks:
    a: {action: std.noop, publish: {r: <% task().result %>}, on-success: [b, c]}
    b: {action: std.echo output=1, on-success: meet, publish-on-error: {branch: {}, global: {g: 1, v: 2}}}
    c: {action: std.noop, on-success: meet}
    meet: {join: all, action: std.noop}
"""  # noqa: E501

GOOD, BAD = (SUCCESS, 1), (ERROR, "no")


def test_a_run_that_fails_begins_anew() -> None:
    # a, then b (fails) and c; a, b, c, meet
    life = Life(AGAIN, [GOOD, BAD, GOOD, (SUCCESS, 7), GOOD])
    assert life.state == "RUNNING"
    assert life.info.startswith("Delayed by 'retry' policy [delay=3]: Failure caused")
    assert (life.row["output"], life.row["accepted"]) == ({}, False)
    assert life.at(2.9).made == 3
    assert life.at(3).state == SUCCESS
    assert life.row["output"] == {"r": 7, "g": None, "v": 1}, "nothing is left of it"
    assert life.made == 7
    assert [state for _, state in life.tasks].count(ERROR) == 1 + 1  # b, meet


def test_it_fails_when_all_attempts_have() -> None:
    life = Life(AGAIN, [BAD])
    seen = [life.at(second).made for second in (0, 3, 8.9, 9, 100)]
    assert seen == [1, 2, 2, 3, 3]
    assert life.state == ERROR
    assert life.info.startswith("Failure caused by error in tasks: a")
    assert [name for name, _ in life.tasks] == ["a", "a", "a"]


@pytest.mark.parametrize(
    "body",
    [
        "tasks: {t: {action: std.noop, on-success: fail}}",
        "tasks: {t: {action: std.noop, publish: {x: <% $.no.x %>}}}",
        "output: {x: <% $.no.x %>}, tasks: {t: {action: std.noop}}",
        "type: reverse, tasks: {t: {action: std.fail}}",
    ],
    ids=["command", "forced", "output", "reverse"],
)
def test_however_it_failed_by_itself(body: str) -> None:
    answers = [BAD] if "std.fail" in body else [GOOD]
    life = Life(f"w: {{retry: count=1 delay=5, {body}}}", answers, task_name="t")
    assert (life.state, life.made) == ("RUNNING", 1)
    assert (life.at(5).state, life.made) == (ERROR, 2)
    assert life.tasks == [life.tasks[0]] * 2


@pytest.mark.parametrize(("when", "made"), [("no", 1), ("yes", 2)])
def test_break_on_sees_what_the_attempt_published(when: str, made: int) -> None:
    body = """w:
  retry: {count: 1, delay: 1, break-on: <% $.why = no %>}
  tasks:
    t: {action: std.noop, publish-on-error: {why: <% task().result %>}}"""
    life = Life(body, [(ERROR, when)]).at(9)
    assert (life.state, life.made) == (ERROR, made)


def test_break_on_that_fails_ends_it_and_says_so() -> None:
    body = "w: {retry: {count: 1, delay: 1, break-on: <% $.no.x %>}, tasks: {t: {}}}"
    body = body.replace("{}}}", "{action: std.noop}}}")
    life = Life(body, [BAD]).at(9)
    assert (life.state, life.made) == (ERROR, 1)
    assert "Failure caused by error in tasks: t" in life.info
    assert "$.no.x" in life.info


def test_what_the_attempt_left_open_goes_with_it() -> None:
    body = """w:
  retry: count=1 delay=5
  tasks:
    a: {action: std.fail}
    b: {action: std.async_noop, on-success: late}
    c: {workflow: s}
    d: {wait-before: 20}
    x: {action: std.noop, on-success: fail}
    late: {action: std.noop}
s: {tasks: {u: {action: std.async_noop}}}"""
    life = Life(body, [BAD, GOOD])
    closed = dict(life.tasks)
    assert closed == {
        "a": ERROR, "b": "CANCELLED", "c": "CANCELLED", "d": "CANCELLED", "x": SUCCESS,
    }  # fmt: skip
    [action] = [
        row for row in life.sim.store.action_rows.values() if row["state"] != SUCCESS
        and row["task_name"] == "b"
    ]  # fmt: skip
    with pytest.raises(BadRequest):
        life.ask(UpdateAction, action_id=action["id"], state=SUCCESS)
    children = [r["state"] for id, r in life.sim.store.runs.items() if id != life.id]
    assert children == ["CANCELLED"]
    assert life.at(4.9).row["internals"].get("open", 0) == 0
    assert (life.at(5).state, life.at(100).state) == (ERROR, ERROR)
    [old, *_] = life.sim.tasks(life.id, "a")
    with pytest.raises(BadRequest, match="attempt"):
        life.ask(RerunTask, task_id=old.id, reset=True)


def test_users_have_the_last_word() -> None:
    life = Life(AGAIN, [BAD]).ask(StopWorkflow, state="CANCELLED", message="enough")
    assert (life.at(100).state, life.info, life.made) == ("CANCELLED", "enough", 1)
    life = Life(WAITS.replace("timeout: 10", "retry: count=3 delay=1"))
    life.ask(StopWorkflow, state=ERROR, message="enough")
    assert (life.at(100).state, life.info) == (ERROR, "enough")


def test_a_time_limit_is_one_for_all_attempts() -> None:
    body = "w: {timeout: 10, retry: count=5 delay=4, tasks: {t: {action: std.noop}}}"
    life = Life(body, [BAD])
    assert (life.at(8).made, life.at(9.9).state) == (3, "RUNNING")
    assert (life.at(10).state, life.at(100).made) == (ERROR, 3)
    assert life.info == "Workflow timed out [timeout(s)=10]."


def test_a_pause_holds_the_next_attempt_back() -> None:
    life = Life(AGAIN, [BAD, GOOD]).ask(PauseWorkflow, message=None)
    assert (life.at(50).state, life.made) == ("PAUSED", 1)
    life.ask(ResumeWorkflow)
    assert life.at(51).state == SUCCESS
    life = Life(AGAIN, [BAD, GOOD]).ask(PauseWorkflow, message=None).at(1)
    life.ask(ResumeWorkflow)
    assert (life.at(2.9).made, life.at(3).state) == (1, SUCCESS)


def test_a_run_that_fails_while_it_is_paused_stays_paused() -> None:
    body = """w:
  retry: count=1 delay=1
  tasks: {t: {action: std.async_noop, publish: {x: <% $.no.x %>}}}"""
    life = Life(body).ask(PauseWorkflow, message=None)
    [action] = life.sim.store.action_rows
    life.ask(UpdateAction, action_id=action, state=SUCCESS)
    assert (life.at(9).state, len(life.tasks)) == ("PAUSED", 1)
    assert (life.ask(ResumeWorkflow).state, len(life.tasks)) == ("RUNNING", 2)


def test_a_parent_hears_of_the_last_attempt_alone() -> None:
    body = """w:
  tasks:
    t: {workflow: s, publish: {r: <% task().result %>}}
s: {retry: count=1 delay=5, output: {x: 1}, tasks: {u: {action: std.noop}}}"""
    life = Life(body, [BAD, GOOD])
    assert life.tasks == [("t", "RUNNING")]
    assert life.at(5).row["output"] == {"r": {"x": 1}}
    assert len(life.sim.store.runs) == 2
    life = Life(body, [BAD]).at(5)
    assert (life.state, life.tasks) == (ERROR, [("t", ERROR)])


def test_vars_that_fail_use_an_attempt_up() -> None:
    body = """w:
  vars: {v: "<% env().n + 1 %>"}
  retry: count=2 delay=5
  tasks: {t: {action: std.noop}}"""
    life = Life(body, [BAD], env={"n": 1}).ask(PauseWorkflow, message=None)
    life.ask(UpdateWorkflow, env={"n": {}}).ask(ResumeWorkflow)
    assert (life.at(5).state, life.made) == ("RUNNING", 1)
    assert "env().n" in life.info
    assert (life.at(10).state, life.made) == (ERROR, 1)


def test_without_the_new_keys_an_error_is_final() -> None:
    life = Life(PLAIN, [BAD]).at(100)
    assert (life.state, life.made) == (ERROR, 1)
