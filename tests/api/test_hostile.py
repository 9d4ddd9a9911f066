"""A hostile project: what ``blue`` and the administrator of ``green`` get when they ask
for what is ``red``'s, by every route and every detour (SEC-15, SEC-24, SEC-25, § 5.3).

The table says the status for both. Whatever it is: no answer to blue holds a word or an
id of red's, nothing of red's has changed, and what is hidden is answered as what does
not exist, so that nobody learns which.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from matrix import World
from rest import Client, Response
from sqlalchemy import select

from mistral.db import models

UNKNOWN = "6b1a1d3a-5a0f-4f62-9d4e-0d6d4c1f9a11"

WORKFLOWS = """
version: '2.0'
canary_leaf:
  tags: [canary_tag]
  tasks:
    t: {action: std.echo output=canary_output}
canary_w:
  input: [canary_input: canary_default]
  output: {canary_result: canary_value}
  tasks:
    sub: {workflow: canary_leaf, publish: {canary_published: 1}}
canary_waits:
  tasks:
    t: {action: std.async_noop}
canary_fails:
  tasks:
    t: {action: std.fail}
"""
ACTION = "version: '2.0'\n{}: {{base: std.echo output=canary_adhoc}}\n"
WORKBOOK = "version: '2.0'\nname: {}\ndescription: canary_words\n"
ONE = "version: '2.0'\n{}:\n  tasks:\n    t: {{action: std.noop}}\n"


class Scene:
    """All kinds of things of red's; ``ids`` by what the table calls them."""

    def __init__(self, world: World) -> None:
        self.world = world.with_code()
        red, self.blue, self.admin = world.red, world.blue, world.admin
        owner = world.served(world.services).be("admin:red")
        made = _made(red.post("/v2/workflows", WORKFLOWS))["workflows"]
        ids = {each["name"].removeprefix("canary_"): each["id"] for each in made}
        _made(red.post("/v2/workbooks", WORKBOOK.format("canary_book")))
        act = _made(red.post("/v2/actions", ACTION.format("canary_act")))
        ids["act"] = act["actions"][0]["id"]
        code = "from mistral_lib import actions\nclass C(actions.Action): pass\n"
        path = "/v2/code_sources?name=canary_code"
        ids["code"] = _made(owner.post(path, code))["id"]
        dynamic = {
            "name": "canary_dyn",
            "class_name": "C",
            "code_source_id": ids["code"],
        }
        ids["dyn"] = _made(owner.post("/v2/dynamic_actions", dynamic))["id"]
        env = {"name": "canary_env", "variables": {"canary_k": "canary_v"}}
        ids["env"] = _made(red.post("/v2/environments", env))["id"]
        ids["run"] = world.start("canary_w", description="canary_words", params=_PARAMS)
        ids["waiting"] = world.start("canary_waits")
        ids["failed"] = world.start("canary_fails")
        ids["task"] = world.task(ids["run"])
        ids["failed_task"] = world.task(ids["failed"])
        ids["action"] = world.action(ids["waiting"])
        alone = {"name": "std.async_noop", "params": {"save_result": True}}
        ids["alone"] = _made(red.post("/v2/action_executions", alone))["id"]
        cron = world.cron("canary_cron", ids["w"])
        ids["cron"] = _made(red.post("/v2/cron_triggers", cron))["id"]
        event = {"exchange": "canary_e", "topic": "t", "event": "canary_v"}
        event |= {"name": "canary_event", "workflow_id": ids["w"]}
        ids["event"] = _made(red.post("/v2/event_triggers", event))["id"]
        member = {"member_id": "violet"}
        _made(red.post(f"/v2/workflows/{ids['leaf']}/members", member))
        ids["sub"] = red.get(f"/v2/tasks/{ids['task']}/workflow_executions").json[
            "executions"
        ][0]["id"]
        self.ids = ids
        self.own = self._own(world)
        self.before = self.rows()

    def _own(self, world: World) -> dict[str, str]:
        """Of blue's, for detours that begin at home."""
        workflow = world.workflow("mine", self.blue)
        event = {"exchange": "e", "topic": "t", "event": "v", "workflow_id": workflow}
        trigger = _made(self.blue.post("/v2/event_triggers", event))["id"]
        run = world.start("mine", self.blue)
        return {"own_event": trigger, "own_run": run, "own": workflow}

    def rows(self) -> dict[str, list[Any]]:
        """Everything that belongs to red."""
        with self.world.house.database.read() as connection:
            return {
                table.name: sorted(
                    str(tuple(row))
                    for row in connection.execute(
                        select(table).where(table.c.project_id == "red")
                    )
                )
                for table in models.metadata.tables.values()
                if "project_id" in table.c
            }

    def filled(self, value: Any, ids: dict[str, str]) -> Any:
        """The value with ``{name}`` replaced."""
        text = json.dumps(value)
        for name, id in {**self.own, **ids}.items():
            text = text.replace("{" + name + "}", id)
        return json.loads(text)


