"""Actions: ad-hoc runs, results, ad-hoc actions (spec/engine.md A.10, §§ 7, 8)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mistral_lib.actions import Action, ActionProvider, PythonActionDescriptor, Result
from rest import Service

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
def service(tmp_path: Path) -> Any:
    registry = Registry(Settings(), [Provider()], entry_points=lambda group: ())
    service = Service(tmp_path, registry=registry)
    yield service
    service.close()


def _post(
    service: Service, name: str, input: Any = None, **more: Any
) -> tuple[int, Any]:
    body = {"name": name, "input": input or {}, **more}
    answer = service.api.post("/v2/action_executions", body)
    return answer.status, answer.json


# -- Runs outside of a workflow (§ 7.9) ---------------------------------------


@pytest.mark.parametrize("params", [{}, {"run_sync": True}])
def test_eng_201_an_unsaved_run_answers_and_stores_nothing(
    service: Service, params: Any
) -> None:
    status, body = _post(service, "std.echo", {"output": {"a": 1}}, params=params)
    assert (status, body["id"], body["state"]) == (201, None, "SUCCESS")
    assert body["output"] == '{"result": {"a": 1}}'
    assert service.house.rows(models.action_executions) == []
    assert service.house.rows(models.outbox) == []


def test_eng_202_save_result_answers_with_what_is_stored(service: Service) -> None:
    status, body = _post(
        service, "std.echo", {"output": 1}, params={"save_result": True}
    )
    assert (status, body["state"], body["output"]) == (201, "RUNNING", None)
    service.house.settle()
    found = service.get(f"action_executions/{body['id']}")
    assert (found["state"], found["output"]) == ("SUCCESS", '{"result": 1}')
    both = {"save_result": True, "run_sync": True}
    status, body = _post(service, "std.echo", {"output": 2}, params=both)
    assert (status, body["state"], body["output"]) == (201, "SUCCESS", '{"result": 2}')
    assert service.get(f"action_executions/{body['id']}") == body


@pytest.mark.parametrize("name", ["std.async_noop", "plug.later"])
def test_eng_203_an_asynchronous_action_is_not_run_synchronously(
    service: Service, name: str
) -> None:
    status, body = _post(service, name, params={"run_sync": True})
    assert status == 400
    assert body["faultstring"] == "Action does not support synchronous execution."


def test_an_asynchronous_action_is_stored_and_awaits_its_result(
    service: Service,
) -> None:
    status, body = _post(service, "std.async_noop")
    assert (status, body["state"]) == (201, "RUNNING")
    assert service.finish(body["id"], {"x": 1})["output"] == '{"result": {"x": 1}}'


@pytest.mark.parametrize(
    ("name", "input", "text"),
    [
        ("nope", {}, "Failed to find action [action_name=nope]"),
        ("std.echo", {"z": 1}, "Invalid input [name=std.echo, class="),
    ],
)
def test_wrong_runs_are_refused_with_400(
    service: Service, name: str, input: Any, text: str
) -> None:
    """§ 7.9, Required."""
    status, body = _post(service, name, input)
    assert status == 400
    assert body["faultstring"].startswith(text)


# -- Results (§ 8.3) ----------------------------------------------------------


def _one(action: str) -> str:
    return f"w: {{tasks: {{t: {{action: '{action}'}}}}}}"


def test_eng_204_an_exception_is_an_error_with_its_text(service: Service) -> None:
    service.upload(_one('plug.give boom="ouch"'))
    id = service.start("w")
    action, task = service.action(id, "t"), service.task(id, "t")
    said = action["output"]["result"]
    assert action["state"] == task["state"] == "ERROR"
    assert said.startswith("The action raised an exception [action=")
    assert f"action_ex_id={action['id']}, msg='ouch']" in said
    assert task["state_info"] == said


def test_eng_205_an_error_result_is_the_output(service: Service) -> None:
    service.upload(
        "w: {tasks: {t: {action: plug.give, input: {data: 1, error: {code: 7}}}}}"
    )
    action = service.action(service.start("w"), "t")
    assert (action["state"], action["output"]) == ("ERROR", {"result": {"code": 7}})


def test_eng_206_an_error_of_an_asynchronous_action_ends_it(service: Service) -> None:
    service.upload(_one('plug.later fail="no"'))
    found = service.run("w")
    assert found["state"] == "ERROR"
    assert service.action(found["id"], "t")["output"] == {"result": "no"}
    service.upload(_one("plug.later").replace("w:", "v:"))
    waits = service.run("v")
    assert waits["state"] == "RUNNING"
    assert service.action(waits["id"], "t")["state"] == "RUNNING"


def test_eng_207_an_error_of_an_asynchronous_adhoc_action_ends_it(
    service: Service,
) -> None:
    service.upload(
        "mine: {base: plug.later, base-input: {fail: <% $.why %>},"
        " input: [why], output: {got: <% $ %>}}",
        "actions",
    )
    service.upload(_one('mine why="no"'))
    found = service.run("w")
    assert found["state"] == "ERROR"
    action = service.action(found["id"], "t")
    assert (action["name"], action["state"]) == ("mine", "ERROR")
    assert action["output"] == {"result": "no"}


def test_eng_208_an_action_knows_where_it_runs(service: Service) -> None:
    service.upload(_one("plug.where"))
    id = service.start("w")
    action = service.action(id, "t")
    assert action["output"]["result"] == {
        "workflow_execution_id": id,
        "workflow_name": "w",
        "task_execution_id": service.task(id, "t")["id"],
        "action_execution_id": action["id"],
        "callback_url": f"/v2/action_executions/{action['id']}",
    }


def test_an_unsaved_run_has_no_place_to_name(service: Service) -> None:
    """§ 8.4: null for immediate runs; a saved one has its own id."""
    _, body = _post(service, "plug.where")
    assert set(json.loads(body["output"])["result"].values()) == {None}
    both = {"save_result": True, "run_sync": True}
    _, body = _post(service, "plug.where", params=both)
    found = json.loads(body["output"])["result"]
    assert found["action_execution_id"] == body["id"]
    assert found["callback_url"] == f"/v2/action_executions/{body['id']}"
    assert found["workflow_execution_id"] is found["task_execution_id"] is None
    _, body = _post(service, "plug.give", {"boom": "ouch"})
    assert "action_ex_id=None" in body["output"]


def test_eng_218_data_of_fail_are_the_result(service: Service) -> None:
    service.upload(
        "w: {tasks: {t: {action: std.fail, input: {error_data: {a: [1]}},"
        " publish-on-error: {e: <% task().result %>}, on-error: noop}}}"
    )
    assert service.run("w")["output"] == {"e": {"a": [1]}}


@pytest.mark.parametrize("first", ["user", "executor"])
def test_the_first_outcome_of_a_synchronous_action_is_final(
    service: Service, first: str
) -> None:
    """§ 1.5, § 7.8: users may answer those, too; the later result is refused."""
    house = service.house
    house.hold.add("plug.give")
    service.upload(_one("plug.give"))
    id = service.start("w")
    action, [call] = service.action(id, "t"), house.running
    path, body = f"action_executions/{action['id']}", {"state": "SUCCESS"}
    if first == "user":
        service.put(path, {**body, "output": {"by": "user"}})
        house.finish(call, "executor")
        house.settle()
    else:
        house.finish(call, "executor")
        house.settle()
        assert (
            service.api.put(f"/v2/{path}", {**body, "output": {"by": "user"}}).status
            == 400
        )
    expected = {"by": "user"} if first == "user" else "executor"
    assert service.action(id, "t")["output"] == {"result": expected}
    assert service.execution(id)["state"] == "SUCCESS"


# -- What providers and their descriptors do (§§ 8.10, 12.3) ------------------


@pytest.mark.parametrize(
    ("action", "state", "result"),
    [
        ("plug.wrapped data=1", "SUCCESS", ["seen", 1]),
        ('plug.wrapped error="e"', "ERROR", ["seen", "e"]),
    ],
)
def test_a_descriptor_post_processes_results(
    service: Service, action: str, state: str, result: Any
) -> None:
    service.upload(_one(action))
    found = service.action(service.start("w"), "t")
    assert (found["state"], found["output"]) == (state, {"result": result})


def test_a_descriptor_post_processes_delivered_results(service: Service) -> None:
    service.upload(_one("plug.wrapped_later"))
    id = service.start("w")
    service.finish(service.action(id, "t")["id"], {"a": 1})
    assert service.action(id, "t")["output"] == {"result": ["seen", {"a": 1}]}


@pytest.mark.parametrize("action", ['plug.wrapped data="bad"', "plug.wrapped_later"])
def test_a_result_that_cannot_be_post_processed_ends_the_run(
    service: Service, action: str
) -> None:
    """§ 1.5, § 8.11 (5)."""
    service.upload(
        f"w: {{tasks: {{t: {{action: '{action}', on-error: u}},"
        " u: {action: std.noop}}}"
    )
    id = service.start("w")
    if "later" in action:
        service.finish(service.action(id, "t")["id"], {"bad": 1})
    found, made = service.execution(id), service.action(id, "t")
    assert (found["state"], made["state"]) == ("ERROR", "ERROR")
    assert made["output"]["result"].startswith("Failed to complete action [error=it is")
    assert len(service.tasks(id)) == 1


def test_an_action_of_a_namespace_is_found_by_its_executor(service: Service) -> None:
    """§ 8.10: the offer says in which namespace the name was found."""
    service.upload(_one("plug.far data=1"), namespace="far")
    found = service.run("w", workflow_namespace="far")
    assert found["state"] == "SUCCESS", found["state_info"]
    status, body = _post(service, "plug.far", {"data": 2}, workflow_namespace="far")
    assert (status, body["output"]) == (201, '{"result": 2}')
    assert _post(service, "plug.far", {"data": 2})[0] == 400


def test_a_private_action_of_a_provider_is_found_by_its_owner(service: Service) -> None:
    service.upload(_one("plug.mine data=1"))
    found = service.run("w")
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


def test_eng_212_nested_adhoc_actions_apply_inward_and_outward(
    service: Service,
) -> None:
    service.upload(TWICE, "actions")
    service.upload(_one("outer z=1"))
    id = service.start("w")
    action = service.action(id, "t")
    expected = ["outer", ["inner", [["outer", 1], 2]]]
    assert (action["name"], action["output"]) == ("outer", {"result": expected})
    _, body = _post(service, "outer", {"z": 1})
    assert body["output"] == '{"result": ["outer", ["inner", [["outer", 1], 2]]]}'


@pytest.mark.parametrize(
    "actions",
    [
        pytest.param("a: {base: b}\nb: {base: a}", id="cycle"),
        pytest.param("a: {base: nowhere}", id="no base"),
    ],
)
def test_eng_212_a_cycle_is_an_ordinary_error(service: Service, actions: str) -> None:
    service.upload(actions, "actions")
    service.upload("w: {tasks: {t: {action: a, on-error: u}, u: {action: std.noop}}}")
    found = service.run("w")
    assert found["state"] == "SUCCESS", found["state_info"]
    assert service.task(found["id"], "t")["state"] == "ERROR"
    assert service.task(found["id"], "u")["state"] == "SUCCESS"


def test_a_failing_transformation_ends_the_run(service: Service) -> None:
    """§ 8.11 (5)."""
    service.upload("a: {base: std.noop, output: <% $.no.such.key %>}", "actions")
    service.upload("w: {tasks: {t: {action: a, on-error: u}, u: {action: std.noop}}}")
    found = service.run("w")
    assert found["state"] == "ERROR"
    said = service.action(found["id"], "t")["output"]["result"]
    assert said.startswith("Failed to complete action [error=")


def test_a_failing_transformation_of_an_unsaved_run_is_an_error(
    service: Service,
) -> None:
    service.upload("a: {base: std.noop, output: <% $.no.such.key %>}", "actions")
    status, body = _post(service, "a")
    assert (status, body["state"]) == (201, "ERROR")
    assert "Failed to complete action [error=" in body["output"]


def test_an_operator_may_do_without_adhoc_actions(tmp_path: Path) -> None:
    """§ 8.10: ``[action_providers]`` names the providers that are asked."""
    denied = Settings(action_providers=ActionProviderSettings(denylist=("adhoc",)))
    registry = Registry(denied, entry_points=lambda group: ())
    service = Service(tmp_path, registry=registry)
    service.upload("mine: {base: std.noop}", "actions")
    service.upload(_one("mine"))
    assert "Failed to find action" in service.run("w")["state_info"]
    assert _post(service, "mine")[0] == 400
    assert service.api.get("/v2/actions/mine").status == 404
    names = {a["name"] for a in service.get("actions")["actions"]}
    assert "std.noop" in names and "mine" not in names
    service.close()


ASYNC = """
wait:
  base: std.async_noop
  input: [{tag: none}]
  output: {made: <% $ %>}
