"""What an action returned, and what the engine is told (spec/engine.md § 8.3)."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from mistral_lib.actions import Action, Result

from mistral.errors import InvalidInput
from mistral.executors.outcome import Unserialisable, size_of, to_json
from mistral.executors.runner import Runner, timed_out
from mistral.messages import ActionFinished, ActionTurnedAsync, CallAction, State


class Scripted(Action):
    def __init__(self, body: Callable[[Any], Any], sync: bool = True) -> None:
        super().__init__()
        self._body = body
        self._sync = sync
        self.ran = False

    def run(self, context: Any) -> Any:
        self.ran = True
        return self._body(context)

    def is_sync(self) -> bool:
        return self._sync


class OneAction:
    """Gives the same object for every name."""

    def __init__(
        self, action: Any, process: Callable[[Result], Any] = lambda result: result
    ) -> None:
        self.action = action
        self.process = process
        self.asked: list[tuple[str, Mapping[str, Any], str, str | None]] = []

    def create(
        self,
        name: str,
        given: Mapping[str, Any],
        namespace: str = "",
        *,
        project_id: str | None = None,
    ) -> Any:
        self.asked.append((name, given, namespace, project_id))
        if isinstance(self.action, Exception):
            raise self.action
        return self.action

    def post_process(
        self,
        name: str,
        result: Result,
        namespace: str = "",
        *,
        project_id: str | None = None,
    ) -> Result:
        assert (name, namespace, project_id) == ("my.action", "there", "p")
        return self.process(result)


CALL = CallAction(
    action_id="a1",
    run_id="r1",
    attempt=2,
    name="my.action",
    namespace="there",
    input={"x": 1},
    security={"project_id": "p", "user_name": "u", "unknown": 1},
    execution={"workflow_name": "wf", "task_execution_id": "t1", "task_id": "t1"},
)


def run(body: Callable[[Any], Any], sync: bool = True, **options: Any) -> Any:
    return Runner(OneAction(Scripted(body, sync)), **options).run(CALL)


def finished(state: State, result: Any) -> ActionFinished:
    return ActionFinished(
        run_id="r1", action_id="a1", attempt=2, state=state, result=result
    )


@pytest.mark.parametrize(
    ("returned", "state", "result"),
    [
        ({"a": [1]}, State.SUCCESS, {"a": [1]}),
        (None, State.SUCCESS, None),
        (Result(data=5), State.SUCCESS, 5),
        (Result(error="e"), State.ERROR, "e"),
        (Result(data=5, error={"code": 7}), State.ERROR, {"code": 7}),
        (Result(error=0), State.ERROR, 0),
        (Result(cancel=True), State.CANCELLED, None),
        (Result(error="why", cancel=True), State.CANCELLED, "why"),
    ],
)
def test_eng_205_results_map_to_states(
    returned: Any, state: State, result: Any
) -> None:
    assert run(lambda context: returned) == finished(state, result)


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit("boom")])
def test_eng_204_exceptions_and_exits_are_error_results(error: BaseException) -> None:
    def raises(context: Any) -> Any:
        raise error

    text = (
        "The action raised an exception [action=my.action, action_ex_id=a1, msg='boom']"
    )
    assert run(raises) == finished(State.ERROR, text)


def test_eng_064_an_action_that_cannot_be_made_is_told_apart() -> None:
    outcome = Runner(OneAction(InvalidInput("missing=['x']"))).run(CALL)
    assert isinstance(outcome, ActionFinished)
    assert outcome.state == State.ERROR
    assert outcome.result.startswith("Failed to instantiate an action [action_desc=")
    assert "missing=['x']" in outcome.result
    assert outcome.unmade


def test_the_registry_is_asked_in_the_namespace_and_project_of_the_call() -> None:
    """§ 8.10."""
    actions = OneAction(Scripted(lambda context: 1))
    Runner(actions).run(CALL)
    assert actions.asked == [("my.action", {"x": 1}, "there", "p")]


def test_the_descriptor_post_processes_results() -> None:
    """§ 12.3: data and errors, never what was cancelled."""

    def process(result: Result) -> Result:
        return Result(data={"was": result.data}, error=result.error)

    def outcome(returned: Any) -> Any:
        return Runner(OneAction(Scripted(lambda c: returned), process)).run(CALL)

    assert outcome(1) == finished(State.SUCCESS, {"was": 1})
    assert outcome(Result(error="e")) == finished(State.ERROR, "e")
    cancelled = Result(cancel=True)
    assert outcome(cancelled) == finished(State.CANCELLED, None)


def test_a_failing_post_processing_is_a_fault() -> None:
    """§ 1.5, § 8.11: the result cannot be kept, so the run ends."""

    def process(result: Result) -> Result:
        raise ValueError("boom")

    outcome = Runner(OneAction(Scripted(lambda c: 1), process)).run(CALL)
    text = "Failed to complete action [error=boom, action=my.action]"
    assert outcome == replace(finished(State.ERROR, text), fault=True)


def test_an_asynchronous_instance_is_reported_as_such() -> None:
    turned = ActionTurnedAsync(run_id="r1", action_id="a1", attempt=2)
    assert run(lambda context: "ignored", sync=False) == turned


def test_eng_206_error_results_of_asynchronous_actions_are_reported() -> None:
    outcome = run(lambda context: Result(error="no"), sync=False)
    assert outcome == finished(State.ERROR, "no")

    def raises(context: Any) -> Any:
        raise ValueError("boom")

    assert run(raises, sync=False).state == State.ERROR


def test_eng_203_an_immediate_run_does_not_begin_an_asynchronous_action() -> None:
    action = Scripted(lambda context: 1, sync=False)
    outcome = Runner(OneAction(action)).run(CALL, immediate=True)
    assert isinstance(outcome, ActionTurnedAsync)
    assert not action.ran


def test_eng_208_context_carries_ids_and_callback_path() -> None:
    seen: list[Any] = []
    run(seen.append)
    execution, security = seen[0].execution, seen[0].security
    assert execution.workflow_execution_id == "r1"
    assert execution.workflow_name == "wf"
    assert execution.task_execution_id == "t1"
    assert execution.action_execution_id == "a1"
    assert execution.callback_url == "/v2/action_executions/a1"
    assert (security.project_id, security.user_name) == ("p", "u")


def test_immediate_runs_have_no_ids() -> None:
    seen: list[Any] = []
    call = CallAction(name="my.action", namespace="there", security={"project_id": "p"})
    Runner(OneAction(Scripted(seen.append))).run(call, immediate=True)
    execution = seen[0].execution
    assert execution.workflow_execution_id is None
    assert execution.action_execution_id is None
    assert execution.callback_url is None


def test_plain_classes_are_called_with_none() -> None:
    class Plain:
        def run(self, context: Any) -> Any:
            return [context]

    assert Runner(OneAction(Plain())).run(CALL) == finished(State.SUCCESS, [None])


@pytest.mark.parametrize("value", [b"\xff", float("nan"), object(), [{"a": len}]])
def test_results_without_a_json_form_are_errors(value: Any) -> None:
    outcome = run(lambda context: value)
    assert outcome.state == State.ERROR
    assert outcome.result.startswith(
        "Failed to complete action due to a Mistral exception"
    )


def test_a_result_whose_code_fails_while_it_is_read_is_an_error() -> None:
    def items() -> Any:
        yield 1
        raise KeyError("late")

    outcome = run(lambda context: items())
    assert outcome.state == State.ERROR
    assert "KeyError" in outcome.result


def test_eng_022_results_above_the_limit_are_faults_that_name_the_size() -> None:
    assert run(lambda c: "x" * 1022, result_limit_kb=1).state == State.SUCCESS
    outcome = run(lambda c: "x" * 2050, result_limit_kb=1)
    text = (
        "Field size limit exceeded [class=ActionExecution, field=output, "
        "size=2KB, limit=1KB]"
    )
    assert outcome == replace(finished(State.ERROR, text), fault=True)
    assert run(lambda c: "x" * 2050, result_limit_kb=-1).state == State.SUCCESS


def test_the_text_of_a_timeout() -> None:
    outcome = timed_out(CallAction(action_id="a", name="n", timeout=3))
    assert outcome.result == (
        "The action raised an exception [action=n, action_ex_id=a, "
        "msg='Timeout after 3 seconds']"
    )


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: Any


class Thing:
    def __init__(self) -> None:
        self.name = "n"
        self._hidden = 1


@pytest.mark.parametrize(
    ("value", "json"),
    [
        ((1, 2), [1, 2]),
        ({3}, [3]),
        ((n for n in range(2)), [0, 1]),
        (b"\xc3\xa4", "ä"),
        (datetime.datetime(2020, 1, 2, 3, 4, 5), "2020-01-02T03:04:05"),
        (datetime.timedelta(seconds=2), 2.0),
        (Colour.RED, "red"),
        (Point(1, {Point(2, ()).x}), {"x": 1, "y": [2]}),
        (Thing(), {"name": "n"}),
        ({1: 2, None: 3, False: 4, "s": 5}, {"1": 2, "null": 3, "false": 4, "s": 5}),
    ],
)
def test_objects_are_converted_by_structure(value: Any, json: Any) -> None:
    assert to_json(value) == json


def test_a_value_inside_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(Unserialisable, match="nested"):
        to_json(loop)


def test_sizes_are_bytes_of_json() -> None:
    assert size_of("ä") == 4