_PARAMS = {"env": {"canary_k": "canary_v"}}


def _made(answer: Response) -> Any:
    assert answer.status == 201, answer.body
    return answer.json


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Scene]:
    """One that a test may change."""
    world = World(tmp_path)
    yield Scene(world)
    world.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    world = World(tmp_path_factory.mktemp("stage"))
    scene = Scene(world)
    world.workflow("mine", scene.admin)
    yield scene
    world.close()


@pytest.fixture
def scene(stage: Scene) -> Scene:
    """One for all tests whose requests leave red's things as they are."""
    stage.before = stage.rows()
    return stage


@dataclass(frozen=True)
class Attack:
    """One request; ``blue`` and ``admin``: the status that each gets.

    :param admin: None: not asked, since it would be right and change things.
    :param twin: the same about something unknown gives blue the same answer.
    """

    method: str
    path: str
    blue: int
    admin: int | None
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    twin: bool = True

    def __str__(self) -> str:
        more = f" {json.dumps(self.body)}" if self.body is not None else ""
        return f"{self.method} {self.path}{more}{dict(self.headers) or ''}"


STATE = {"state": "CANCELLED"}
RERUN = {"state": "RUNNING", "reset": True}
ANY = (("If-Match", "*"),)
RUN = "/v2/executions"

