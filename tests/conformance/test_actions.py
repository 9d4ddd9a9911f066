"""Actions: ad-hoc runs, results, ad-hoc actions (spec/engine.md A.10, §§ 7, 8)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mistral_lib.actions import Action, ActionProvider, PythonActionDescriptor, Result
from whole import Whole

from mistral.actions.registry import Registry
from mistral.config import ActionProviderSettings, Settings
from mistral.db import models
from mistral.messages import ActionTurnedAsync


class Later(Action):
    """Asynchronous by its instance; an error result ends it."""

    def __init__(self, fail: Any = None) -> None:
        super().__init__()
        self.fail = fail

    def run(self, context: Any) -> Any:
        return Result(error=self.fail) if self.fail is not None else None

    def is_sync(self) -> bool:
        return False


class Give(Action):
    """Returns what it is told to, or raises it."""

    def __init__(self, data: Any = None, error: Any = None, boom: str = "") -> None:
        super().__init__()
        self.data, self.error, self.boom = data, error, boom

    def run(self, context: Any) -> Any:
        if self.boom:
            raise ValueError(self.boom)
        return Result(data=self.data, error=self.error)


class Where(Action):
    """Its context, as data."""

    def run(self, context: Any) -> Any:
        names = (
            "workflow_execution_id",
            "workflow_name",
            "task_execution_id",
            "action_execution_id",
            "callback_url",
        )
        return {name: getattr(context.execution, name) for name in names}


class Wrapping(PythonActionDescriptor):
    """Post-processes what comes in: data are wrapped, ``"bad"`` is refused."""

    def post_process_result(self, result: Result) -> Result:
        if result.data == "bad" or result.data == {"bad": 1}:
            raise ValueError("it is bad")
        if result.is_error():
            return Result(error=["seen", result.error])
        return Result(data=["seen", result.data])


class Provider(ActionProvider):
    """``plug.*`` in every namespace, ``plug.far`` in ``far`` alone."""

    def __init__(self) -> None:
        super().__init__("plug")

    def find(self, action_name: str, namespace: str | None = None) -> Any:
        classes = {
            "plug.give": Give,
            "plug.later": Later,
            "plug.where": Where,
            "plug.mine": Give,
        }
        owner = "<default-project>" if action_name == "plug.mine" else None
        if action_name in classes:
            return PythonActionDescriptor(
                action_name, classes[action_name], project_id=owner, scope="private"
            )
        wrapped = {"plug.wrapped": Give, "plug.wrapped_later": Later}
        if action_name in wrapped:
            return Wrapping(action_name, wrapped[action_name])
        if (action_name, namespace) == ("plug.far", "far"):
            return PythonActionDescriptor(action_name, Give, namespace="far")
        return None

    def find_all(self, *args: Any, **more: Any) -> list[Any]:
        return []


@pytest.fixture
def whole(tmp_path: Path) -> Any:
    registry = Registry(Settings(), [Provider()], entry_points=lambda group: ())
    whole = Whole(tmp_path, registry=registry)
    yield whole
    whole.close()


def _post(whole: Whole, name: str, input: Any = None, **more: Any) -> tuple[int, Any]:
    body = {"name": name, "input": input or {}, **more}
    return whole.request("POST", "action_executions", body)


# -- Runs outside of a workflow (§ 7.9) ---------------------------------------


@pytest.mark.parametrize("params", [{}, {"run_sync": True}])
def test_eng_201_an_unsaved_run_answers_and_stores_nothing(
    whole: Whole, params: Any
) -> None:
    status, body = _post(whole, "std.echo", {"output": {"a": 1}}, params=params)
    assert (status, body["id"], body["state"]) == (201, None, "SUCCESS")
    assert body["output"] == '{"result": {"a": 1}}'
    assert whole.house.rows(models.action_executions) == []
    assert whole.house.rows(models.outbox) == []


def test_eng_202_save_result_answers_with_what_is_stored(whole: Whole) -> None:
    status, body = _post(whole, "std.echo", {"output": 1}, params={"save_result": True})
    assert (status, body["state"], body["output"]) == (201, "RUNNING", None)
    whole.settle()
    found = whole.get(f"action_executions/{body['id']}")
    assert (found["state"], found["output"]) == ("SUCCESS", '{"result": 1}')
    both = {"save_result": True, "run_sync": True}
    status, body = _post(whole, "std.echo", {"output": 2}, params=both)
    assert (status, body["state"], body["output"]) == (201, "SUCCESS", '{"result": 2}')
    assert whole.get(f"action_executions/{body['id']}") == body


@pytest.mark.parametrize("name", ["std.async_noop", "plug.later"])
def test_eng_203_an_asynchronous_action_is_not_run_synchronously(
    whole: Whole, name: str
) -> None:
    status, body = _post(whole, name, params={"run_sync": True})
    assert status == 400
    assert body["faultstring"] == "Action does not support synchronous execution."


def test_an_asynchronous_action_is_stored_and_awaits_its_result(whole: Whole) -> None:
    status, body = _post(whole, "std.async_noop")
    assert (status, body["state"]) == (201, "RUNNING")
    whole.settle()
    assert whole.finish(body["id"], {"x": 1})["output"] == '{"result": {"x": 1}}'


@pytest.mark.parametrize(
    ("name", "input", "text"),
    [
        ("nope", {}, "Failed to find action [action_name=nope]"),
        ("std.echo", {"z": 1}, "Invalid input [name=std.echo, class="),
    ],
)
def test_wrong_runs_are_refused_with_400(
    whole: Whole, name: str, input: Any, text: str
) -> None:
    """§ 7.9, Required."""
    status, body = _post(whole, name, input)
    assert status == 400
    assert body["faultstring"].startswith(text)


# -- Results (§ 8.3) ----------------------------------------------------------


def _one(action: str) -> str:
    return f"w: {{tasks: {{t: {{action: '{action}'}}}}}}"


def test_eng_204_an_exception_is_an_error_with_its_text(whole: Whole) -> None:
    whole.upload(_one('plug.give boom="ouch"'))
    id = whole.run("w")["id"]
    action, task = whole.action(id, "t"), whole.task(id, "t")
    said = action["output"]["result"]
    assert action["state"] == task["state"] == "ERROR"
    assert said.startswith("The action raised an exception [action=")
    assert f"action_ex_id={action['id']}, msg='ouch']" in said
    assert task["state_info"] == said


def test_eng_205_an_error_result_is_the_output(whole: Whole) -> None:
    whole.upload(
        "w: {tasks: {t: {action: plug.give, input: {data: 1, error: {code: 7}}}}}"
    )
    action = whole.action(whole.run("w")["id"], "t")
    assert (action["state"], action["output"]) == ("ERROR", {"result": {"code": 7}})


def test_eng_206_an_error_of_an_asynchronous_action_ends_it(whole: Whole) -> None:
    whole.upload(_one('plug.later fail="no"'))
    found = whole.run("w")
    assert found["state"] == "ERROR"
    assert whole.action(found["id"], "t")["output"] == {"result": "no"}
    whole.upload(_one("plug.later").replace("w:", "v:"))
    waits = whole.run("v")
    assert waits["state"] == "RUNNING"
    assert whole.action(waits["id"], "t")["state"] == "RUNNING"


def test_eng_207_an_error_of_an_asynchronous_adhoc_action_ends_it(
    whole: Whole,
) -> None:
    whole.upload(
        "mine: {base: plug.later, base-input: {fail: <% $.why %>},"
        " input: [why], output: {got: <% $ %>}}",
        "actions",
    )
    whole.upload(_one('mine why="no"'))
    found = whole.run("w")
    assert found["state"] == "ERROR"
    action = whole.action(found["id"], "t")
    assert (action["name"], action["state"]) == ("mine", "ERROR")
    assert action["output"] == {"result": "no"}


def test_eng_208_an_action_knows_where_it_runs(whole: Whole) -> None:
    whole.upload(_one("plug.where"))
    id = whole.run("w")["id"]
    action = whole.action(id, "t")
    assert action["output"]["result"] == {
        "workflow_execution_id": id,
        "workflow_name": "w",
        "task_execution_id": whole.task(id, "t")["id"],
        "action_execution_id": action["id"],
        "callback_url": f"/v2/action_executions/{action['id']}",
    }


def test_an_unsaved_run_has_no_place_to_name(whole: Whole) -> None:
    """§ 8.4: null for immediate runs; a saved one has its own id."""
    _, body = _post(whole, "plug.where")
    assert set(json.loads(body["output"])["result"].values()) == {None}
    both = {"save_result": True, "run_sync": True}
    _, body = _post(whole, "plug.where", params=both)
    found = json.loads(body["output"])["result"]
    assert found["action_execution_id"] == body["id"]
    assert found["callback_url"] == f"/v2/action_executions/{body['id']}"
    assert found["workflow_execution_id"] is found["task_execution_id"] is None
    _, body = _post(whole, "plug.give", {"boom": "ouch"})
    assert "action_ex_id=None" in body["output"]


def test_eng_218_data_of_fail_are_the_result(whole: Whole) -> None:
    whole.upload(
        "w: {tasks: {t: {action: std.fail, input: {error_data: {a: [1]}},"
        " publish-on-error: {e: <% task().result %>}, on-error: noop}}}"
    )
    assert whole.run("w")["output"] == {"e": {"a": [1]}}


@pytest.mark.parametrize("first", ["user", "executor"])
def test_the_first_outcome_of_a_synchronous_action_is_final(
    whole: Whole, first: str
) -> None:
    """§ 1.5, § 7.8: users may answer those, too; the later result is refused."""
    house = whole.house
    house.hold.add("plug.give")
    whole.upload(_one("plug.give"))
    id = whole.start("w")
    whole.settle()
    action, [call] = whole.action(id, "t"), house.running
    path, body = f"action_executions/{action['id']}", {"state": "SUCCESS"}
    if first == "user":
        whole.put(path, {**body, "output": {"by": "user"}})
        house.finish(call, "executor")
    else:
        house.finish(call, "executor")
        whole.settle()
        assert whole.request("PUT", path, {**body, "output": {"by": "user"}})[0] == 400
    whole.settle()
    expected = {"by": "user"} if first == "user" else "executor"
    assert whole.action(id, "t")["output"] == {"result": expected}
    assert whole.execution(id)["state"] == "SUCCESS"


# -- What providers and their descriptors do (§§ 8.10, 12.3) ------------------


@pytest.mark.parametrize(
    ("action", "state", "result"),
    [
        ("plug.wrapped data=1", "SUCCESS", ["seen", 1]),
        ('plug.wrapped error="e"', "ERROR", ["seen", "e"]),
    ],
)
def test_a_descriptor_post_processes_results(
    whole: Whole, action: str, state: str, result: Any
) -> None:
    whole.upload(_one(action))
    found = whole.action(whole.run("w")["id"], "t")
    assert (found["state"], found["output"]) == (state, {"result": result})


def test_a_descriptor_post_processes_delivered_results(whole: Whole) -> None:
    whole.upload(_one("plug.wrapped_later"))
    id = whole.run("w")["id"]
    whole.finish(whole.action(id, "t")["id"], {"a": 1})
    assert whole.action(id, "t")["output"] == {"result": ["seen", {"a": 1}]}


@pytest.mark.parametrize("action", ['plug.wrapped data="bad"', "plug.wrapped_later"])
def test_a_result_that_cannot_be_post_processed_ends_the_run(
    whole: Whole, action: str
) -> None:
    """§ 1.5, § 8.11 (5)."""
    whole.upload(
        f"w: {{tasks: {{t: {{action: '{action}', on-error: u}},"
        " u: {action: std.noop}}}"
    )
    id = whole.run("w")["id"]
    if "later" in action:
        whole.finish(whole.action(id, "t")["id"], {"bad": 1})
    found, made = whole.execution(id), whole.action(id, "t")
    assert (found["state"], made["state"]) == ("ERROR", "ERROR")
    assert made["output"]["result"].startswith("Failed to complete action [error=it is")
    assert len(whole.tasks(id)) == 1


def test_an_action_of_a_namespace_is_found_by_its_executor(whole: Whole) -> None:
    """§ 8.10: the offer says in which namespace the name was found."""
    whole.upload(_one("plug.far data=1"), query="?namespace=far")
    found = whole.run("w", workflow_namespace="far")
    assert found["state"] == "SUCCESS", found["state_info"]
    status, body = _post(whole, "plug.far", {"data": 2}, workflow_namespace="far")
    assert (status, body["output"]) == (201, '{"result": 2}')
    assert _post(whole, "plug.far", {"data": 2})[0] == 400


def test_a_private_action_of_a_provider_is_found_by_its_owner(whole: Whole) -> None:
    whole.upload(_one("plug.mine data=1"))
    found = whole.run("w")
    assert found["state"] == "SUCCESS", found["state_info"]


# -- Ad-hoc actions (§ 8.11) --------------------------------------------------

TWICE = """
inner:
  base: std.echo
  input: [x, {y: 2}]
  base-input: {output: '<% [$.x, $.y] %>'}
  output: '<% [inner, $] %>'
