"""An API process dies between a request and its answer, at each place where it could:
the client asks again, and what it asked for has happened once (ENG-177).

The places are the ends of what the API is given: the bus (before a request goes to an
engine, when the engine has it, when it has answered) and the server in front (before
the answer goes out).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cells import CELLS, Cell
from rest import Client, Engine, Service
from webob import Request

from mistral.api.app import make_app
from mistral.db import models
from mistral.messages import (
    ActionFinished,
    CallAction,
    Message,
    decode,
    encode,
)

ASKING, ASKED, ANSWERED, SHOWING = "asking", "asked", "answered", "showing"
PLACES = (ASKING, ASKED, ANSWERED, SHOWING)

WORKFLOWS = """
version: '2.0'
waits: {tasks: {t: {action: std.async_noop}}}
fails: {tasks: {t: {action: std.sleep seconds=1}}}
"""


class Died(BaseException):
    """An API process is no more."""


class Mortal(Engine):
    """The bus of an API process that dies.

    :param place: where; None: it lives.
    """

    def __init__(self, service: Service, place: str | None) -> None:
        super().__init__(service.house)
        self._place = place

    def call(self, message: Message, **more: Any) -> Any:
        if self._place == ASKING:
            raise Died
        if self._place == ASKED:
            self.house.put(decode(encode(message)))  # type: ignore[arg-type]
            raise Died
        answer = super().call(message, **more)
        if self._place == ANSWERED:
            raise Died
        return answer


class World(Service):
    """REST in front of a house, by processes that die."""

    def __init__(self, directory: Path, **more: Any) -> None:
        super().__init__(directory, **more)
        self.upload(WORKFLOWS)
        self.house.hold.add("std.sleep")

    def dies(self, place: str, method: str, path: str, body: Any) -> bool:
        """A process takes the request and dies there; whether it came so far."""
        services = replace(self.api.services, bus=Mortal(self, place))
        request = Request.blank(path, method=method)
        if body is not None:
            request.body = json.dumps(body).encode()
            request.headers["Content-Type"] = "application/json"
        request.environ["REQUEST_URI"] = path

        def respond(status: str, *_: Any) -> Any:
            if place == SHOWING:
                raise Died
            return lambda data: None

        try:
            list(make_app(services)(request.environ, respond))
        except Died:
            self.house.settle()
            return True
        return False

    def again(self, method: str, path: str, body: Any) -> int:
        """The client asks another process."""
        services = replace(self.api.services, bus=Mortal(self, None))
        app = make_app(services)
        return Client(app, services).request(method, path, body).status


@dataclass(frozen=True)
class Asked:
    """:param prepared: makes what it is about; answers the place-holders of its path.
    :param repeated: statuses of a repeat after it had happened.
    :param happened: whether it has, once.
    """

    method: str
    path: str
    prepared: Callable[[World], dict[str, str]]
    happened: Callable[[World, dict[str, str]], bool]
    repeated: tuple[int, ...]
    body: Any = None


def _fresh(world: World) -> dict[str, str]:
    return {"id": world.house.new_id()}


def _waits(world: World) -> dict[str, str]:
    id = world.start("waits")
    return {"id": id, "action": world.action(id, "t")["id"]}


def _paused(world: World) -> dict[str, str]:
    known = _waits(world)
    world.change(known["id"], state="PAUSED")
    return known


def _failed(world: World) -> dict[str, str]:
    id = world.start("fails")
    house = world.house
    [call] = [call for call in house.running if call.run_id == id]
    house.put(_error(call))
    house.settle()
    return {"id": id, "task": world.task(id, "t")["id"]}


def _error(call: CallAction) -> ActionFinished:
    return ActionFinished(
        run_id=call.run_id, action_id=call.action_id, state="ERROR", result="no"
    )


def _state(state: str) -> Callable[[World, dict[str, str]], bool]:
    return lambda world, known: world.execution(known["id"])["state"] == state


def _runs_once(world: World, known: dict[str, str]) -> bool:
    actions = world.house.rows(
        models.action_executions, workflow_execution_id=known["id"]
    )
    return len(actions) == 1 and _state("RUNNING")(world, known)


def _ran_again_once(world: World, known: dict[str, str]) -> bool:
    actions = world.house.rows(
        models.action_executions, workflow_execution_id=known["id"]
    )
    return sorted(a["state"] for a in actions) == ["ERROR", "RUNNING"]


def _is_gone(world: World, known: dict[str, str]) -> bool:
    return not world.house.rows(models.workflow_executions, id=known["id"])


def _one_trigger(world: World, known: dict[str, str]) -> bool:
    made = world.house.rows(models.cron_triggers, name=known["id"])
    due = [world.house.rows(models.outbox, run_id=row["id"]) for row in made]
    return [len(rows) for rows in due] == [1]


def _one_environment(world: World, known: dict[str, str]) -> bool:
    return len(world.house.rows(models.environments, name=known["id"])) == 1


EXECUTION = "/v2/executions/{id}"
TRIGGER = {"name": "{id}", "workflow_name": "waits", "pattern": "0 0 1 1 *"}

REQUESTS = {
    "start": Asked(
        "POST", "/v2/executions", _fresh, _runs_once, (201,),
        {"id": "{id}", "workflow_name": "waits"},
    ),
    "pause": Asked(
        "PUT", EXECUTION, _waits, _state("PAUSED"), (200,), {"state": "PAUSED"}
    ),
    "resume": Asked(
        "PUT", EXECUTION, _paused, _state("RUNNING"), (200,), {"state": "RUNNING"}
    ),
    "cancel": Asked(
        "PUT", EXECUTION, _waits, _state("CANCELLED"), (200,), {"state": "CANCELLED"}
    ),
    "delete": Asked(
        "DELETE", f"{EXECUTION}?force=true", _waits, _is_gone, (404,)
    ),
    "rerun": Asked(
        "PUT", "/v2/tasks/{task}", _failed, _ran_again_once, (400,),
        {"state": "RUNNING", "reset": True},
    ),
    "answer": Asked(
        "PUT", "/v2/action_executions/{action}", _waits, _state("SUCCESS"), (400,),
        {"state": "SUCCESS", "output": "7"},
    ),
    "trigger": Asked(
        "POST", "/v2/cron_triggers", _fresh, _one_trigger, (409,), TRIGGER
    ),
    "environment": Asked(
        "POST", "/v2/environments", _fresh, _one_environment, (409,),
        {"name": "{id}", "variables": "{}"},
    ),
}  # fmt: skip


@pytest.fixture(params=CELLS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    cell: Cell = request.param
    with cell.world(World, tmp_path) as world:
        yield world


def _filled(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(each, known) for name, each in value.items()}
    if isinstance(value, str):
        for name, found in known.items():
            value = value.replace(f"{{{name}}}", found)
    return value


def test_eng_177_a_client_whose_api_died_asks_again_and_it_happens_once(
    world: World,
) -> None:
    for name, asked in REQUESTS.items():
        for place in PLACES:
            known = asked.prepared(world)
            path, body = _filled(asked.path, known), _filled(asked.body, known)
            if not world.dies(place, asked.method, path, body):
                # What the API writes itself asks no engine.
                assert name in ("trigger", "environment"), f"{name} at {place}"
                continue
            before = asked.happened(world, known)
            assert before == (place != ASKING), f"{name} at {place}"
            status = world.again(asked.method, path, body)
            wanted = asked.repeated if before else (200, 201, 204)
            assert status in wanted, f"{name} at {place}: {status}"
            world.house.settle()
            assert asked.happened(world, known), f"{name} at {place}"
    assert world.house.examined() == []