ATTACKS = (
    # -- by name: what administrators mean is their own project's
    *(
        Attack(method, f"/v2/{kind}/{name}", status, admin)
        for kind, name, status, admin in (
            ("workbooks", "canary_book", 404, 404),
            ("workflows", "canary_w", 404, 404),
            ("actions", "canary_act", 404, 404),
            ("code_sources", "canary_code", 403, 404),
            ("dynamic_actions", "canary_dyn", 403, 404),
            ("environments", "canary_env", 404, 404),
            ("cron_triggers", "canary_cron", 404, 404),
        )
        for method in ("GET", "DELETE")
    ),
    Attack("GET", "/v2/actions/canary_dyn", 404, 404),
    Attack("GET", "/v2/environments/{env}", 404, 404),
    Attack("GET", "/v2/event_triggers/canary_event", 400, 400),
    Attack("PUT", "/v2/workbooks", 404, 404, WORKBOOK.format("canary_book")),
    Attack("PUT", "/v2/workflows", 404, 404, ONE.format("canary_w")),
    Attack("PUT", "/v2/actions", 404, 404, ACTION.format("canary_act")),
    Attack("PUT", "/v2/environments", 404, 404, {"name": "canary_env"}),
    Attack("PUT", "/v2/dynamic_actions", 403, 404, {"name": "canary_dyn"}),
    # -- by id: administrators reach every project's (§ 5.3)
    *(
        Attack("GET", f"/v2/{path}", 404, 200)
        for path in (
            "workflows/{w}", "actions/{act}", "executions/{run}",
            "executions/{sub}", "executions/{run}/tasks", "executions/{run}/report",
            "executions/{run}/executions", "executions/{run}/history",
            "executions/{run}?wait=1", "tasks/{task}", "tasks/{task}/executions",
            "action_executions/{action}", "cron_triggers/{cron}",
            "event_triggers/{event}", "tasks/{failed_task}?fields=result",
            "executions/{run}?fields=id,params,published_global",
        )
    ),
    *(
        Attack(method, f"/v2/{kind}/{{{id}}}", 403, 200 if method == "GET" else None)
        for kind, id in (("code_sources", "code"), ("dynamic_actions", "dyn"))
        for method in ("GET", "DELETE")
    ),
    *(
        Attack("DELETE", f"/v2/{path}", 404, None)
        for path in (
            "workflows/{leaf}", "actions/{act}", "executions/{run}",
            "executions/{waiting}?force=true", "action_executions/{alone}",
            "cron_triggers/{cron}", "event_triggers/{event}",
        )
    ),
    *(
        Attack("DELETE", f"/v2/{path}", 404, None, headers=ANY)
        for path in ("workflows/{leaf}", "cron_triggers/{cron}")
    ),
    Attack("PUT", "/v2/workflows/{leaf}", 404, None, ONE.format("stolen")),
    Attack("PUT", "/v2/workflows?identifier={leaf}", 404, None, ONE.format("stolen")),
    Attack("PUT", "/v2/actions/{act}", 404, None, ACTION.format("stolen")),
    Attack("PUT", "/v2/code_sources?identifier={code}", 403, None, "x = 1"),
    Attack("PUT", "/v2/event_triggers/{event}", 404, None, {"name": "stolen"}),
    *(
        Attack("PUT", f"{RUN}/{{waiting}}", 404, None, body)
        for body in (STATE, {"state": "PAUSED"}, {"description": "stolen"},
                     {"params": {"env": {"k": 1}}}, {"state": "NONSENSE"}, {})
    ),
    Attack("PUT", "/v2/tasks/{failed_task}", 404, None, RERUN),
    Attack("PUT", "/v2/tasks/{failed_task}", 404, None, {"state": "SKIPPED"}),
    *(
        Attack("PUT", "/v2/action_executions/{action}", 404, None, {"state": state})
        for state in ("SUCCESS", "ERROR", "CANCELLED", "PAUSED")
    ),
    # -- what lies below something hidden
    Attack("GET", "/v2/tasks/{task}/action_executions", 200, 200),
    Attack("GET", "/v2/tasks/{task}/workflow_executions", 200, 200),
    Attack("GET", "/v2/tasks/{task}/action_executions/{action}", 404, 404),
    Attack("GET", "/v2/workflows/{leaf}/members", 200, 200),
    Attack("GET", "/v2/workflows/{leaf}/members/violet", 404, 404),
    Attack("POST", "/v2/workflows/{leaf}/members", 404, 403, {"member_id": "blue"}),
    Attack("PUT", "/v2/workflows/{leaf}/members/blue", 404, 404,
           {"status": "accepted"}),
    Attack("PUT", "/v2/workflows/{leaf}/members/violet", 404, 404,
           {"status": "accepted"}),
    Attack("DELETE", "/v2/workflows/{leaf}/members/violet", 404, 404),
    # -- starting, binding and deriving from what is hidden
    Attack("POST", RUN, 404, 404, {"workflow_name": "canary_w"}),
    Attack("POST", RUN, 404, None, {"workflow_id": "{w}"}),
    Attack("POST", RUN, 404, None, {"workflow_name": "{w}"}),
    Attack("POST", RUN, 404, None, {"source_execution_id": "{run}"}),
    Attack("POST", RUN, 404, None,
           {"workflow_name": "mine", "source_execution_id": "{run}"}),
    Attack("POST", RUN, 404, 201, {"id": "{run}", "workflow_name": "mine"}, twin=False),
    Attack("POST", RUN, 400, None,
           {"workflow_name": "mine", "params": {"env": "canary_env"}}),
    *(
        Attack("POST", RUN, 400, None,
               {"workflow_name": "mine", "params": {key: value}})
        for key, value in (("task_execution_id", "{task}"),
                           ("root_execution_id", "{run}"), ("index", 0))
    ),
    Attack("POST", "/v2/action_executions", 400, 400, {"name": "canary_act"}),
    Attack("POST", "/v2/action_executions", 400, 400, {"name": "{act}"}),
    Attack("POST", "/v2/action_executions", 400, 400, {"name": "canary_dyn"}),
    *(
        # an administrator's trigger is of the own project, and so are its runs
        Attack("POST", "/v2/cron_triggers", 404, 404,
               {"name": "c", "pattern": "0 0 1 1 *", **workflow})
        for workflow in ({"workflow_id": "{w}"}, {"workflow_name": "canary_w"},
                         {"workflow_name": "{w}"})
    ),
    Attack("POST", "/v2/event_triggers", 404, 404,
           {"exchange": "x", "topic": "t", "event": "v", "workflow_id": "{w}"}),
    Attack("PUT", "/v2/event_triggers/{own_event}", 404, None, {"workflow_id": "{w}"}),
    # -- what is for administrators alone
    Attack("PUT", "/maintenance", 403, None, {"status": "PAUSED"}),
    Attack("POST", "/v2/workflows?scope=public", 403, None, ONE.format("p")),
    *(
        Attack("GET", f"/v2/{name}?all_projects=true", 403, 200)
        for name in ("workflows", "executions", "cron_triggers", "event_triggers")
    ),
    Attack("GET", f"{RUN}?project_id=red", 403, 200),
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_sec_24_25_blue_gets_nothing_of_reds(scene: Scene, attack: Attack) -> None:
    answer = _ask(scene, scene.blue, attack, scene.ids)
    assert answer.status == attack.blue, answer.body
    _holds_nothing(scene, answer, attack)
    assert scene.rows() == scene.before
    if attack.twin and "{" in str(attack.path) + json.dumps(attack.body):
        nothing = dict.fromkeys(scene.ids, UNKNOWN)
        twin = _ask(scene, scene.blue, attack, nothing)
        assert _without_ids(scene, twin) == _without_ids(scene, answer)


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.admin], ids=str)
def test_sec_25_an_administrator_reaches_it_by_id_alone(
    scene: Scene, attack: Attack
) -> None:
    answer = _ask(scene, scene.admin, attack, scene.ids)
    assert answer.status == attack.admin, answer.body
    assert scene.rows() == scene.before