outer:
  base: inner
  input: [z]
  base-input: {x: '<% [outer, $.z] %>'}
  output: '<% [outer, $] %>'
"""


def test_eng_212_nested_adhoc_actions_apply_inward_and_outward(whole: Whole) -> None:
    whole.upload(TWICE, "actions")
    whole.upload(_one("outer z=1"))
    id = whole.run("w")["id"]
    action = whole.action(id, "t")
    expected = ["outer", ["inner", [["outer", 1], 2]]]
    assert (action["name"], action["output"]) == ("outer", {"result": expected})
    _, body = _post(whole, "outer", {"z": 1})
    assert body["output"] == '{"result": ["outer", ["inner", [["outer", 1], 2]]]}'


@pytest.mark.parametrize(
    "actions",
    [
        pytest.param("a: {base: b}\nb: {base: a}", id="cycle"),
        pytest.param("a: {base: nowhere}", id="no base"),
    ],
)
def test_eng_212_a_cycle_is_an_ordinary_error(whole: Whole, actions: str) -> None:
    whole.upload(actions, "actions")
    whole.upload("w: {tasks: {t: {action: a, on-error: u}, u: {action: std.noop}}}")
    found = whole.run("w")
    assert found["state"] == "SUCCESS", found["state_info"]
    assert whole.task(found["id"], "t")["state"] == "ERROR"
    assert whole.task(found["id"], "u")["state"] == "SUCCESS"


def test_a_failing_transformation_ends_the_run(whole: Whole) -> None:
    """§ 8.11 (5)."""
    whole.upload("a: {base: std.noop, output: <% $.no.such.key %>}", "actions")
    whole.upload("w: {tasks: {t: {action: a, on-error: u}, u: {action: std.noop}}}")
    found = whole.run("w")
    assert found["state"] == "ERROR"
    said = whole.action(found["id"], "t")["output"]["result"]
    assert said.startswith("Failed to complete action [error=")


def test_a_failing_transformation_of_an_unsaved_run_is_an_error(whole: Whole) -> None:
    whole.upload("a: {base: std.noop, output: <% $.no.such.key %>}", "actions")
    status, body = _post(whole, "a")
    assert (status, body["state"]) == (201, "ERROR")
    assert "Failed to complete action [error=" in body["output"]


def test_an_operator_may_do_without_adhoc_actions(tmp_path: Path) -> None:
    """§ 8.10: ``[action_providers]`` names the providers that are asked."""
    denied = Settings(action_providers=ActionProviderSettings(denylist=("adhoc",)))
    registry = Registry(denied, entry_points=lambda group: ())
    whole = Whole(tmp_path, registry=registry)
    whole.upload("mine: {base: std.noop}", "actions")
    whole.upload(_one("mine"))
    assert "Failed to find action" in whole.run("w")["state_info"]
    assert _post(whole, "mine")[0] == 400
    assert whole.request("GET", "actions/mine")[0] == 404
    names = {a["name"] for a in whole.get("actions")["actions"]}
    assert "std.noop" in names and "mine" not in names
    whole.close()


ASYNC = """
wait:
  base: std.async_noop
  input: [{tag: none}]
  output: {made: <% $ %>}
