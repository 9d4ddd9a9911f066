"""Every route by everybody: what policies and isolation say together (SEC-15).

The table is made from the routes themselves: a new route is walked, too. Each
request asks for objects of project red by name or id.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest
from rest import Client, Response
from rows import Rows, uid
from webob import Request

from mistral.actions.registry import Registry
from mistral.api import policy
from mistral.api.app import Services, collections, make_app
from mistral.api.rest import Route
from mistral.api.rules import ADMIN_ONLY, ADMIN_OR_OWNER, READER, WRITER, defaults
from mistral.api.v2.root import Root
from mistral.context import Context
from mistral.errors import Unauthorized

CALLERS: Final = {
    "reader": Context(project_id="red", user_id="r", roles=("reader",)),
    "member": Context(project_id="red", user_id="m", roles=("member", "reader")),
    "other": Context(project_id="blue", user_id="o", roles=("member", "reader")),
    "admin": Context(project_id="green", user_id="a", roles=("admin",), is_admin=True),
}
WHO: Final = ("anonymous", *CALLERS)

NAMED: Final = frozenset({"/v2/workbooks", "/v2/actions", "/v2/environments"})
"""Known by name: an administrator's name means the own project's object (Q-33)."""

WORKFLOW = "version: '2.0'\n{}:\n  tasks:\n    t: {{action: std.noop}}\n"
WORKBOOK = "version: '2.0'\nname: {}\n"
ACTION = "version: '2.0'\n{}: {{base: std.noop}}\n"


def _identify(request: Request, request_id: str) -> Context:
    who = request.headers["X-Test-Project"]
    if who == "anonymous":
        raise Unauthorized("Nobody.")
    return replace(CALLERS[who], request_id=request_id)


@dataclass(frozen=True)
class Case:
    """One route; ``base``: the path that its resource has."""

    base: str
    route: Route
    public: bool

    def __str__(self) -> str:
        return f"{self.route.method} {self.base} {self.route.path}"


def _cases() -> Iterator[Case]:
    root = Root(collections(), health=True)
    for base, resource in root.resources.items():
        for route in resource.routes:
            yield Case(base, route, resource.public)


CASES: Final = list(_cases())


@dataclass(frozen=True)
class Things:
    """Objects of red, made anew for each request."""

    name: str
    workflow: str
    run: str
    task: str
    action: str
    trigger: str


class World:
    """The API and what is in it."""

    def __init__(self, services: Services, *, enforce_roles: bool) -> None:
        settings = services.settings
        api = replace(
            settings.api,
            enforce_roles=enforce_roles,
            allow_action_execution_deletion=True,
        )
        dynamic = replace(settings.dynamic_actions, enabled=True)
        settings = replace(settings, api=api, dynamic_actions=dynamic)
        registry = Registry(settings, entry_points=lambda group: ())
        services = replace(services, settings=settings, registry=registry)
        self.client = Client(make_app(services, identify=_identify), services)
        self.rows = Rows(services.database, "red")
        self._numbers = itertools.count(1)

    def make(self, case: Case) -> Things:
        """What the route is about, and nothing else."""
        number = next(self._numbers)
        name = f"x{number}"
        run, task, action = (uid(number * 10 + i) for i in (1, 2, 3))
        things = Things(name, uid(number * 10), run, task, action, uid(0))
        kind = case.base.removeprefix("/v2/")
        red = self.client.be("member")
        if kind in ("workbooks", "actions"):
            text = {"workbooks": WORKBOOK, "actions": ACTION}[kind]
            assert red.post(case.base, text.format(name)).status == 201
        elif kind == "environments":
            assert red.post(case.base, {"name": name}).status == 201
        elif kind in ("executions", "tasks", "action_executions"):
            self.rows.run(run, state="SUCCESS")
            self.rows.task(task, run)
            # only one that stands alone can be deleted
            alone = case.route.method == "DELETE"
            self.rows.action(action, None if alone else task)
        if kind in ("workflows", "executions", "cron_triggers", "event_triggers"):
            made = red.post("/v2/workflows", WORKFLOW.format(name))
            things = replace(things, workflow=made.json["workflows"][0]["id"])
            path = f"/v2/workflows/{things.workflow}/members"
            assert red.post(path, {"member_id": f"p{number}"}).status == 201
        if kind in ("cron_triggers", "event_triggers"):
            made = red.post(case.base, _trigger(kind, name, things.workflow))
            assert made.status == 201, made.body
            things = replace(things, trigger=made.json["id"])
        return things


def _trigger(kind: str, name: str, workflow: str) -> dict[str, str]:
    about = {"pattern": "0 0 1 1 *"}
    if kind == "event_triggers":
        about = {"exchange": "e", "topic": "t", "event": name}
    return {"name": name, "workflow_id": workflow, **about}


def _path(case: Case, things: Things) -> str:
    first = {
        "/v2/workflows": things.workflow,
        "/v2/executions": things.run,
        "/v2/tasks": things.task,
        "/v2/action_executions": things.action,
        "/v2/cron_triggers": things.trigger,
        "/v2/event_triggers": things.trigger,
    }.get(case.base, things.name)
    second = {
        "{namespace}": "",
        "{action_id}": things.action,
        "{project}": f"p{things.name[1:]}",
    }
    filled: list[str] = []
    for part in case.route.path.split("/"):
        if part.startswith("{"):
            filled.append(second.get(part, first))
        else:
            filled.append(part)
    return (
        f"{case.base.rstrip('/')}/{'/'.join(filled)}" if filled != [""] else case.base
    )


def _body(case: Case, things: Things) -> Any:
    """What the request sends, so that only policy and isolation can refuse it."""
    if case.route.method not in ("POST", "PUT"):
        return None
    if case.route.path.endswith(("/pause", "/resume", "/run")):
        return None
    new = case.route.method == "POST"
    name = f"new-{things.name}" if new and case.route.path == "" else things.name
    texts = {"workflows": WORKFLOW, "workbooks": WORKBOOK, "actions": ACTION}
    kind = case.base.removeprefix("/v2/")
    if kind in texts and "members" not in case.route.path:
        return texts[kind].format(name)
    if "members" in case.route.path:
        return {"member_id": "blue"} if new else {"status": "accepted"}
    if case.route.path == "{id}/messages":
        return {"name": "paid"}
    if case.route.path == "{identifier}/backfill":
        return {"start": "2020-01-01 00:00"}
    return {
        "environments": {"name": name},
        "executions": {"workflow_id": things.workflow} if new else {"state": "PAUSED"},
        "tasks": {"state": "RUNNING", "reset": True},
        "cron_triggers": _trigger(kind, name, things.workflow),
        "event_triggers": _trigger(kind, name, things.workflow) if new else {},
        "action_executions": {"name": "std.noop"} if new else {"state": "SUCCESS"},
        "/maintenance": {"status": "RUNNING"},
    }.get(kind, {})


def _ask(world: World, case: Case, who: str, things: Things) -> Response:
    client = world.client.be(who)
    path, body = _path(case, things), _body(case, things)
    return client.request(case.route.method, path, body)


CHECKS: Final = {
    strict: {rule.name: rule.check_str for rule in defaults(roles=strict)}
    for strict in (False, True)
}


def _permitted(rule: str, who: str, *, strict: bool) -> bool:
    """What the default of a rule means, said once more."""
    if rule == policy.OPEN:
        return True
    means: dict[str, Callable[[], bool]] = {
        ADMIN_ONLY: lambda: who == "admin",
        ADMIN_OR_OWNER: lambda: True,
        READER: lambda: True,
        WRITER: lambda: who != "reader",
    }
    return means[CHECKS[strict][rule]]()


def _sees(case: Case, who: str) -> bool:
    """Whether red's object exists for this caller."""
    one = "{" in case.route.path
    changes_by_name = case.route.method == "PUT" and case.base in (
        *NAMED,
        "/v2/workflows",
    )
    if not (one or changes_by_name):
        return True
    if case.base in ("/v2/code_sources", "/v2/dynamic_actions"):
        # red has none: only administrators get that far
        return False
    if who == "admin":
        by_name = case.base in NAMED or (changes_by_name and not one)
        return not by_name
    return who != "other"


