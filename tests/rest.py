"""REST without a network: requests to the WSGI application, answered at once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from house import House
from webob import Request

from mistral.actions.registry import Registry
from mistral.api.app import Services, make_app
from mistral.config import Settings


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
        if body is not None:
            request.body = body if isinstance(body, bytes) else body.encode()
            request.headers["Content-Type"] = given["Content-Type"]
        answer = request.get_response(self.app)
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
    """The API's bus: the engine of a ``House`` decides before ``call`` returns."""

    def __init__(self, house: House) -> None:
        self.house = house

    def call(
        self,
        message: Any,
        *,
        timeout: float | None = None,
        target: str | None = None,
    ) -> Any:
        answer = self.house.ask(message)
        self.house.settle()
        return answer


class Service:
    """The whole service in one thread: REST in front of a ``House``.

    Every request is decided, and all that follows from it without time going
    on has happened, when it is answered; ``house.advance`` lets time go on.
    """

    def __init__(self, directory: Path, **more: Any) -> None:
        self.house = House(directory, **more)
        settings = Settings()
        settings = replace(settings, api=replace(settings.api, auth_enable=False))
        services = Services(
            database=self.house.database,
            bus=Engine(self.house),
            registry=Registry(settings),
            settings=settings,
            clock=self.house.clock,
            new_id=lambda: str(uuid.uuid4()),
        )
        self.api = Client(make_app(services), services)

    def upload(self, text: str, namespace: str = "") -> None:
        """Workflows, or the actions or the workbook that the text holds."""
        kind = "workflows"
        if "\nactions:" in text or "\nworkflows:" in text:
            kind = "workbooks"
        answer = self.api.post(f"/v2/{kind}?namespace={namespace}", text)
        assert answer.status == 201, answer.body

    def upload_actions(self, text: str, namespace: str = "") -> None:
        answer = self.api.post(f"/v2/actions?namespace={namespace}", text)
        assert answer.status == 201, answer.body

    def start(self, name: str, input: Any = None, **more: Any) -> dict[str, Any]:
        """The execution as it is when nothing moves any more."""
        body = {"workflow_name": name, "input": json.dumps(input or {}), **more}
        if "params" in more:
            body["params"] = json.dumps(more["params"])
        answer = self.api.post("/v2/executions", body)
        assert answer.status == 201, answer.body
        return self.execution(answer.json["id"])

    def execution(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/v2/executions/{id}").json
        for name in ("input", "output", "params"):
            found[name] = json.loads(found[name])
        return found

    def change(self, id: str, **values: Any) -> Response:
        """``PUT /v2/executions/{id}``."""
        return self.api.put(f"/v2/executions/{id}", values)

    def tasks(self, id: str) -> list[dict[str, Any]]:
        found = self.api.get(f"/v2/executions/{id}/tasks").json["tasks"]
        return sorted(found, key=lambda task: str(task["created_at"]))

    def task(self, id: str, name: str) -> dict[str, Any]:
        [found] = [t for t in self.tasks(id) if t["name"] == name]
        return found

    def states(self, id: str) -> dict[str, str]:
        return {task["name"]: task["state"] for task in self.tasks(id)}

    def children(self, id: str) -> list[dict[str, Any]]:
        """Executions that the tasks of this one started."""
        found = self.api.get(f"/v2/executions/{id}/executions").json["executions"]
        mine = {task["id"] for task in self.tasks(id)}
        return [
            self.execution(each["id"])
            for each in found
            if each["task_execution_id"] in mine
        ]

    def actions(self, task_id: str) -> list[dict[str, Any]]:
        path = f"/v2/tasks/{task_id}/action_executions"
        ids = [each["id"] for each in self.api.get(path).json["action_executions"]]
        found = [self.api.get(f"/v2/action_executions/{id}").json for id in ids]
        for each in found:
            each["output"] = json.loads(each["output"] or "null")
        return found

    def redo(self, task_id: str, state: str = "RUNNING", **values: Any) -> Response:
        """``PUT /v2/tasks/{id}``: rerun (``reset=…``) or skip."""
        return self.api.put(f"/v2/tasks/{task_id}", {"state": state, **values})

    def answer(self, action_id: str, state: str, **values: Any) -> Response:
        """``PUT /v2/action_executions/{id}``."""
        path = f"/v2/action_executions/{action_id}"
        return self.api.put(path, {"state": state, **values})

    def close(self) -> None:
        self.house.close()