"""


@pytest.fixture(params=["", "far"], ids=["default namespace", "namespace far"])
def asynchronous(request: Any, whole: Whole) -> Callable[[str], str]:
    """Uploads a workflow beside an asynchronous ad-hoc action, and starts it."""
    space = request.param
    query = f"?namespace={space}" if space else ""
    whole.upload(ASYNC, "actions", query)

    def start(text: str) -> str:
        whole.upload(text, query=query)
        id = whole.start("w", workflow_namespace=space)
        whole.settle()
        return id

    return start


def test_an_asynchronous_adhoc_action(whole: Whole, asynchronous: Any) -> None:
    """§ 8.11 (3, 4): its output is applied to what is delivered."""
    id = asynchronous(_one("wait tag=1"))
    action = whole.action(id, "t")
    assert (action["name"], action["state"]) == ("wait", "RUNNING")
    whole.finish(action["id"], {"a": 1})
    assert whole.action(id, "t")["output"] == {"result": {"made": {"a": 1}}}
    assert whole.execution(id)["state"] == "SUCCESS"


def test_an_asynchronous_adhoc_action_for_each_item(
    whole: Whole, asynchronous: Any
) -> None:
    id = asynchronous(
        "w: {tasks: {t: {with-items: 'i in [1, 2, 3]', concurrency: 2,"
        " action: wait, input: {tag: <% $.i %>},"
        " publish: {all: <% task().result %>}}}}"
    )
    task = whole.task(id, "t")["id"]
    for number in range(3):
        open_ones = [a for a in whole.actions(task) if a["state"] == "RUNNING"]
        assert len(open_ones) == min(2, 3 - number)
        [mine] = [a for a in open_ones if f": {number + 1}" in a["input"]]
        whole.finish(mine["id"], {"n": number})
        whole.settle()
    found = whole.execution(id)
    assert found["state"] == "SUCCESS"
    assert found["output"] == {"all": [{"made": {"n": n}} for n in range(3)]}


def test_an_asynchronous_adhoc_action_is_retried(
    whole: Whole, asynchronous: Any
) -> None:
    id = asynchronous(
        "w: {tasks: {t: {action: wait, retry: {count: 1, delay: 5},"
        " publish: {v: <% task().result %>}}}}"
    )
    whole.finish(whole.action(id, "t")["id"], {"no": 1}, "ERROR")
    assert whole.task(id, "t")["state"] == "DELAYED"
    whole.house.advance(5)
    first, second = whole.actions(whole.task(id, "t")["id"])
    assert (first["accepted"], first["output"]) == (False, {"result": {"no": 1}})
    whole.finish(second["id"], {"yes": 1})
    assert whole.execution(id)["output"] == {"v": {"made": {"yes": 1}}}


def test_a_cancelled_adhoc_action_is_not_transformed(
    whole: Whole, asynchronous: Any
) -> None:
    """§ 7.8, Required."""
    id = asynchronous(_one("wait"))
    whole.finish(whole.action(id, "t")["id"], {"a": 1}, "CANCELLED")
    assert whole.action(id, "t")["output"] == {"result": None}
    found = whole.execution(id)
    assert (found["state"], found["state_info"]) == ("CANCELLED", "Cancelled tasks: t")


@pytest.mark.parametrize("space", ["", "far"])
def test_an_asynchronous_adhoc_action_by_itself(whole: Whole, space: str) -> None:
    whole.upload(ASYNC, "actions", f"?namespace={space}" if space else "")
    status, body = _post(whole, "wait", {"tag": 1}, workflow_namespace=space)
    assert (status, body["state"], body["name"]) == (201, "RUNNING", "wait")
    whole.settle()
    done = whole.finish(body["id"], {"a": 1})
    assert done["output"] == '{"result": {"made": {"a": 1}}}'
    refused, _ = _post(
        whole, "wait", params={"run_sync": True}, workflow_namespace=space
    )
    assert refused == 400


# -- Results for a run that has ended (§§ 2.6, 7.2, 7.8) ----------------------

ENDED = """
ended:
  tasks:
    t: {action: std.async_noop, publish: {v: <% task().result %>}, on-success: after}
    after: {action: std.noop}
    bad: {action: std.async_noop}
