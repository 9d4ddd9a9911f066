"""REST without a network: requests to the WSGI application, answered at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from contract import contract_of
from house import House
from webob import Request

from mistral.actions.registry import Registry
from mistral.api.app import Services, make_app
from mistral.config import Settings
from mistral.errors import BadRequest
from mistral.expressions.evaluate import Evaluator
from mistral.messages import (
    ActionTurnedAsync,
    CallAction,
    Message,
    RunAction,
    decode,
    encode,
)
from mistral.triggers.converter import Converter
from mistral.triggers.intake import EventIntake


@dataclass
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def fault(self) -> str:
        """The text of an error; the shape of § 2.1 is checked on the way."""
        body = self.json
        assert set(body) == {"faultcode", "faultstring", "debuginfo"}
        assert body["faultcode"] == ("Client" if self.status < 500 else "Server")
        assert "Traceback" not in body["faultstring"]
        return str(body["faultstring"])


class Client:
    """Requests to a WSGI application.

    :param project: who asks, where the application tells projects apart;
        ``admin`` in front of it makes an administrator (``admin:blue``).
    """

    def __init__(self, app: Any, services: Services, project: str = "") -> None:
        self.app = app
        self.services = services
        self.project = project

    def be(self, project: str) -> Client:
        return Client(self.app, self.services, project)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        given = dict(headers or {})
        if self.project:
            given["X-Test-Project"] = self.project
        if isinstance(body, dict | list):
            body = json.dumps(body)
            given.setdefault("Content-Type", "application/json")
        elif body is not None:
            given.setdefault("Content-Type", "text/plain")
        path = quote(path, safe="/?&=%:,+")
        request = Request.blank(path, method=method, headers=given)
        # as servers do
        request.environ["REQUEST_URI"] = path
        if body is not None:
            request.body = body if isinstance(body, bytes) else body.encode()
            request.headers["Content-Type"] = given["Content-Type"]
        answer = request.get_response(self.app)
        contract_of(self.services.settings).check(
            method, path, answer.status_int, answer.headers, answer.body
        )
        return Response(answer.status_int, answer.headers, answer.body)

    def get(self, path: str, **given: Any) -> Response:
        return self.request("GET", path, **given)

    def post(self, path: str, body: Any = None, **given: Any) -> Response:
        return self.request("POST", path, body, **given)

    def put(self, path: str, body: Any = None, **given: Any) -> Response:
        return self.request("PUT", path, body, **given)

    def delete(self, path: str, **given: Any) -> Response:
        return self.request("DELETE", path, **given)


class Engine:
    """The API's bus: a ``House`` decides before ``call`` returns.

    Messages go there as on the wire; immediate runs go to its runner.
    """

    refusal: str | None = None

    def __init__(self, house: House) -> None:
        self.house = house

    def call(
        self,
        message: Message,
        *,
        timeout: float | None = None,
        target: str | None = None,
    ) -> Any:
        message = decode(json.loads(json.dumps(encode(message))))
        if isinstance(message, CallAction):
            outcome = self.house.runner.run(message, immediate=True)
            if isinstance(outcome, ActionTurnedAsync):
                raise BadRequest("Action does not support synchronous execution.")
            return {"state": str(outcome.state), "result": outcome.result}
        answer = self.house.ask(message)  # type: ignore[arg-type]
        if not isinstance(message, RunAction) or message.sync:
            # Who runs an action without waiting is shown that it runs.
            self.house.settle()
        return answer


class Service:
    """The whole service in one thread: REST in front of a ``House``.

    ``service.upload(text)``; ``id = service.start("w")``; ``service.states(id)``.
    Every request is decided, and all that follows from it without time going
    on has happened, before the next one; ``house.advance`` lets time go on, and
    ``house.settle`` runs the actions that somebody started without waiting.

    :param settings: of API and registry; authentication is off.
    :param more: for the ``House``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        settings: Settings | None = None,
        registry: Registry | None = None,
        **more: Any,
    ) -> None:
        settings = settings or Settings()
        settings = replace(settings, api=replace(settings.api, auth_enable=False))
        self.house = House(
            directory,
            registry=registry or Registry(settings),
            dynamic=settings.dynamic_actions,
            **more,
        )
        services = Services(
            database=self.house.database,
            bus=Engine(self.house),
            registry=self.house.registry,
            settings=settings,
            clock=self.house.clock,
            new_id=self.house.new_id,
            callbacks=self.house.callbacks,
            events=lambda: EventIntake(
                self.house.database, Converter(Evaluator()), authenticated=False
            ),
        )
        self.api = Client(make_app(services), services)

    # -- Asking ---------------------------------------------------------------

    def get(self, path: str) -> Any:
        """The JSON below ``/v2``.

        :raises AssertionError: it is not 200.
        """
        answer = self.api.get(f"/v2/{path}")
        assert answer.status == 200, answer.body
        return answer.json

    def put(self, path: str, body: Any) -> Any:
        """:raises AssertionError: it is not 200."""
        answer = self.api.put(f"/v2/{path}", body)
        assert answer.status == 200, answer.body
        return answer.json

    def upload(self, text: str, kind: str = "workflows", namespace: str = "") -> None:
        """``version`` may be left out.

        :raises AssertionError: it was refused.
        """
        if "version:" not in text:
            text = f"version: '2.0'\n{text}"
        answer = self.api.post(f"/v2/{kind}?namespace={namespace}", text)
        assert answer.status == 201, answer.body

    def begin(self, name: str, input: Any = None, **more: Any) -> Response:
        """``POST /v2/executions``."""
        body = {"workflow_name": name, "input": input or {}, **more}
        return self.api.post("/v2/executions", body)

    def start(self, name: str, input: Any = None, **more: Any) -> str:
        """Start a workflow; answers the id of the run."""
        answer = self.begin(name, input, **more)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])

    def run(self, name: str, input: Any = None, **more: Any) -> dict[str, Any]:
        """Start a workflow; answers the execution when nothing moves any more."""
        return self.execution(self.start(name, input, **more))

    def change(self, id: str, **values: Any) -> Response:
        """``PUT /v2/executions/{id}``."""
        return self.api.put(f"/v2/executions/{id}", values)

    def redo(self, task_id: str, state: str = "RUNNING", **values: Any) -> Response:
        """``PUT /v2/tasks/{id}``: rerun (``reset=…``) or skip."""
        return self.api.put(f"/v2/tasks/{task_id}", {"state": state, **values})

    def answer(self, action_id: str, state: str, **values: Any) -> Response:
        """``PUT /v2/action_executions/{id}``."""
        path = f"/v2/action_executions/{action_id}"
        return self.api.put(path, {"state": state, **values})

    def finish(self, action_id: str, output: Any = None, state: str = "SUCCESS") -> Any:
        """The result of an asynchronous action; answers what is shown of it.

        :raises AssertionError: it was refused.
        """
        more = {} if output is None else {"output": output}
        answer = self.answer(action_id, state, **more)
        assert answer.status == 200, answer.body
        return answer.json

    # -- Looking --------------------------------------------------------------

    def execution(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"executions/{id}")
        for name in ("input", "output", "params"):
            found[name] = json.loads(found[name])
        return found

    def tasks(self, id: str, name: str | None = None) -> list[dict[str, Any]]:
        """Tasks of a run, oldest first, with what only one task's page shows."""
        listed = self.get(f"executions/{id}/tasks?sort_keys=created_at,id")["tasks"]
        found = [self.get(f"tasks/{task['id']}") for task in listed]
        return [task for task in found if name in (None, task["name"])]

    def task(self, id: str, name: str) -> dict[str, Any]:
        [found] = self.tasks(id, name)
        return found

    def states(self, id: str) -> dict[str, str]:
        return {task["name"]: task["state"] for task in self.tasks(id)}

    def children(self, id: str) -> list[dict[str, Any]]:
        """Executions that the tasks of this one started."""
        found = self.get(f"executions/{id}/executions")["executions"]
        mine = {task["id"] for task in self.tasks(id)}
        return [
            self.execution(each["id"])
            for each in found
            if each["task_execution_id"] in mine
        ]

    def actions(self, task_id: str) -> list[dict[str, Any]]:
        """Action executions of a task, oldest first, ``output`` read."""
        listed = self.get(
            f"action_executions?task_execution_id={task_id}"
            "&include_output=true&sort_keys=created_at,id"
        )["action_executions"]
        return [
            {**action, "output": json.loads(action["output"] or "null")}
            for action in listed
        ]

    def action(self, id: str, name: str) -> dict[str, Any]:
        """The only action execution of the only task of that name."""
        [found] = self.actions(self.task(id, name)["id"])
        return found

    def close(self) -> None:
        self.house.close()
