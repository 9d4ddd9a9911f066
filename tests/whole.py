"""The API in front of every role, in one process and one thread.

``House`` turns the crank; this adds the door: requests go through the real WSGI
application, whose bus is the engine's next turn, or the executor's runner for
an immediate run.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from house import House
from webob import Request

from mistral.actions.registry import Registry
from mistral.api.app import Services, make_app
from mistral.config import Settings
from mistral.engine.core.ports import Rules
from mistral.errors import BadRequest
from mistral.messages import (
    ActionTurnedAsync,
    CallAction,
    Message,
    RunAction,
    decode,
    encode,
)


class _Bus:
    """Each call is decided at once."""

    def __init__(self, whole: Whole) -> None:
        self._whole = whole

    def call(
        self,
        message: Message,
        *,
        timeout: float | None = None,
        target: str | None = None,
    ) -> Any:
        message = decode(json.loads(json.dumps(encode(message))))
        house = self._whole.house
        if isinstance(message, CallAction):
            outcome = house.runner.run(message, immediate=True)
            if isinstance(outcome, ActionTurnedAsync):
                raise BadRequest("Action does not support synchronous execution.")
            return {"state": str(outcome.state), "result": outcome.result}
        answer = house.ask(message)  # type: ignore[arg-type]
        if isinstance(message, RunAction) and message.sync:
            # Who asked waits for the end of it.
            house.settle()
        return answer


class Whole:
    """``whole.upload(text)``; ``id = whole.start("w")``; ``whole.settle()``.

    :param settings: of API and registry; authentication is off.
    """

    def __init__(
        self,
        directory: Path,
        *,
        settings: Settings | None = None,
        rules: Rules | None = None,
        registry: Any = None,
    ) -> None:
        settings = settings or Settings()
        settings = replace(settings, api=replace(settings.api, auth_enable=False))
        self.house = House(
            directory,
            rules=rules,
            registry=registry or Registry(settings),
            dynamic=settings.dynamic_actions,
        )
        self.app = make_app(
            Services(
                database=self.house.database,
                bus=_Bus(self),
                registry=self.house.registry,
                settings=settings,
                clock=self.house.clock,
                new_id=self.house.new_id,
            )
        )

    # -- Asking ---------------------------------------------------------------

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status, and the JSON of the answer."""
        request = Request.blank(f"/v2/{path}", method=method)
        if isinstance(body, str):
            request.headers["Content-Type"] = "text/plain"
            request.body = body.encode()
        elif body is not None:
            request.headers["Content-Type"] = "application/json"
            request.body = json.dumps(body).encode()
        answer = request.get_response(self.app)
        text = answer.body
        return answer.status_int, json.loads(text) if text else None

    def get(self, path: str) -> Any:
        """:raises AssertionError: it is not 200."""
        status, body = self.request("GET", path)
        assert status == 200, body
        return body

    def put(self, path: str, body: Any) -> Any:
        """:raises AssertionError: it is not 200."""
        status, found = self.request("PUT", path, body)
        assert status == 200, found
        return found

    def upload(self, text: str, kind: str = "workflows", query: str = "") -> None:
        """:raises AssertionError: it was refused."""
        status, body = self.request("POST", f"{kind}{query}", _versioned(text))
        assert status == 201, body

    def start(self, name: str, input: Any = None, **more: Any) -> str:
        """Start a workflow; answers the id of the run."""
        status, body = self.begin(name, input, **more)
        assert status == 201, body
        return str(body["id"])

    def begin(self, name: str, input: Any = None, **more: Any) -> tuple[int, Any]:
        body = {"workflow_name": name, "input": input or {}, **more}
        return self.request("POST", "executions", body)

    def run(self, name: str, input: Any = None, **more: Any) -> dict[str, Any]:
        """Start, settle, and read the execution."""
        id = self.start(name, input, **more)
        self.settle()
        return self.execution(id)

    def settle(self) -> None:
        self.house.settle()

    # -- Looking --------------------------------------------------------------

    def execution(self, id: str) -> dict[str, Any]:
        found = self.get(f"executions/{id}")
        return {**found, **{n: json.loads(found[n]) for n in ("input", "output")}}

    def tasks(self, id: str, name: str | None = None) -> list[dict[str, Any]]:
        """Tasks of a run, oldest first, with what only one task's page shows."""
        listed = self.get(f"executions/{id}/tasks?sort_keys=created_at,id")["tasks"]
        found = [self.get(f"tasks/{task['id']}") for task in listed]
        return [task for task in found if name in (None, task["name"])]

    def task(self, id: str, name: str) -> dict[str, Any]:
        [found] = self.tasks(id, name)
        return found

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

    def finish(self, action_id: str, output: Any = None, state: str = "SUCCESS") -> Any:
        """Deliver the result of an asynchronous action."""
        body: dict[str, Any] = {"state": state}
        if output is not None:
            body["output"] = output
        return self.put(f"action_executions/{action_id}", body)

    def close(self) -> None:
        self.house.close()


def _versioned(text: str) -> str:
    return text if "version:" in text else f"version: '2.0'\n{text}"
