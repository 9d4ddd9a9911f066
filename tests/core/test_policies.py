"""Policies on the core alone (spec/engine.md § 5, statements of A.7)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from simulator import CONTEXT, ERROR, SUCCESS, Simulator

from mistral.engine.core.ports import Rules
from mistral.lang.backoff import LONGEST, seconds_before
from mistral.messages import (
    ActionFinished,
    PauseWorkflow,
    RerunTask,
    ResumeWorkflow,
    UpdateAction,
)

HEAD = "version: '2.0'\n\n"


def ask(kind: Any, run_id: str, **values: Any) -> Any:
    return kind(run_id=run_id, request_id="q", context=CONTEXT, **values)


class Watch:
    """A workflow whose time moves when the test says so.

    :param answers: what its actions say, one after another; the last for ever.
    """

    def __init__(
        self,
        body: str,
        answers: Iterable[tuple[str, Any] | None] = ((SUCCESS, 1),),
        env: Any = None,
    ) -> None:
        given = list(answers)
        self.made = 0

        def script(call: Any) -> tuple[str, Any] | None:
            if call["name"] == "std.noop":
                return SUCCESS, None
            self.made += 1
            return given.pop(0) if len(given) > 1 else given[0]

        rules = Rules(inline_actions=False)
        self.sim = Simulator(HEAD + body, script=script, rules=rules)
        self.begun = self.sim.clock.now()
        self.id = self.sim.start("w", **({"env": env} if env else {}))
        self.at(0)

    def at(self, second: float) -> Watch:
        """All that happens up to this second after the start."""
        self.sim.settle(self.begun + timedelta(seconds=second))
        return self

    @property
    def state(self) -> str:
        return str(self.sim.store.runs[self.id]["state"])

    @property
    def info(self) -> Any:
        return self.sim.store.runs[self.id]["state_info"]

    @property
    def output(self) -> Any:
        return self.sim.store.runs[self.id]["output"]

    @property
    def states(self) -> dict[str, str]:
        return self.sim.states(self.id)

    @property
    def task(self) -> Any:
        return self.sim.tasks(self.id, "t")[-1]

    @property
    def retry(self) -> Any:
        return self.task.runtime_context["retry_task_policy"]

    def rerun(self, reset: bool = True) -> None:
        event = ask(RerunTask, self.id, task_id=self.task.id, reset=reset)
        self.sim.request(event)

    def resume(self) -> None:
        self.sim.request(ask(ResumeWorkflow, self.id, env=None))


def one(policy: str, action: str = "std.sleep") -> str:
    return f"""w:
  tasks:
    t:
      action: {action}
      {policy}
      publish: {{r: <% task().result %>}}
      on-error: after
      on-success: after
    after: {{description: x}}"""


NO = [(ERROR, "no")]
OPEN = [None]
"""No answer comes."""


# -- wait-before, wait-after --------------------------------------------------


def test_eng_142_no_action_exists_during_wait_before() -> None:
    watch = Watch(one("wait-before: 5"))
    for second in (0, 4.9):
        watch.at(second)
        assert (watch.states, watch.sim.store.action_rows) == ({"t": "DELAYED"}, {})
    assert watch.task.state_info == "Delayed by 'wait-before' policy [delay=5]"
    assert watch.task.runtime_context["wait_before_policy"] == {"skip": True}
    assert watch.at(5).states == {"t": SUCCESS, "after": SUCCESS}
    assert watch.task.state_info is None


@pytest.mark.parametrize("end", [SUCCESS, ERROR])
def test_eng_143_wait_after_delays_what_follows(end: str) -> None:
    watch = Watch(one("wait-after: 5"), [(end, "x")])
    for second in (0, 4.9):
        assert watch.at(second).states == {"t": "DELAYED"}
    assert watch.task.state_info == "Delayed by 'wait-after' policy [delay=5]"
    assert watch.at(5).states == {"t": end, "after": SUCCESS}
    assert watch.task.state_info == (None if end == SUCCESS else "x")
    assert watch.task.runtime_context["wait_after_policy"] == {"skip": True}


def test_eng_143_a_dropped_result_is_published_before_the_wait() -> None:
    """§ 2.2, step 5: dropped after publishing, which happens twice."""
    watch = Watch(one("wait-after: 5\n      keep-result: false")).at(5)
    assert watch.task.published == {"r": 1}
    assert [r["output"] for r in watch.sim.store.action_rows.values()][:1] == [{}]


def test_eng_144_wait_after_applies_once_and_not_to_retries() -> None:
    watch = Watch(one("wait-after: 10\n      retry: count=2 delay=3"), NO)
    assert watch.at(9).made == 1
    assert (watch.at(10).retry, watch.made) == ({"retry_no": 1}, 1)
    assert (watch.at(13).made, watch.at(15.9).states) == (2, {"t": "DELAYED"})
    assert watch.at(16).states == {"t": ERROR, "after": SUCCESS}
    assert watch.made == 3


def test_eng_144_a_rerun_waits_again() -> None:
    watch = Watch("w: {tasks: {t: {action: std.sleep, wait-after: 10}}}", [*NO, *NO])
    assert watch.at(10).state == ERROR
    watch.rerun()
    assert watch.at(19).states == {"t": "DELAYED"}
    assert watch.at(20).state == ERROR


# -- Values -------------------------------------------------------------------

POLICIES = [
    ("retry: {{count: 1, delay: 0, max-delay: {}}}", "RetryPolicy"),
    ("wait-before: {}", "WaitBeforePolicy"),
    ("wait-after: {}", "WaitAfterPolicy"),
    ("timeout: {}", "TimeoutPolicy"),
    ("concurrency: {}", "ConcurrencyPolicy"),
    ("retry: {{count: {}, delay: 0}}", "RetryPolicy"),
    ("retry: {{count: 1, delay: {}}}", "RetryPolicy"),
]


@pytest.mark.parametrize("value", ["-1", "'1'", "1.5", "null", "true", "[]"])
@pytest.mark.parametrize(("policy", "name"), POLICIES, ids=[p for p, _ in POLICIES])
def test_eng_145_wrong_values_end_the_run_before_the_start(
    policy: str, name: str, value: str
) -> None:
    text = policy.format(f'"<% {value} %>"')
    watch = Watch(one(text))
    assert (watch.state, watch.states, watch.made) == (ERROR, {"t": ERROR}, 0)
    assert f"Invalid data type in {name}: " in watch.info


@pytest.mark.parametrize("value", ["1", "'x'", "null"])
def test_eng_145_pause_before_must_be_a_boolean(value: str) -> None:
    watch = Watch(one(f'pause-before: "<% {value} %>"'))
    assert (watch.state, watch.states) == (ERROR, {"t": ERROR})
    assert "Invalid data type in PauseBeforePolicy: " in watch.info


@pytest.mark.parametrize(("policy", "name"), POLICIES, ids=[p for p, _ in POLICIES])
def test_eng_145_zero_has_no_effect(policy: str, name: str) -> None:
    watch = Watch(one(policy.format('"<% 0 %>"')))
    assert (watch.state, watch.states) == (SUCCESS, {"t": SUCCESS, "after": SUCCESS})
    assert "wait_before_policy" not in watch.task.runtime_context
    assert "wait_after_policy" not in watch.task.runtime_context


@pytest.mark.parametrize("value", ["10000000000", "999999999999999999999"])
@pytest.mark.parametrize(
    "policy", ["wait-before: {}", "wait-after: {}", "timeout: {}",
               "retry: {{count: 1, delay: {}}}"],
)  # fmt: skip
def test_eng_145_a_delay_beyond_the_calendar_is_refused(
    policy: str, value: str
) -> None:
    watch = Watch(one(policy.format(f'"<% {value} %>"')), NO)
    assert (watch.state, watch.states) == (ERROR, {"t": ERROR})
    assert "Policy: " in watch.info


# -- retry --------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("form", ["{}", '"<% env().n %>"', '"{{{{ env().n }}}}"'])
def test_eng_146_at_most_one_run_more_than_count(count: int, form: str) -> None:
    text = f"retry: {{count: {form.format(count)}, delay: {form.format(count)}}}"
    watch = Watch(one(text), [*NO, *NO, *NO, *NO, *NO, *NO], env={"n": count})
    assert watch.at(count - 0.1).made == 1
    assert watch.task.state == "DELAYED"
    assert watch.task.state_info == f"Delayed by 'retry' policy [delay={count}]"
    watch.at(count * count)
    assert watch.task.state == ERROR
    assert watch.made == count + 1
    assert watch.retry == {"retry_no": count}
    rows = [
        r for r in watch.sim.store.action_rows.values()
        if r["task_execution_id"] == watch.task.id
    ]  # fmt: skip
    assert [r["accepted"] for r in rows] == [False] * count + [True]


def waited(watch: Watch) -> list[float]:
    """Seconds from each attempt to the next."""
    rows = watch.sim.store.action_rows.values()
    mine = [row["created_at"] for row in rows if row["task_name"] == "t"]
    times = [(each - watch.begun).total_seconds() for each in mine]
    return [later - earlier for earlier, later in pairwise(times)]


def test_0043_delays_grow_up_to_the_longest() -> None:
    retry = "retry: {count: 4, delay: 2, backoff: <% 1 + 2 %>, max-delay: 20}"
    watch = Watch(one(retry), NO).at(2)
    assert watch.task.state_info == "Delayed by 'retry' policy [delay=6]"
    watch.at(100)
    assert waited(watch) == [2, 6, 18, 20]
    assert (watch.task.state, watch.retry) == (ERROR, {"retry_no": 4})


def test_0043_one_line_may_grow_too() -> None:
    watch = Watch(one("retry: count=3 delay=1 backoff=2"), NO).at(100)
    assert waited(watch) == [1, 2, 4]


def test_0043_jitter_takes_a_share_away_the_same_at_each_replay() -> None:
    retry = "retry: {count: 20, delay: 100, jitter: 0.25}"
    first = waited(Watch(one(retry), NO).at(3000))
    assert first == waited(Watch(one(retry), NO).at(3000))
    assert len(first) == len(set(first)) == 20
    assert all(75 <= each <= 100 for each in first)
    assert max(first) - min(first) > 15


@pytest.mark.parametrize(
    ("more", "value", "expected"),
    [
        ("backoff", "0.5", "a number from 1 on, found another"),
        ("backoff", "'2'", "a number from 1 on, found a string"),
        ("jitter", "1.1", "a number from 0 to 1, found another"),
        ("jitter", "true", "a number from 0 to 1, found a boolean"),
    ],
)
def test_0043_wrong_values_end_the_run_before_the_start(
    more: str, value: str, expected: str
) -> None:
    watch = Watch(one(f'retry: {{count: 1, delay: 1, {more}: "<% {value} %>"}}'))
    assert (watch.state, watch.made) == (ERROR, 0)
    expected = f"Invalid data type in RetryPolicy: 'retry.{more}' must be {expected}"
    assert expected in watch.info


@pytest.mark.parametrize("repetition", [1, 2, 60, 10**9])
@pytest.mark.parametrize("delay", [0, 1, 3600])
@pytest.mark.parametrize("backoff", [1, 1.5, 10, 1e300])
def test_0043_no_delay_leaves_the_calendar(
    repetition: int, delay: int, backoff: float
) -> None:
    found = seconds_before(repetition, delay, backoff)
    assert min(delay, LONGEST) <= found <= LONGEST
    assert seconds_before(repetition, delay, backoff, 7) == min(found, 7)


def test_eng_147_success_is_not_retried() -> None:
    watch = Watch(one("retry: count=3 delay=1")).at(100)
    assert (watch.task.state, watch.made, watch.retry) == (SUCCESS, 1, {})


@pytest.mark.parametrize(
    ("policy", "answers", "made", "state"),
    [
        # ENG-148
        ("break-on=<% true %>", NO, 1, ERROR),
        ("break-on=<% false %>", NO, 4, ERROR),
        ("break-on=<% true %>", [(SUCCESS, 1)], 1, SUCCESS),
        # ENG-149
        ("continue-on=<% true %>", [(SUCCESS, 1)], 4, SUCCESS),
        ("continue-on=<% 'false' %>", [(SUCCESS, 1)], 4, SUCCESS),
        ("continue-on=<% false %>", [(SUCCESS, 1)], 1, SUCCESS),
        # ENG-150
        ("continue-on=<% false %>", NO, 1, ERROR),
        ("continue-on=<% true %>", NO, 4, ERROR),
        ("continue-on=<% true %> break-on=<% true %>", NO, 1, ERROR),
        ("continue-on=<% true %> break-on=<% true %>", [(SUCCESS, 1)], 4, SUCCESS),
        # ENG-151: the result, the state and what was just published
        ("break-on=<% task().result = no %>", NO, 1, ERROR),
        ("break-on=<% task().state = ERROR %>", NO, 1, ERROR),
        ("break-on=<% $.get(e) = no %>", NO, 1, ERROR),
        ("break-on=<% $.get(r) = no %>", NO, 4, ERROR),
        ("continue-on=<% task().result < 3 %>",
         [(SUCCESS, 1), (SUCCESS, 2), (SUCCESS, 3)], 3, SUCCESS),
        ("continue-on=<% $.r < 3 %>",
         [(SUCCESS, 1), (SUCCESS, 2), (SUCCESS, 3)], 3, SUCCESS),
        ("continue-on=<% task().published.r < 3 %>",
         [(SUCCESS, 1), (SUCCESS, 2), (SUCCESS, 3)], 3, SUCCESS),
    ],
)  # fmt: skip
def test_eng_148_149_150_151_break_on_and_continue_on(
    policy: str, answers: Any, made: int, state: str
) -> None:
    more = f"retry: count=3 delay=1 {policy}\n      publish-on-error: {{e: <% task().result %>}}"  # noqa: E501
    watch = Watch(one(more), answers).at(100)
    assert (watch.task.state, watch.made) == (state, made)
    assert watch.retry == ({"retry_no": made - 1} if made > 1 else {})


@pytest.mark.parametrize("name", ["break-on", "continue-on"])
def test_eng_151_a_condition_that_fails_ends_the_run(name: str) -> None:
    """§ 2.8; evaluated always, also when not needed."""
    watch = Watch(one(f"retry: count=3 delay=1 {name}=<% $.nope %>"))
    assert (watch.state, watch.states) == (ERROR, {"t": ERROR})


def test_eng_152_a_cancelled_task_is_not_retried() -> None:
    watch = Watch(one("retry: count=3 delay=1", "std.async_noop"), OPEN)
    (action,) = watch.sim.store.action_rows
    update = ask(UpdateAction, watch.id, action_id=action, state="CANCELLED")
    watch.sim.request(update)
    assert watch.at(100).states == {"t": "CANCELLED"}
    assert watch.state == "CANCELLED"
    assert len(watch.sim.store.action_rows) == 1


def test_eng_146_a_retry_that_is_due_while_paused_waits_for_the_resume() -> None:
    watch = Watch(one("retry: count=1 delay=5"), [*NO, (SUCCESS, 1)])
    watch.sim.request(ask(PauseWorkflow, watch.id, message=None))
    assert (watch.at(50).states, watch.made) == ({"t": "DELAYED"}, 1)
    watch.resume()
    assert watch.at(51).states == {"t": SUCCESS, "after": SUCCESS}


def test_eng_146_a_retry_that_is_due_after_the_resume_keeps_its_delay() -> None:
    watch = Watch(one("retry: count=1 delay=5"), [*NO, (SUCCESS, 1)])
    watch.sim.request(ask(PauseWorkflow, watch.id, message=None))
    watch.at(2).resume()
    assert (watch.at(4.9).states, watch.made) == ({"t": "DELAYED"}, 1)
    assert watch.at(5).states == {"t": SUCCESS, "after": SUCCESS}


def test_eng_146_a_sub_workflow_is_started_anew() -> None:
    body = """w:
  tasks:
    t:
      workflow: s n=<% $.get(n) %>
      retry: {count: 2, delay: 1, continue-on: <% task().result.y < 3 %>}
      publish: {n: <% task().result.y %>, r: <% task().result %>}