def _ask(scene: Scene, client: Client, attack: Attack, ids: dict[str, str]) -> Response:
    path, body = scene.filled([attack.path, attack.body], ids)
    return client.request(attack.method, path, body, headers=dict(attack.headers))


def _holds_nothing(scene: Scene, answer: Response, attack: Attack) -> None:
    sent = f"{attack.path} {json.dumps(attack.body)}"
    text = answer.body.decode()
    # what was asked for may be said again
    for name in ("canary_book", "canary_w", "canary_act", "canary_code", "canary_dyn",
                 "canary_env", "canary_cron", "canary_event"):  # fmt: skip
        if name in sent:
            text = text.replace(name, "")
    assert "canary" not in text
    for name, id in scene.ids.items():
        if f"{{{name}}}" not in sent:
            assert id not in text, name


def _without_ids(scene: Scene, answer: Response) -> tuple[int, str]:
    text = answer.body.decode()
    for id in (*scene.ids.values(), UNKNOWN):
        text = text.replace(id, "…")
    return answer.status, text


# -- Lists --------------------------------------------------------------------

LISTS = (
    "workbooks", "workflows", "actions", "environments", "executions", "tasks",
    "action_executions", "cron_triggers", "event_triggers",
)  # fmt: skip


def _parameters(client: Client, name: str) -> Any:
    """(names of filters, attributes) as the service describes its list."""
    document = client.get("/v2/openapi.json").json
    known = document["paths"][f"/v2/{name}"]["get"]["parameters"]
    resolved = [_resolved(document, each) for each in known]
    return [each["name"] for each in resolved if each["in"] == "query"]


def _resolved(document: Any, value: Any) -> Any:
    if "$ref" not in value:
        return value
    for step in value["$ref"].removeprefix("#/").split("/"):
        document = document[step]
    return document


