"""What one project may see and change of another's (§ 5.3, § 5.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from matrix import World

WORKFLOW = "version: '2.0'\n{}:\n  tasks:\n    t: {{action: std.noop}}\n"
WORKBOOK = "version: '2.0'\nname: {}\n"
ACTION = "version: '2.0'\n{}: {{base: std.noop}}\n"


def _create(client: Any, collection: str, name: str, scope: str) -> Any:
    if collection == "environments":
        return client.post("/v2/environments", {"name": name, "scope": scope})
    text = {"workflows": WORKFLOW, "workbooks": WORKBOOK, "actions": ACTION}[collection]
    return client.post(f"/v2/{collection}?scope={scope}", text.format(name))


def _update(client: Any, collection: str, name: str, scope: str) -> Any:
    if collection == "environments":
        return client.put("/v2/environments", {"name": name, "scope": scope})
    text = {"workflows": WORKFLOW, "workbooks": WORKBOOK, "actions": ACTION}[collection]
    return client.put(f"/v2/{collection}?scope={scope}", text.format(name))


COLLECTIONS = ["workflows", "workbooks", "actions", "environments"]


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_m95_private_objects_of_others_do_not_exist(
    projects: Any, collection: str
) -> None:
    red, blue = projects.be("red"), projects.be("blue")
    assert _create(red, collection, "x", "private").status == 201
    assert blue.get(f"/v2/{collection}/x").status == 404
    assert _update(blue, collection, "x", "private").status == 404
    assert blue.delete(f"/v2/{collection}/x").status == 404
    names = [e["name"] for e in blue.get(f"/v2/{collection}").json[collection]]
    assert "x" not in names
    assert red.get(f"/v2/{collection}/x").status == 200


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_m94_m96_q34_public_objects_of_others_are_read_only(
    projects: Any, collection: str
) -> None:
    owner = projects.be("admin:red")
    blue = projects.be("blue")
    assert _create(owner, collection, "x", "public").status == 201
    assert blue.get(f"/v2/{collection}/x").status == 200
    assert _update(blue, collection, "x", "private").status == 403
    assert blue.delete(f"/v2/{collection}/x").status == 403
    assert owner.get(f"/v2/{collection}/x").json["scope"] == "public"


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_m17_sec02_publicize_is_for_administrators(
    projects: Any, collection: str
) -> None:
    red = projects.be("red")
    assert _create(red, collection, "x", "public").status == 403
    assert _create(red, collection, "x", "private").status == 201
    assert _update(red, collection, "x", "public").status == 403
    assert red.get(f"/v2/{collection}/x").json["scope"] == "private"


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_sec24_q33_a_name_means_the_own_object_first(
    projects: Any, collection: str
) -> None:
    """Deleting takes the own one and leaves the public one (Q-34)."""
    other, mine = projects.be("admin:red"), projects.be("admin:blue")
    assert _create(other, collection, "x", "public").status == 201
    assert _create(mine, collection, "x", "private").status == 201
    assert mine.get(f"/v2/{collection}/x").json["project_id"] == "blue"
    assert mine.delete(f"/v2/{collection}/x").status == 204
    assert mine.get(f"/v2/{collection}/x").json["project_id"] == "red"


def test_q33_workbook_of_an_administrator_leaves_others_members(
    projects: Any,
) -> None:
    text = (
        "version: '2.0'\nname: box\nworkflows:\n  w: {tasks: {t: {action: std.noop}}}\n"
    )
    red, admin = projects.be("red"), projects.be("admin:blue")
    assert red.post("/v2/workbooks", text).status == 201
    assert admin.post("/v2/workbooks", text).status == 201
    owners = [w["project_id"] for w in admin.get("/v2/workflows").json["workflows"]]
    assert sorted(owners) == ["blue", "red"]


def test_q23_administrators_see_and_change_all_by_id(projects: Any) -> None:
    red, admin = projects.be("red"), projects.be("admin:blue")
    made = _create(red, "workflows", "x", "private").json["workflows"][0]
    assert admin.get(f"/v2/workflows/{made['id']}").status == 200
    assert admin.get("/v2/workflows/x").status == 404
    assert len(admin.get("/v2/workflows").json["workflows"]) == 1
    assert admin.delete(f"/v2/workflows/{made['id']}").status == 204


def test_m32_m33_all_projects(projects: Any) -> None:
    red = projects.be("red")
    assert red.get("/v2/workflows?all_projects=true").status == 403
    assert red.get("/v2/workflows?all_projects=false").status == 200
    assert red.get("/v2/workflows?all_projects=").status == 200
    assert projects.be("admin:red").get("/v2/workflows?all_projects=1").status == 200


def test_marker_of_another_project_is_unknown(projects: Any) -> None:
    made = _create(projects.be("red"), "workflows", "x", "private").json
    marker = made["workflows"][0]["id"]
    assert projects.be("blue").get(f"/v2/workflows?marker={marker}").status == 404


# -- Members ------------------------------------------------------------------


@pytest.fixture
def shared(projects: Any) -> str:
    """Path of the members of red's private workflow ``x``."""
    made = _create(projects.be("red"), "workflows", "x", "private").json
    return f"/v2/workflows/{made['workflows'][0]['id']}/members"