s:
  input: [n]
  output: {y: <% $.y %>, n: <% $.n %>}
  tasks: {u: {action: std.sleep, publish: {y: <% task().result %>}}}"""
    watch = Watch(body, [(SUCCESS, 1), (SUCCESS, 2), (SUCCESS, 3)]).at(9)
    assert len(watch.sim.store.runs) == 4
    # Its own publication is not in the input of the next attempt.
    assert watch.output == {"n": 3, "r": {"y": 3, "n": None}}


def test_eng_146_results_of_repeated_attempts_are_not_shown() -> None:
    """LANG § 18.5: they disappear from ``task().result``."""
    for kind in ("action: std.sleep", "workflow: s"):
        body = f"""w:
  tasks:
    t: {{{kind}, retry: {{count: 1, delay: 20, continue-on: <% true %>}}}}
    look: {{wait-before: 9, publish: {{seen: <% task(t).result %>}}}}
s: {{tasks: {{u: {{publish: {{y: 1}}}}}}}}"""
        watch = Watch(body).at(40)
        assert watch.output["seen"] == [], kind


# -- fail-on ------------------------------------------------------------------


def test_eng_153_fail_on_turns_success_into_error_and_is_retried() -> None:
    watch = Watch(
        one("fail-on: <% task().result < 3 %>\n      retry: count=5 delay=1"),
        [(SUCCESS, 1), (SUCCESS, 2), (SUCCESS, 3)],
    ).at(100)
    assert (watch.task.state, watch.retry) == (SUCCESS, {"retry_no": 2})
    watch = Watch(one("fail-on: <% task().result < 3 %>"))
    assert watch.task.state == ERROR
    assert watch.task.state_info == "Failed by 'fail-on' policy"
    # What it published as a success stays, its on-error runs (LANG-207).
    assert watch.task.published == {"r": 1}
    assert (watch.states["after"], watch.state) == (SUCCESS, SUCCESS)


def test_eng_153_fail_on_comes_after_the_wait() -> None:
    watch = Watch(one("fail-on: <% true %>\n      wait-after: 5"))
    assert watch.at(4.9).states == {"t": "DELAYED"}
    assert watch.at(5).task.state_info == "Failed by 'fail-on' policy"


def test_eng_153_fail_on_that_cannot_be_evaluated_ends_the_run() -> None:
    """§ 5.3: evaluated at every completion, also of a failed task."""
    policy = "fail-on: <% task().result.code > 3 %>"
    watch = Watch(one(policy), NO)
    assert (watch.state, watch.states) == (ERROR, {"t": ERROR})
    watch = Watch(one(policy), [(ERROR, {"code": 5})])
    assert (watch.state, watch.task.state_info) == (SUCCESS, "{'code': 5}")


def test_eng_153_an_erased_result_is_what_policies_see() -> None:
    """§ 5.5: retry and keep-result false."""
    policy = "fail-on: <% task().result = 1 %>\n      keep-result: false"
    assert Watch(one(policy)).task.state == SUCCESS
    policy = "retry: count=2 delay=1 continue-on=<% task().result = null %>"
    watch = Watch(one(policy + "\n      keep-result: <% false %>")).at(9)
    assert (watch.retry, watch.task.published) == ({"retry_no": 2}, {"r": 1})


# -- timeout ------------------------------------------------------------------


def test_eng_154_157_a_timeout_is_an_ordinary_error() -> None:
    watch = Watch(one("timeout: 5"), OPEN)
    (action_id,) = watch.sim.store.action_rows
    assert watch.at(4.9).states == {"t": "RUNNING"}
    assert watch.at(5).states["t"] == ERROR
    assert watch.task.state_info == "Task timed out [timeout(s)=5]."
    assert watch.states["after"] in (SUCCESS, "RUNNING")
    watch.sim.request(
        ActionFinished(run_id=watch.id, action_id=action_id, attempt=1, result="late")
    )
    assert watch.task.state == ERROR
    assert watch.task.state_info == "Task timed out [timeout(s)=5]."
    assert watch.task.published is None


@pytest.mark.parametrize(
    ("policy", "made"),
    [("wait-before: 9", 0), ("retry: count=9 delay=3", 2), ("wait-after: 9", 1)],
)
def test_eng_155_156_the_timeout_covers_waits_and_retries_and_ends_them(
    policy: str, made: int
) -> None:
    watch = Watch(one(f"timeout: 5\n      {policy}"), NO)
    assert watch.at(4.9).states == {"t": "DELAYED"}
    assert watch.made == made
    assert watch.at(5).states == {"t": ERROR, "after": SUCCESS}
    assert watch.task.state_info == "Task timed out [timeout(s)=5]."
    assert watch.at(100).made == made
    assert watch.states == {"t": ERROR, "after": SUCCESS}


def test_eng_156_a_rerun_after_a_timeout_has_a_timer_of_its_own() -> None:
    watch = Watch("w: {tasks: {t: {action: std.sleep, timeout: 5}}}", OPEN)
    assert watch.at(6).state == ERROR
    watch.rerun()
    assert watch.at(10.9).states == {"t": "RUNNING"}
    assert watch.at(11).states == {"t": ERROR}


def test_eng_155_an_old_timer_does_not_cut_a_rerun_short() -> None:
    """The delay of a retry that a time-out made void ends in the wait-before of
    the rerun."""
    policy = "wait-before: 4\n      retry: count=1 delay=20\n      timeout: 10"
    watch = Watch(f"w:\n  tasks:\n    t:\n      action: std.sleep\n      {policy}", NO)
    assert watch.at(10).state == ERROR
    assert watch.made == 1
    # The old retry is due at 24, the new wait-before at 25.
    watch.at(21).rerun()
    assert (watch.at(24.5).states, watch.made) == ({"t": "DELAYED"}, 1)
    assert watch.at(25).made == 2


def test_eng_157_a_result_in_the_very_moment_comes_first_or_not_at_all() -> None:
    for first in ("result", "timer"):
        watch = Watch(one("timeout: 5"), OPEN)
        (action_id,) = watch.sim.store.action_rows
        late = ActionFinished(
            run_id=watch.id, action_id=action_id, attempt=1, result="x"
        )
        if first == "result":
            watch.sim.request(late)
            assert watch.at(9).task.state == SUCCESS
        else:
            watch.at(5).sim.request(late)
            assert watch.task.state == ERROR


@pytest.mark.parametrize("items", ["", "with-items: i in <% [1, 2] %>"])
def test_eng_158_a_timeout_cancels_the_sub_workflows(items: str) -> None:
    body = f"""w:
  tasks:
    t:
      {items}
      workflow: s
      timeout: 5