"""


@pytest.mark.parametrize("end", ["SUCCESS", "ERROR", "CANCELLED"])
def test_eng_074_nobody_waits_for_ever_for_an_asynchronous_action(
    whole: Whole, end: str
) -> None:
    whole.upload(ENDED)
    id = whole.start("ended")
    whole.settle()
    whole.put(f"executions/{id}", {"state": end})
    whole.settle()
    for task in whole.tasks(id):
        assert task["state"] == "CANCELLED"
        assert task["state_info"] == "The task was open when its workflow ended."
        assert [a["state"] for a in whole.actions(task["id"])] == ["RUNNING"]


def test_eng_069_a_late_result_completes_its_task_without_follow_ups(
    whole: Whole,
) -> None:
    whole.upload(ENDED)
    id = whole.start("ended")
    whole.settle()
    whole.put(f"executions/{id}", {"state": "ERROR", "state_info": "enough"})
    whole.finish(whole.action(id, "t")["id"], {"late": 1})
    whole.settle()
    task = whole.task(id, "t")
    assert (task["state"], task["published"]) == ("SUCCESS", '{"v": {"late": 1}}')
    assert whole.action(id, "t")["output"] == {"result": {"late": 1}}
    assert {t["name"] for t in whole.tasks(id)} == {"t", "bad"}
    found = whole.execution(id)
    assert (found["state"], found["state_info"]) == ("ERROR", "enough")


def test_eng_067_a_reopened_run_waits_again_for_its_asynchronous_actions(
    whole: Whole,
) -> None:
    whole.upload(ENDED)
    id = whole.start("ended")
    whole.settle()
    bad = whole.task(id, "bad")["id"]
    whole.put(f"executions/{id}", {"state": "ERROR"})
    whole.finish(whole.action(id, "bad")["id"], {"e": 1}, "ERROR")
    whole.put(f"tasks/{bad}", {"state": "RUNNING", "reset": True})
    assert whole.task(id, "t")["state"] == "RUNNING"
    whole.finish(whole.action(id, "t")["id"], {"late": 1})
    whole.finish(whole.actions(bad)[-1]["id"])
    whole.settle()
    assert whole.execution(id)["state"] == "SUCCESS"
    assert whole.task(id, "after")["state"] == "SUCCESS"


@pytest.mark.parametrize("held", ["std.async_noop", "plug.give"])
def test_a_timeout_that_came_while_the_run_was_over_counts_after_it(
    whole: Whole, held: str
) -> None:
    """§ 5.3: nothing expires in a run that has ended, and nothing is forgotten."""
    whole.house.hold.add("plug.give")
    whole.upload(
        f"w: {{tasks: {{t: {{action: {held}, timeout: 60}},"
        " bad: {action: std.async_noop}}}"
    )
    id = whole.start("w")
    whole.settle()
    bad = whole.task(id, "bad")["id"]
    whole.put(f"executions/{id}", {"state": "ERROR"})
    whole.finish(whole.action(id, "bad")["id"], state="ERROR")
    whole.house.advance(100)
    assert whole.action(id, "t")["state"] == "RUNNING"
    whole.put(f"tasks/{bad}", {"state": "RUNNING", "reset": True})
    whole.settle()
    task = whole.task(id, "t")
    assert (task["state"], task["state_info"]) == (
        "ERROR",
        "Task timed out [timeout(s)=60].",
    )


@pytest.mark.parametrize("news_first", [True, False])
def test_eng_074_items_that_wait_are_let_go_when_the_others_are_done(
    whole: Whole, news_first: bool
) -> None:
    """A synchronous child in progress is awaited; after it nothing is."""
    house = whole.house
    house.hold.add("plug.give")
    whole.upload("w: {tasks: {t: {with-items: 'i in [1, 2]', action: plug.give}}}")
    id = whole.start("w")
    whole.settle()
    whole.put(f"executions/{id}", {"state": "ERROR"})
    first, second = house.running
    news = ActionTurnedAsync(run_id=id, action_id=second.action_id)
    for step in (0, 1):
        assert whole.task(id, "t")["state"] == "RUNNING"
        if news_first == (step == 0):
            house.ask(news)
        else:
            house.finish(first, 1)
            house.settle()
    task = whole.task(id, "t")
    assert task["state"] == "CANCELLED"
    states = [action["state"] for action in whole.actions(task["id"])]
    assert sorted(states) == ["RUNNING", "SUCCESS"]


# -- Where and when actions run (§§ 7.9, 8.5) ---------------------------------


def test_eng_209_a_task_is_offered_to_its_target_only(whole: Whole) -> None:
    whole.upload(
        "w: {input: [host], tasks: {t: {action: std.noop, target: <% $.host %>},"
        " u: {action: std.async_noop}}}"
    )
    id = whole.run("w", {"host": "hostB"})["id"]
    targets = whole.house.post.targets
    assert targets[whole.action(id, "t")["id"]] == "hostB"
    assert targets[whole.action(id, "u")["id"]] is None


class Gate(Action):
    """Runs until it is let go."""

    began = threading.Event()
    go = threading.Event()

    def run(self, context: Any) -> Any:
        Gate.began.set()
        assert Gate.go.wait(60)
        return "let go"


def test_eng_220_an_immediate_run_holds_up_nobody(tmp_path: Path) -> None:
    """No transaction is open, and no engine waits, while the action runs."""

    class Gates(Provider):
        def find(self, action_name: str, namespace: str | None = None) -> Any:
            return PythonActionDescriptor(action_name, Gate)

    registry = Registry(Settings(), [Gates()], entry_points=lambda group: ())
    whole = Whole(tmp_path, registry=registry)
    whole.upload("w: {tasks: {t: {action: std.test_dict size=1}}}")
    answers: list[Any] = []
    asking = threading.Thread(
        target=lambda: answers.append(_post(whole, "plug.gate")), daemon=True
    )
    asking.start()
    try:
        assert Gate.began.wait(60)
        # a write, decisions, claims and reads, all while it runs
        assert whole.run("w")["state"] == "SUCCESS"
        assert answers == []
    finally:
        Gate.go.set()
        asking.join(60)
    [(status, body)] = answers
    assert (status, body["output"]) == (201, '{"result": "let go"}')
    whole.close()
