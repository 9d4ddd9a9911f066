"""``/v2/action_executions``: results, stand-alone runs (§ 9.3, § 13)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from rows import Rows, uid

from mistral.api.app import make_app
from mistral.api.policy import Policies
from mistral.api.rest import Call
from mistral.api.v2.action_executions import ActionExecutions
from mistral.config import empty_source
from mistral.context import Context
from mistral.db.models import action_executions
from mistral.errors import BadRequest, Unavailable
from mistral.messages import (
    CallAction,
    DeleteAction,
    RunAction,
    UpdateAction,
    encode,
)

ACTION = uid(3)
PATH = f"/v2/action_executions/{ACTION}"


@pytest.fixture
def rows(database: Any) -> Rows:
    return Rows(database)


# -- Reads --------------------------------------------------------------------


def test_one_has_the_shape_of_the_specification(api: Any, rows: Rows) -> None:
    """§ 9.3: the example, with ``task_name`` filled (Q-60)."""
    rows.action(
        ACTION,
        name="std.async_noop",
        description="",
        accepted=True,
        output={"result": {"answer": 42}},
    )
    assert api.get(PATH).json == {
        "id": ACTION,
        "workflow_name": None,
        "workflow_namespace": "",
        "task_execution_id": None,
        "task_name": None,
        "state": "SUCCESS",
        "state_info": None,
        "tags": None,
        "name": "std.async_noop",
        "description": "",
        "project_id": "<default-project>",
        "accepted": True,
        "input": "{}",
        "output": '{"result": {"answer": 42}}',
        "created_at": "2026-11-21 01:35:04",
        "updated_at": None,
    }


def test_lists(api: Any, rows: Rows) -> None:
    """§ 3.5, Q-12: ``task_name`` filters and sorts; no output unless asked."""
    rows.run(uid(1))
    rows.task(uid(2), uid(1), name="b")
    rows.action(
        uid(4), uid(2), workflow_execution_id=uid(1), output={"result": {"$ref": "d"}}
    )
    rows.action(uid(5), accepted=True)
    rows.document(uid(1), "d", "large")

    def ids(query: str) -> list[str]:
        found = api.get(f"/v2/action_executions?{query}").json["action_executions"]
        return [item["id"] for item in found]

    assert ids("") == [uid(4), uid(5)]
    assert ids("task_name=b") == [uid(4)]
    assert ids("sort_keys=task_name") == [uid(5), uid(4)]
    assert ids("accepted=true") == [uid(5)]
    assert ids(f"task_execution_id={uid(2)}") == [uid(4)]
    first = api.get("/v2/action_executions?limit=1").json
    assert "output" not in first["action_executions"][0]
    more = api.get("/v2/action_executions?limit=1&include_output=True").json
    assert more["action_executions"][0]["output"] == '{"result": "large"}'
    follow = api.get(more["next"].removeprefix("http://localhost")).json
    assert follow["action_executions"][0]["output"] is None
    for wrong in ("params={}", "limit=x", "bogus=1", "fields=bogus"):
        assert api.get(f"/v2/action_executions?{wrong}").status == 400


# -- Results ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ({"state": "SUCCESS"}, {}),
        ({"state": "SUCCESS", "output": None}, None),
        ({"state": "SUCCESS", "output": {"a": 1}}, {"a": 1}),
        ({"state": "SUCCESS", "output": '{"a": 1}'}, {"a": 1}),
        ({"state": "SUCCESS", "output": [1]}, [1]),
        ({"state": "SUCCESS", "output": 7}, 7),
        ({"state": "SUCCESS", "output": '"text"'}, "text"),
        ({"state": "ERROR", "output": {"e": 1}}, {"e": 1}),
        ({"state": "ERROR", "output": {}}, "Unknown error"),
        ({"state": "ERROR"}, "Unknown error"),
        ({"state": "CANCELLED", "output": {"a": 1}}, None),
        ({"state": "PAUSED"}, None),
        ({"state": "RUNNING"}, None),
    ],
)
def test_results(api: Any, rows: Rows, bus: Any, body: Any, result: Any) -> None:
    """§ 7.8 as a table; Q-62: any JSON value."""
    rows.run(uid(1))
    rows.task(uid(2), uid(1))
    rows.action(ACTION, uid(2), workflow_execution_id=uid(1), state="RUNNING")
    answer = api.put(PATH, body)
    assert answer.status == 200 and answer.json["id"] == ACTION
    (message,) = bus.called
    assert isinstance(message, UpdateAction)
    assert (message.run_id, message.action_id) == (uid(1), ACTION)
    assert (message.state, message.result) == (body["state"], result)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"state": "IDLE"},
        {"state": "SUCCESS", "output": "not JSON"},
        {"state": "SUCCESS", "output": ""},
        {"state": "SUCCESS", "bogus": 1},
    ],
)
def test_wrong_results(api: Any, rows: Rows, bus: Any, body: Any) -> None:
    """§ 13 row 76."""
    rows.action(ACTION, state="RUNNING")
    assert api.put(PATH, body).status == 400
    assert bus.called == []


def test_results_for_nothing_and_for_what_is_over(
    api: Any, rows: Rows, bus: Any
) -> None:
    """§ 13 rows 77, 78; Q-13."""
    assert api.put(PATH, {"state": "SUCCESS"}).status == 404
    rows.action(ACTION, state="SUCCESS")
    for state in ("SUCCESS", "ERROR", "CANCELLED", "PAUSED", "RUNNING"):
        assert api.put(PATH, {"state": state}).status == 400
    assert bus.called == []


# -- Deletion -----------------------------------------------------------------


def test_deletion(services: Any, api: Any, rows: Rows, bus: Any) -> None:
    """§ 13 row 79; Q-63: what does not exist is 404 before all else."""
    settings = services.settings
    allowed = replace(settings.api, allow_action_execution_deletion=True)
    open_services = replace(services, settings=replace(settings, api=allowed))
    may = type(api)(make_app(open_services), open_services)
    assert api.delete(PATH).status == 404
    rows.action(ACTION, state="SUCCESS")
    assert api.delete(PATH).status == 403
    rows.run(uid(1))
    rows.task(uid(2), uid(1))
    rows.action(uid(4), uid(2))
    rows.action(uid(5), state="RUNNING")
    assert may.delete(f"/v2/action_executions/{uid(4)}").status == 403
    assert may.delete(f"/v2/action_executions/{uid(5)}").status == 403
    assert bus.called == []
    assert may.delete(PATH).status == 204
    (message,) = bus.called
    assert isinstance(message, DeleteAction) and message.action_id == ACTION


# -- Runs outside of a workflow -----------------------------------------------


def _executor(state: str, result: Any) -> Any:
    """An engine that validates, and an executor that runs."""

    def answer(message: Any) -> Any:
        if isinstance(message, RunAction):
            call = CallAction(name=message.name, input=message.input)
            return {"call": encode(call)}
        assert isinstance(message, CallAction)
        return {"state": state, "result": result}

    return answer


def test_an_unsaved_run(api: Any, bus: Any) -> None:
    """§ 9.3: the example; nothing is stored, so there is no id."""
    bus.answer = _executor("SUCCESS", "hi")
    answer = api.post(
        "/v2/action_executions", {"name": "std.echo", "input": {"output": "hi"}}
    )
    assert answer.status == 201
    assert answer.json == {
        "id": None,
        "workflow_name": None,
        "workflow_namespace": "",
        "task_execution_id": None,
        "task_name": None,
        "state": "SUCCESS",
        "state_info": None,
        "tags": None,
        "name": "std.echo",
        "description": None,
        "project_id": None,
        "accepted": None,
        "input": '{"output": "hi"}',
        "output": '{"result": "hi"}',
        "created_at": None,
        "updated_at": None,
    }
    asked, run = bus.called
    assert (asked.save, asked.sync) == (False, False)
    assert run.name == "std.echo" and run.input == {"output": "hi"}


def test_eng_209_an_unsaved_run_goes_to_its_target(api: Any, bus: Any) -> None:
    """§ 8.5: to the executors of that name, and no others."""

    def answer(message: Any) -> Any:
        if isinstance(message, RunAction):
            call = CallAction(name=message.name, target=message.target)
            return {"call": encode(call)}
        return {"state": "SUCCESS", "result": 1}

    bus.answer = answer
    body = {"name": "std.noop", "params": {"target": "hostB"}}
    assert api.post("/v2/action_executions", body).status == 201
    assert bus.targets == [None, "hostB"]


def test_a_failing_action_is_no_error(api: Any, bus: Any) -> None:
    """§ 13 row 74."""
    bus.answer = _executor("ERROR", "why")
    answer = api.post("/v2/action_executions", {"name": "std.fail"})
    assert answer.status == 201
    assert answer.json["state"] == "ERROR"
    assert answer.json["output"] == '{"result": "why"}'


@pytest.mark.parametrize(
    ("outputs", "state", "result"),
    [
        ([], "SUCCESS", '{"result": 2}'),
        (["<% $ + 1 %>", {"n": "<% $ * 2 %>"}], "SUCCESS", '{"result": {"n": 6}}'),
        (["<% $.nothing.at.all %>"], "ERROR", None),
    ],
)
def test_an_unsaved_run_of_an_adhoc_action(
    api: Any, bus: Any, outputs: Any, state: str, result: Any
) -> None:
    """§ 8.11: the base's result passes each ``output``, innermost first."""

    def answer(message: Any) -> Any:
        if isinstance(message, RunAction):
            call = encode(CallAction(name="std.echo"))
            return {"call": call, "outputs": outputs}
        return {"state": "SUCCESS", "result": 2}

    bus.answer = answer
    found = api.post("/v2/action_executions", {"name": "mine"}).json
    assert (found["name"], found["state"]) == ("mine", state)
    if result is not None:
        assert found["output"] == result