s: {{tasks: {{u: {{action: std.async_noop}}}}}}"""
    watch = Watch(body, OPEN)
    children = [r for r in watch.sim.store.runs.values() if r["task_execution_id"]]
    assert {r["state"] for r in children} == {"RUNNING"}
    watch.at(5)
    children = [r for r in watch.sim.store.runs.values() if r["task_execution_id"]]
    assert {r["state"] for r in children} == {"CANCELLED"}
    assert (watch.state, watch.states) == (ERROR, {"t": ERROR})
    assert len(children) == (2 if items else 1)


# -- pause-before -------------------------------------------------------------


@pytest.mark.parametrize("value", ["true", '"<% true %>"', '"{{ true }}"'])
def test_eng_159_pause_before_holds_the_task_until_the_resume(value: str) -> None:
    watch = Watch(one(f"pause-before: {value}"))
    assert (watch.at(9).state, watch.states) == ("PAUSED", {"t": "IDLE"})
    assert watch.task.state_info == "Set by 'pause-before' policy"
    assert watch.sim.store.action_rows == {}
    watch.resume()
    assert watch.at(9).states == {"t": SUCCESS, "after": SUCCESS}


def test_eng_159_false_does_not_pause() -> None:
    assert Watch(one('pause-before: "<% false %>"')).state == SUCCESS


def test_eng_160_timeout_and_wait_before_count_from_the_resume() -> None:
    policy = "pause-before: true\n      wait-before: 3\n      timeout: 5"
    watch = Watch(one(policy), OPEN)
    assert watch.at(50).states == {"t": "IDLE"}
    watch.resume()
    assert watch.at(52.9).states == {"t": "DELAYED"}
    assert watch.at(53).states == {"t": "RUNNING"}
    assert watch.at(54.9).states == {"t": "RUNNING"}
    assert watch.at(55).task.state_info == "Task timed out [timeout(s)=5]."


def test_eng_159_a_rerun_pauses_again_and_keeps_the_reset() -> None:
    """§ 5.5: the reset survives the wait."""
    for reset, made in ((True, [0, 1, 2]), (False, [1])):
        body = """w:
  tasks:
    t:
      with-items: i in <% range(3) %>
      pause-before: true
      action: std.sleep seconds=<% $.i %>"""
        watch = Watch(body, [(SUCCESS, 1), *NO, (SUCCESS, 1)])
        watch.resume()
        assert watch.at(0).state == ERROR
        watch.sim.calls.clear()
        watch.rerun(reset)
        assert (watch.at(0).state, watch.states) == ("PAUSED", {"t": "IDLE"})
        watch.resume()
        assert watch.at(0).state == SUCCESS
        assert [call["seconds"] for call in watch.sim.calls] == made


# -- task-defaults, rerun -----------------------------------------------------


def test_eng_161_a_task_overrides_a_default_and_keeps_the_others() -> None:
    body = """w:
  task-defaults:
    wait-before: 3
    wait-after: 4
    retry: count=1 delay=1
  tasks:
    t: {action: std.sleep, wait-before: 1, retry: count=2 delay=1}
    u: {action: std.sleep}
    o: {action: std.sleep, wait-before: 0, wait-after: 0, retry: count=0 delay=0}"""
    watch = Watch(body, NO)
    assert watch.at(0.5).states == {"t": "DELAYED", "u": "DELAYED", "o": ERROR}
    assert watch.at(1).made == 2
    assert watch.at(3).made == 3
    assert watch.at(100).states == {"t": ERROR, "u": ERROR, "o": ERROR}
    assert watch.made == 1 + 3 + 2
    (u,) = watch.sim.tasks(watch.id, "u")
    assert watch.retry == {"retry_no": 2}
    assert u.runtime_context["retry_task_policy"] == {"retry_no": 1}


def test_eng_162_a_rerun_restores_the_retries() -> None:
    text = "w: {tasks: {t: {action: std.sleep, retry: {count: 2, delay: 1}}}}"
    watch = Watch(text, NO).at(2)
    assert (watch.state, watch.made) == (ERROR, 3)
    watch.rerun()
    assert (watch.at(10).made, watch.retry) == (6, {"retry_no": 2})


def test_eng_163_the_effective_timeout_goes_with_the_call() -> None:
    """§ 5.4: also that of task-defaults, with the environment in sight."""
    body = """w:
  task-defaults: {timeout: <% env().t %>}
  tasks:
    t: {action: std.sleep}
    u: {action: std.sleep, timeout: <% env().u %>}"""
    sim = Simulator(HEAD + body)
    sim.start("w", env={"t": 7, "u": 8})
    assert sorted(call.timeout for call in sim.offers.values()) == [7, 8]


# -- The combination table (§ 5.5) with joins ---------------------------------


def test_policies_of_a_join_apply_when_it_is_ready() -> None:
    """J1, T13: wait-before, pause-before, timeout, retry of a join."""
    body = """w:
  tasks:
    a: {on-success: t}
    b: {on-success: t}
    t: {join: all, action: std.sleep, wait-before: 5, retry: count=1 delay=3}"""
    watch = Watch(body, [*NO, (SUCCESS, 1)])
    assert watch.at(4.9).states["t"] == "DELAYED"
    assert watch.at(5).states["t"] == "WAITING"
    assert watch.task.state_info == "Delayed by 'retry' policy [delay=3]"
    assert watch.at(8).states["t"] == SUCCESS


def test_a_failed_join_is_retried_and_fails_again() -> None:
    body = """w:
  tasks:
    a: {action: std.sleep, on-success: t, on-error: noop}
    b: {on-success: t}
    t: {join: all, retry: count=1 delay=3, on-error: noop}"""
    watch = Watch(body, [*NO, (SUCCESS, 1)])
    assert watch.at(2.9).states["t"] == "WAITING"
    assert watch.at(3).states["t"] == ERROR
    assert watch.task.state_info == "Failed by tasks: ['a']"
    assert watch.retry == {"retry_no": 1}