@pytest.mark.parametrize("name", LISTS)
def test_sec_25_no_parameter_of_a_list_leads_to_others(scene: Scene, name: str) -> None:
    """Every filter with every id and word of red's, every order, all fields."""
    blue = scene.blue
    values = [*scene.ids.values(), "red", "canary_w", "has:canary", "neq:x", "private"]
    paging = {"limit", "marker", "fields", "sort_keys", "sort_dirs", "nulls", "wait"}
    filters = [each for each in _parameters(blue, name) if each not in paging]
    assert "name" in filters or "workflow_name" in filters
    columns = blue.get(f"/v2/{name}?fields=bogus").fault
    seen = _listed(scene, name, "")
    for parameter in filters:
        for value in values:
            found = _listed(scene, name, f"{parameter}={value}")
            assert found <= seen, (parameter, value)
        for key in ("asc", "desc"):
            query = f"sort_keys={parameter}&sort_dirs={key}"
            assert _listed(scene, name, query) <= seen
    attributes = [
        word.strip("'.,") for word in columns.split() if word.strip("'.,").islower()
    ]
    for attribute in attributes:
        _listed(scene, name, f"fields={attribute}")
    _listed(scene, name, "include_output=true&limit=1")


def _listed(scene: Scene, name: str, query: str) -> set[str]:
    answer = scene.blue.get(f"/v2/{name}?{query}")
    if answer.status != 200:
        assert answer.status in (400, 403), answer.body
        text = answer.body.decode()
        for word in query.split("="):
            text = text.replace(word, "")
        assert "canary" not in text
        return set()
    own = answer.body.decode()
    link = answer.json.get("next", "")
    own = own.replace(link, "") if link else own
    assert "canary" not in own, query
    rows = answer.json[name]
    for each in rows:
        assert each["id"] not in scene.ids.values(), query
    return {str(each["id"]) for each in rows}


@pytest.mark.parametrize("name", [each for each in LISTS if each != "actions"])
def test_sec_25_a_marker_of_others_is_as_unknown_as_any(
    scene: Scene, name: str
) -> None:
    for id in scene.ids.values():
        answer = scene.blue.get(f"/v2/{name}?marker={id}")
        twin = scene.blue.get(f"/v2/{name}?marker={UNKNOWN}")
        assert answer.status == 404
        assert _without_ids(scene, answer) == _without_ids(scene, twin)


# -- Headers ------------------------------------------------------------------

CLAIMS = {
    "X-Project-Id": "red", "X-Tenant-Id": "red", "X-User-Id": "r", "X-Roles": "admin",
    "X-Identity-Status": "Confirmed", "X-Is-Admin-Project": "True",
    "X-Service-Identity-Status": "Confirmed", "X-Service-Token": "t",
}  # fmt: skip
TARGET = {
    "X-Target-Auth-Uri": "http://there/v3", "X-Target-Project-Id": "red",
    "X-Target-User-Id": "r", "X-Target-Insecure": "True",
}  # fmt: skip


@pytest.mark.parametrize("headers", [CLAIMS, TARGET, CLAIMS | TARGET])
def test_sec_23_26_headers_make_nobody_somebody_else(
    scene: Scene, headers: dict[str, str]
) -> None:
    """Q-26, Q-29: neither claimed identities nor targets move a request."""
    for name in LISTS:
        answer = scene.blue.get(f"/v2/{name}", headers=headers)
        if "X-Target-Auth-Uri" in headers:
            assert answer.status == 400, "the target's token is missing"
        else:
            assert answer.status == 200
            assert "canary" not in answer.body.decode()
        hidden = scene.blue.get(f"/v2/executions/{scene.ids['run']}", headers=headers)
        assert hidden.status in (400, 404)
    path = f"/v2/executions/{scene.ids['waiting']}"
    changed = scene.blue.request("PUT", path, STATE, headers=headers)
    assert changed.status in (400, 404)
    assert scene.rows() == scene.before


# -- Definitions that look elsewhere ------------------------------------------

DETOURS = {
    "a sub-workflow by name": "{action: std.noop, on-success: u}\n    u: "
    "{workflow: canary_leaf}",
    "a sub-workflow by id": "{workflow: '{leaf}'}",
    "a sub-workflow by an expression": "{workflow: \"<% 'canary_leaf' %>\"}",
    "an ad-hoc action": "{action: canary_act}",
    "an action by id": "{action: '{act}'}",
    "a dynamic action": "{action: canary_dyn}",
}
LOOKS = (
    "<% executions(id => '{run}') %>",
    "<% executions(root_execution_id => '{run}') %>",
    "<% executions().select($.id) %>",
    "<% tasks('{run}') %>",
    "<% tasks('{run}', true) %>",
    "<% execution().params %>",
    "<% env() %>",
    "{{ executions(id='{run}') }}",
    "{{ tasks('{run}') }}",
)