def test_what_the_engine_did_at_once_needs_no_executor(api: Any, bus: Any) -> None:
    bus.answer = lambda message: {"state": "SUCCESS", "result": None}
    answer = api.post("/v2/action_executions", {"name": "std.noop"})
    assert answer.json["output"] == '{"result": null}'
    assert len(bus.called) == 1


def test_a_stored_run(api: Any, rows: Rows, bus: Any) -> None:
    """§ 9.3: ``save_result``, or an asynchronous action: dispatched, RUNNING."""

    def answer(message: Any) -> Any:
        rows.action(
            message.action_id,
            name=message.name,
            state="RUNNING",
            description=message.description,
        )
        return {"id": message.action_id}

    bus.answer = answer
    body = {
        "name": "std.http",
        "input": '{"url": "u"}',
        "description": "d",
        "params": '{"save_result": "yes", "target": "t", "timeout": "7"}',
    }
    found = api.post("/v2/action_executions", body)
    (message,) = bus.called
    assert (message.save, message.sync) == (True, False)
    assert (message.target, message.timeout) == ("t", 7)
    assert found.status == 201
    assert found.json["id"] == message.action_id
    assert (found.json["state"], found.json["output"]) == ("RUNNING", None)
    assert found.json["description"] == "d"


def test_a_run_has_the_id_that_its_client_gives(api: Any, rows: Rows, bus: Any) -> None:
    def answer(message: Any) -> Any:
        rows.action(message.action_id, state="RUNNING", description="first")
        return {"id": message.action_id}

    bus.answer = answer
    body = {"id": uid(1), "name": "std.http", "params": {"save_result": True}}
    first = api.post("/v2/action_executions", body)
    again = api.post("/v2/action_executions", body)
    other = api.post("/v2/action_executions", {**body, "name": "std.echo"})
    assert [each.status for each in (first, again, other)] == [201] * 3
    assert first.json["id"] == uid(1)
    assert first.json == again.json == other.json
    assert len(bus.called) == 1