def test_m93_pending_is_unseen_accepted_is_seen(projects: Any, shared: str) -> None:
    red, blue = projects.be("red"), projects.be("blue")
    workflow = shared.removesuffix("/members")
    made = red.post(shared, {"member_id": "blue"})
    assert made.status == 201
    assert made.json["status"] == "pending"
    assert "updated_at" not in made.json
    assert blue.get(workflow).status == 404
    accepted = blue.put(f"{shared}/blue", {"status": "accepted"})
    assert (accepted.status, accepted.json["status"]) == (200, "accepted")
    assert accepted.json["updated_at"]
    assert blue.get(workflow).status == 200
    assert blue.get("/v2/workflows/x").status == 200
    assert len(blue.get("/v2/workflows").json["workflows"]) == 1
    assert blue.put("/v2/workflows", WORKFLOW.format("x")).status == 403
    assert blue.delete(workflow).status == 403
    assert blue.put(f"{shared}/blue", {"status": "rejected"}).status == 200
    assert blue.get(workflow).status == 404


def test_m89_to_m92_and_q38_rules_of_sharing(projects: Any, shared: str) -> None:
    red, blue, green = (projects.be(name) for name in ("red", "blue", "green"))
    assert red.post(shared, {}).status == 400
    assert red.post(shared, {"member_id": "blue"}).status == 201
    assert red.post(shared, {"member_id": "blue"}).status == 409, "M90"
    accept = {"status": "accepted"}
    assert red.put(f"{shared}/blue", accept).status == 404, "M91"
    assert green.put(f"{shared}/blue", accept).status == 404
    assert blue.put(f"{shared}/blue", {}).status == 400
    assert blue.put(f"{shared}/blue", {"status": "maybe"}).status == 400
    assert blue.put(f"{shared}/blue", accept).status == 200
    assert blue.delete(f"{shared}/blue").status == 404, "M92"
    assert blue.post(shared, {"member_id": "green"}).status == 403, "Q-38"
    assert green.get(shared).json == {"members": []}
    assert green.get(f"{shared}/blue").status == 404
    assert len(blue.get(shared).json["members"]) == 1
    assert red.get(f"{shared}/blue").json["member_id"] == "blue"
    assert red.delete(f"{shared}/blue").status == 204
    assert blue.get(shared.removesuffix("/members")).status == 404


def test_m89_public_workflows_and_unknown_ones(projects: Any, shared: str) -> None:
    admin = projects.be("admin:red")
    made = _create(admin, "workflows", "open", "public").json["workflows"][0]
    member = {"member_id": "blue"}
    assert admin.post(f"/v2/workflows/{made['id']}/members", member).status == 400
    assert projects.be("blue").post(shared, {"member_id": "x"}).status == 404
    assert admin.get("/v2/workflows/x/members").status == 400
    assert admin.get("/v2/workbooks/x/members").status == 404


def test_deleting_a_workflow_deletes_its_memberships(
    projects: Any, shared: str
) -> None:
    red = projects.be("red")
    red.post(shared, {"member_id": "blue"})
    assert red.delete("/v2/workflows/x").status == 204
    assert red.get(shared).json == {"members": []}


# -- [api] administrators_list_all_projects (Q-23) ----------------------------

LISTED = (
    "workflows", "workbooks", "actions", "environments", "executions", "tasks",
    "action_executions", "cron_triggers", "event_triggers",
)  # fmt: skip
ASKABLE = ("workflows", "executions", "cron_triggers", "event_triggers")
"""Those that always have ``all_projects`` (§ 3.5); with the switch off, all have."""


@pytest.mark.parametrize("everything", [True, False])
def test_q_23_the_switch_of_what_administrators_list(
    world: World, everything: bool
) -> None:
    """Off: as for everybody, unless they ask; public things stay seen."""
    settings = world.services.settings
    api = replace(settings.api, administrators_list_all_projects=everything)
    admin = world.served(
        replace(world.services, settings=replace(settings, api=api))
    ).be("admin:green")
    run = world.start("waits")
    assert _create(world.red, "workbooks", "x", "private").status == 201
    assert _create(world.red, "actions", "x", "private").status == 201
    assert _create(world.red, "environments", "x", "private").status == 201
    workflow = world.workflow("w")
    cron = world.cron("c", workflow)
    assert world.red.post("/v2/cron_triggers", cron).status == 201
    event = {"workflow_id": workflow, "exchange": "e", "topic": "t", "event": "v"}
    assert world.red.post("/v2/event_triggers", event).status == 201
    public = world.workflow("seen", world.admin, "public")
    for name in LISTED:
        found = _of_red(admin, f"/v2/{name}", name)
        assert bool(found) is everything, name
        if name in ASKABLE or not everything:
            assert _of_red(admin, f"/v2/{name}?all_projects=true", name), name
            ask = f"/v2/{name}?all_projects=false"
            assert bool(_of_red(admin, ask, name)) is everything, name
    ids = [each["id"] for each in admin.get("/v2/workflows").json["workflows"]]
    assert public in ids
    assert admin.get(f"/v2/executions/{run}").status == 200, "by id as ever"
    named = admin.get("/v2/executions?project_id=red").json["executions"]
    assert [each["id"] for each in named] == [run], "who names a project asks"


def _of_red(client: Any, path: str, name: str) -> list[Any]:
    answer = client.get(path)
    assert answer.status == 200, answer.body
    return [each for each in answer.json[name] if each["project_id"] == "red"]