SIGNED = ("POST /v2/callbacks {action_id}", "POST /v2/events {source}")
"""Who asks is nothing to them; without a signature all are refused."""

NOT_404: Final = frozenset(
    {
        # nothing is looked for: the name belongs into the body
        "PUT /v2/environments {name}",
        # a list below something unknown is empty (M72; § 8.4)
        "GET /v2/tasks {id}/action_executions",
        "GET /v2/tasks {id}/workflow_executions",
        "GET /v2/workflows {id}/members",
    }
)


def _expected(case: Case, who: str, *, strict: bool) -> int | None:
    """The status; None: it was let in, and the rest is other tests' business."""
    if str(case) in SIGNED:
        return 403
    if case.public:
        return None
    if who == "anonymous":
        return 401
    if not _permitted(case.route.rule, who, strict=strict):
        return 403
    if who == "admin" and str(case) == "POST /v2/workflows {id}/members":
        # only the owning project shares
        return 403
    if not _sees(case, who) and str(case) not in NOT_404:
        return 404
    return None


@pytest.fixture
def world(services: Services) -> World:
    return World(services, enforce_roles=False)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_sec15_sec25_every_route_by_everybody(
    world: World, bus: Any, case: Case
) -> None:
    """Refused with the right status, and never told to an engine."""
    bus.answer = lambda message: {"id": uid(1)}
    for who in WHO:
        things = world.make(case)
        bus.called.clear()
        answer = _ask(world, case, who, things)
        expected = _expected(case, who, strict=False)
        if expected is None:
            assert answer.status not in (401, 403), (who, answer)
        else:
            assert answer.status == expected, (who, answer)
            assert not bus.called, who
        if who == "other" and case.route.method == "GET" and not case.public:
            for hidden in (things.workflow, things.run, things.task, things.action):
                if hidden not in _path(case, things):
                    assert hidden not in answer.body.decode(), who


@pytest.mark.parametrize(
    "case", [c for c in CASES if CHECKS[True].get(c.route.rule) == WRITER], ids=str
)
def test_q30_readers_change_nothing_where_roles_count(
    services: Services, bus: Any, case: Case
) -> None:
    """[api] enforce_roles."""
    world = World(services, enforce_roles=True)
    things = world.make(case)
    assert _ask(world, case, "reader", things).status == 403
    assert not bus.called