def test_an_empty_id_is_none(api: Any, rows: Rows, bus: Any) -> None:
    bus.answer = lambda message: (
        rows.action(message.action_id) and {"id": message.action_id}
    )
    for wanted in ("", None):
        body = {"id": wanted, "name": "std.http", "params": {"save_result": True}}
        assert api.post("/v2/action_executions", body).status == 201
    assert len({message.action_id for message in bus.called}) == 2


def test_an_id_of_another_project_is_not_found(
    projects: Any, rows: Rows, bus: Any
) -> None:
    rows.action(uid(1), project_id="red")
    body = {"id": uid(1), "name": "std.http", "params": {"save_result": True}}
    assert projects.be("blue").post("/v2/action_executions", body).status == 404
    assert projects.be("red").post("/v2/action_executions", body).status == 201
    assert bus.called == []


def _waited_for(
    services: Any, rows: Rows, bus: Any, clock: Any, ends_after: float, **params: Any
) -> Any:
    """A POST by an API that waits by moving the clock; the stored action ends
    ``ends_after`` seconds after its start."""
    start = clock.monotonic()

    def wait(seconds: float) -> None:
        assert 0 < seconds <= 0.05
        clock.advance(seconds)
        if clock.monotonic() - start >= ends_after:
            action_id = bus.called[0].action_id
            done = {"state": "SUCCESS", "output": {"result": 1}}
            rows.change(action_executions, action_id, **done)

    def answer(message: Any) -> Any:
        rows.action(message.action_id, state="RUNNING")
        return {"id": message.action_id}

    bus.answer = answer
    params = {"run_sync": True, "save_result": True, **params}
    body = json.dumps({"name": "std.http", "params": params})
    call = Call(
        services=services,
        policies=Policies(empty_source()),
        context=Context(),
        method="POST",
        host_url="http://localhost",
        query={},
        body=body.encode(),
        media_type="application/json",
    )
    resource = ActionExecutions(wait)
    route, values = resource.find("POST", ())
    return resource.run(route, values, call).body