@pytest.mark.parametrize("name", DETOURS)
def test_sec_24_names_in_workflows_find_only_what_the_project_sees(
    scene: Scene, name: str
) -> None:
    body = scene.filled([DETOURS[name]], scene.ids)[0]
    run = _spy(scene, f"    t: {body}\n")
    shown = scene.blue.get(f"/v2/executions/{run}")
    assert shown.json["state"] == "ERROR"
    for hidden in ("canary_output", "canary_tag", "canary_adhoc"):
        everything = scene.blue.get(f"/v2/executions/{run}/history").body + shown.body
        assert hidden not in everything.decode()
    assert scene.rows() == scene.before


def _spy(scene: Scene, tasks: str) -> str:
    """A run of blue's with these tasks."""
    scene.blue.delete("/v2/workflows/spy")
    text = f"version: '2.0'\nspy:\n  tasks:\n{tasks}"
    assert scene.blue.post("/v2/workflows", text).status == 201
    return scene.world.start("spy", scene.blue)


@pytest.mark.parametrize("look", LOOKS)
def test_sec_25_expressions_see_the_own_project(scene: Scene, look: str) -> None:
    expression = scene.filled([look], scene.ids)[0]
    run = _spy(
        scene,
        "    t:\n      action: std.noop\n"
        f"      publish:\n        found: {json.dumps(expression)}\n",
    )
    task = scene.blue.get(f"/v2/tasks/{scene.world.task(run, scene.blue)}")
    assert task.json["state"] in ("SUCCESS", "ERROR")
    shown = task.json["published"]
    assert "canary" not in shown
    for id in scene.ids.values():
        assert id not in shown


def test_sec_25_members_of_a_workbook_do_not_touch_those_of_others(
    fresh: Scene,
) -> None:
    """Also where a name is the same, and where blue clears its own away."""
    for client in (fresh.blue, fresh.admin):
        text = (
            WORKBOOK.format("canary_book")
            + "workflows: {w: {tasks: {t: {action: std.noop}}}}\n"
        )
        assert client.post("/v2/workbooks", text).status == 201
        assert client.post("/v2/workflows", WORKFLOWS).status == 201
        assert client.put("/v2/workbooks?prune=true", text).status == 200
        gone = client.delete("/v2/workbooks/canary_book?cascade=true")
        assert gone.status == 204, gone.body
    assert fresh.rows() == fresh.before


def test_sec_24_the_own_then_the_shared_then_the_public(fresh: Scene) -> None:
    """What a name means does not depend on what others publish."""
    world = fresh.world
    public = world.workflow("same", fresh.admin, "public")
    assert fresh.blue.get("/v2/workflows/same").json["id"] == public
    shared = world.workflow("same", world.red)
    path = f"/v2/workflows/{shared}/members"
    _made(world.red.post(path, {"member_id": "blue"}))
    assert fresh.blue.get("/v2/workflows/same").json["id"] == public
    accept = {"status": "accepted"}
    assert fresh.blue.put(f"{path}/blue", accept).status == 200
    assert fresh.blue.get("/v2/workflows/same").json["id"] == shared
    started = _made(fresh.blue.post(RUN, {"workflow_name": "same"}))
    assert (started["workflow_id"], started["project_id"]) == (shared, "blue")
    own = world.workflow("same", fresh.blue)
    assert fresh.blue.get("/v2/workflows/same").json["id"] == own


def test_sec_15_readers_change_nothing_of_their_own_project_either(
    scene: Scene,
) -> None:
    """``[api] enforce_roles``: a caller without a role that writes (Q-30)."""
    services = scene.world.services
    api = replace(services.settings.api, enforce_roles=True)
    strict = replace(services, settings=replace(services.settings, api=api))
    reader = scene.world.served(strict).be("red")
    for attack in ATTACKS:
        if attack.method == "GET" or attack.body == {"status": "PAUSED"}:
            continue
        answer = _ask(scene, reader, attack, scene.ids)
        assert answer.status in (400, 403), (str(attack), answer.body)
    assert scene.rows() == scene.before