"""


@pytest.fixture(params=["", "far"], ids=["default namespace", "namespace far"])
def asynchronous(request: Any, service: Service) -> Callable[[str], str]:
    """Uploads a workflow beside an asynchronous ad-hoc action, and starts it."""
    space = request.param
    service.upload(ASYNC, "actions", space)

    def start(text: str) -> str:
        service.upload(text, namespace=space)
        id = service.start("w", workflow_namespace=space)
        return id

    return start


def test_an_asynchronous_adhoc_action(service: Service, asynchronous: Any) -> None:
    """§ 8.11 (3, 4): its output is applied to what is delivered."""
    id = asynchronous(_one("wait tag=1"))
    action = service.action(id, "t")
    assert (action["name"], action["state"]) == ("wait", "RUNNING")
    service.finish(action["id"], {"a": 1})
    assert service.action(id, "t")["output"] == {"result": {"made": {"a": 1}}}
    assert service.execution(id)["state"] == "SUCCESS"


def test_an_asynchronous_adhoc_action_for_each_item(
    service: Service, asynchronous: Any
) -> None:
    id = asynchronous(
        "w: {tasks: {t: {with-items: 'i in [1, 2, 3]', concurrency: 2,"
        " action: wait, input: {tag: <% $.i %>},"
        " publish: {all: <% task().result %>}}}}"
    )
    task = service.task(id, "t")["id"]
    for number in range(3):
        open_ones = [a for a in service.actions(task) if a["state"] == "RUNNING"]
        assert len(open_ones) == min(2, 3 - number)
        [mine] = [a for a in open_ones if f": {number + 1}" in a["input"]]
        service.finish(mine["id"], {"n": number})
    found = service.execution(id)
    assert found["state"] == "SUCCESS"
    assert found["output"] == {"all": [{"made": {"n": n}} for n in range(3)]}


def test_an_asynchronous_adhoc_action_is_retried(
    service: Service, asynchronous: Any
) -> None:
    id = asynchronous(
        "w: {tasks: {t: {action: wait, retry: {count: 1, delay: 5},"
        " publish: {v: <% task().result %>}}}}"
    )
    service.finish(service.action(id, "t")["id"], {"no": 1}, "ERROR")
    assert service.task(id, "t")["state"] == "DELAYED"
    service.house.advance(5)
    first, second = service.actions(service.task(id, "t")["id"])
    assert (first["accepted"], first["output"]) == (False, {"result": {"no": 1}})
    service.finish(second["id"], {"yes": 1})
    assert service.execution(id)["output"] == {"v": {"made": {"yes": 1}}}


def test_a_cancelled_adhoc_action_is_not_transformed(
    service: Service, asynchronous: Any
) -> None:
    """§ 7.8, Required."""
    id = asynchronous(_one("wait"))
    service.finish(service.action(id, "t")["id"], {"a": 1}, "CANCELLED")
    assert service.action(id, "t")["output"] == {"result": None}
    found = service.execution(id)
    assert (found["state"], found["state_info"]) == ("CANCELLED", "Cancelled tasks: t")


@pytest.mark.parametrize("space", ["", "far"])
def test_an_asynchronous_adhoc_action_by_itself(service: Service, space: str) -> None:
    service.upload(ASYNC, "actions", space)
    status, body = _post(service, "wait", {"tag": 1}, workflow_namespace=space)
    assert (status, body["state"], body["name"]) == (201, "RUNNING", "wait")
    done = service.finish(body["id"], {"a": 1})
    assert done["output"] == '{"result": {"made": {"a": 1}}}'
    refused, _ = _post(
        service, "wait", params={"run_sync": True}, workflow_namespace=space
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
    service: Service, end: str
) -> None:
    service.upload(ENDED)
    id = service.start("ended")
    service.put(f"executions/{id}", {"state": end})
    for task in service.tasks(id):
        assert task["state"] == "CANCELLED"
        assert task["state_info"] == "The task was open when its workflow ended."
        assert [a["state"] for a in service.actions(task["id"])] == ["RUNNING"]


def test_eng_069_a_late_result_completes_its_task_without_follow_ups(
    service: Service,
) -> None:
    service.upload(ENDED)
    id = service.start("ended")
    service.put(f"executions/{id}", {"state": "ERROR", "state_info": "enough"})
    service.finish(service.action(id, "t")["id"], {"late": 1})
    task = service.task(id, "t")
    assert (task["state"], task["published"]) == ("SUCCESS", '{"v": {"late": 1}}')
    assert service.action(id, "t")["output"] == {"result": {"late": 1}}
    assert {t["name"] for t in service.tasks(id)} == {"t", "bad"}
    found = service.execution(id)
    assert (found["state"], found["state_info"]) == ("ERROR", "enough")


def test_eng_067_a_reopened_run_waits_again_for_its_asynchronous_actions(
    service: Service,
) -> None:
    service.upload(ENDED)
    id = service.start("ended")
    bad = service.task(id, "bad")["id"]
    service.put(f"executions/{id}", {"state": "ERROR"})
    service.finish(service.action(id, "bad")["id"], {"e": 1}, "ERROR")
    service.put(f"tasks/{bad}", {"state": "RUNNING", "reset": True})
    assert service.task(id, "t")["state"] == "RUNNING"
    service.finish(service.action(id, "t")["id"], {"late": 1})
    service.finish(service.actions(bad)[-1]["id"])
    assert service.execution(id)["state"] == "SUCCESS"
    assert service.task(id, "after")["state"] == "SUCCESS"


@pytest.mark.parametrize("held", ["std.async_noop", "plug.give"])
def test_a_timeout_that_came_while_the_run_was_over_counts_after_it(
    service: Service, held: str
) -> None:
    """§ 5.3: nothing expires in a run that has ended, and nothing is forgotten."""
    service.house.hold.add("plug.give")
    service.upload(
        f"w: {{tasks: {{t: {{action: {held}, timeout: 60}},"
        " bad: {action: std.async_noop}}}"
    )
    id = service.start("w")
    bad = service.task(id, "bad")["id"]
    service.put(f"executions/{id}", {"state": "ERROR"})
    service.finish(service.action(id, "bad")["id"], state="ERROR")
    service.house.advance(100)
    assert service.action(id, "t")["state"] == "RUNNING"
    service.put(f"tasks/{bad}", {"state": "RUNNING", "reset": True})
    task = service.task(id, "t")
    assert (task["state"], task["state_info"]) == (
        "ERROR",
        "Task timed out [timeout(s)=60].",
    )


@pytest.mark.parametrize("news_first", [True, False])
def test_eng_074_items_that_wait_are_let_go_when_the_others_are_done(
    service: Service, news_first: bool
) -> None:
    """A synchronous child in progress is awaited; after it nothing is."""
    house = service.house
    house.hold.add("plug.give")
    service.upload("w: {tasks: {t: {with-items: 'i in [1, 2]', action: plug.give}}}")
    id = service.start("w")
    service.put(f"executions/{id}", {"state": "ERROR"})
    first, second = house.running
    news = ActionTurnedAsync(run_id=id, action_id=second.action_id)
    for step in (0, 1):
        assert service.task(id, "t")["state"] == "RUNNING"
        if news_first == (step == 0):
            house.ask(news)
        else:
            house.finish(first, 1)
            house.settle()
    task = service.task(id, "t")
    assert task["state"] == "CANCELLED"
    states = [action["state"] for action in service.actions(task["id"])]
    assert sorted(states) == ["RUNNING", "SUCCESS"]


# -- Where and when actions run (§§ 7.9, 8.5) ---------------------------------


def test_eng_209_a_task_is_offered_to_its_target_only(service: Service) -> None:
    service.upload(
        "w: {input: [host], tasks: {t: {action: std.noop, target: <% $.host %>},"
        " u: {action: std.async_noop}}}"
    )
    id = service.start("w", {"host": "hostB"})
    targets = service.house.post.targets
    assert targets[service.action(id, "t")["id"]] == "hostB"
    assert targets[service.action(id, "u")["id"]] is None


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
    service = Service(tmp_path, registry=registry)
    service.upload("w: {tasks: {t: {action: std.test_dict size=1}}}")
    answers: list[Any] = []
    asking = threading.Thread(
        target=lambda: answers.append(_post(service, "plug.gate")), daemon=True
    )
    asking.start()
    try:
        assert Gate.began.wait(60)
        # a write, decisions, claims and reads, all while it runs
        assert service.run("w")["state"] == "SUCCESS"
        assert answers == []
    finally:
        Gate.go.set()
        asking.join(60)
    [(status, body)] = answers
    assert (status, body["output"]) == (201, '{"result": "let go"}')
    service.close()