def test_a_run_that_is_waited_for(
    services: Any, rows: Rows, bus: Any, clock: Any
) -> None:
    """§ 9.3: ``run_sync`` and ``save_result``."""
    found = _waited_for(services, rows, bus, clock, 0.2)
    assert (found["state"], found["output"]) == ("SUCCESS", '{"result": 1}')
    (message,) = bus.called
    assert (message.save, message.sync) == (True, True)


def test_a_wait_has_an_end(services: Any, rows: Rows, bus: Any, clock: Any) -> None:
    """§ 6.6: the RPC time-out bounds it, an own shorter time-out, too."""
    start = clock.monotonic()
    with pytest.raises(Unavailable):
        _waited_for(services, rows, bus, clock, 1000)
    limit = services.settings.messaging.rpc_response_timeout
    assert limit <= clock.monotonic() - start < limit + 1
    bus.called.clear()
    start = clock.monotonic()
    with pytest.raises(Unavailable):
        _waited_for(services, rows, bus, clock, 1000, timeout=2)
    assert clock.monotonic() - start < 8


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "std.echo", "input": "[1]"},
        {"name": "std.echo", "params": {"timeout": -1}},
        {"name": "std.echo", "params": {"timeout": "soon"}},
        {"name": "std.echo", "params": {"target": 7}},
        {"name": "std.echo", "bogus": 1},
        {"name": "std.echo", "id": "mine", "params": {"save_result": True}},
        {"name": "std.echo", "id": 7, "params": {"save_result": True}},
        {"name": "std.echo", "id": uid(1)},
        {"name": "std.echo", "id": uid(1), "params": {"run_sync": True}},
    ],
)
def test_wrong_runs(api: Any, bus: Any, body: Any) -> None:
    """§ 13 row 73."""
    assert api.post("/v2/action_executions", body).status == 400
    assert bus.called == []


def test_what_the_engine_refuses(api: Any, bus: Any) -> None:
    """§ 13 rows 73, 75: unknown action, wrong input, asynchronous with run_sync."""

    def answer(message: Any) -> Any:
        raise BadRequest("Failed to find action [action_name=nope]")

    bus.answer = answer
    found = api.post("/v2/action_executions", {"name": "nope"})
    assert found.status == 400
    assert found.fault == "Failed to find action [action_name=nope]"


def test_no_executor(api: Any, bus: Any) -> None:
    """§ 11.2: 503, try again."""

    def answer(message: Any) -> Any:
        if isinstance(message, RunAction):
            return {"call": encode(CallAction(name=message.name))}
        raise Unavailable("No answer")

    bus.answer = answer
    found = api.post("/v2/action_executions", {"name": "std.echo"})
    assert found.status == 503
