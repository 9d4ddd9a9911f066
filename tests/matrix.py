"""A service with two projects and an administrator, an engine behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from house import House
from rest import Client, Engine, Response
from webob import Request

from mistral.actions.registry import Registry
from mistral.api.app import Services, make_app
from mistral.config import Settings
from mistral.context import Context
from mistral.errors import Unauthorized

WORKFLOW: Final = "version: '2.0'\n{}:\n  tasks:\n    t: {{action: std.noop}}\n"
WORKBOOK: Final = "version: '2.0'\nname: {}\n"
ACTION: Final = "version: '2.0'\n{}: {{base: std.noop}}\n"

RUNS: Final = {
    "quick": "{tasks: {t: {action: std.noop}}}",
    "waits": "{tasks: {t: {action: std.async_noop}}}",
    "fails": "{tasks: {t: {action: std.fail}}}",
    "needs": "{input: [a], tasks: {t: {action: std.noop}}}",
    "back": "{type: reverse, tasks: {t: {action: std.noop}}}",
    "parts": "{tasks: {t: {with-items: 'i in [1, 2]', action: std.fail}}}",
    "calls": "{tasks: {t: {workflow: quick}}}",
}
"""Workflows that every project of a world may ask for, by name."""


class World:
    """``red`` and ``blue`` are members, ``admin`` rules ``green``, ``nobody`` has no
    token. All that a request entails has happened when it is answered.
    """

    def __init__(self, directory: Path, settings: Settings | None = None) -> None:
        self.house = House(directory)
        settings = settings or Settings()
        api = replace(settings.api, allow_action_execution_deletion=True)
        self.services = Services(
            database=self.house.database,
            bus=Engine(self.house),
            registry=self.house.registry,
            settings=replace(settings, api=api),
            clock=self.house.clock,
            new_id=self.house.new_id,
        )
        self._be(self.services)

    def _be(self, services: Services) -> None:
        self.services = services
        client = self.served(services)
        self.red, self.blue = client.be("red"), client.be("blue")
        self.admin, self.nobody = client.be("admin:green"), client.be("nobody")

    def served(self, services: Services) -> Client:
        return Client(make_app(services, identify=_who), services)

    def with_code(self) -> World:
        """Code sources and dynamic actions are switched on."""
        settings = self.services.settings
        dynamic = replace(settings.dynamic_actions, enabled=True)
        settings = replace(settings, dynamic_actions=dynamic)
        self._be(replace(self.services, settings=settings, registry=Registry(settings)))
        return self

    # -- Making things --------------------------------------------------------

    def workflow(
        self, name: str, client: Client | None = None, scope: str = "private"
    ) -> str:
        """The id of a new workflow; by default of red."""
        body = RUNS.get(name)
        text = f"version: '2.0'\n{name}: {body}\n" if body else WORKFLOW.format(name)
        path = f"/v2/workflows?scope={scope}"
        made = (client or self.red).post(path, text)
        assert made.status == 201, made.body
        return str(made.json["workflows"][0]["id"])

    def begin(self, name: str, client: Client | None = None, **more: Any) -> Response:
        """``POST /v2/executions``, the workflow uploaded if need be."""
        client = client or self.red
        if client.get(f"/v2/workflows/{name}").status == 404:
            self.workflow(name, client)
        return client.post("/v2/executions", {"workflow_name": name, **more})

    def start(self, name: str, client: Client | None = None, **more: Any) -> str:
        """The id of a new execution."""
        answer = self.begin(name, client, **more)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])

    def task(self, run: str, client: Client | None = None) -> str:
        listed = (client or self.red).get(f"/v2/executions/{run}/tasks").json["tasks"]
        return str(listed[0]["id"])

    def action(self, run: str, client: Client | None = None) -> str:
        path = f"/v2/tasks/{self.task(run, client)}/action_executions"
        listed = (client or self.red).get(path).json["action_executions"]
        return str(listed[0]["id"])

    def cron(self, name: str, workflow: str) -> dict[str, Any]:
        return {"name": name, "workflow_id": workflow, "pattern": "0 0 1 1 *"}

    def close(self) -> None:
        self.house.close()


def _who(request: Request, request_id: str) -> Context:
    known: Mapping[str, str] = request.headers
    project = known["X-Test-Project"]
    if project == "nobody":
        raise Unauthorized("Authentication required.")
    return Context(
        project_id=project.removeprefix("admin:"),
        user_id=f"{project}-user",
        is_admin=project.startswith("admin:"),
        request_id=request_id,
    )
