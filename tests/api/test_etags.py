"""What projects own is changed only as its caller knows it: ETag, If-Match."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from mistral.api.app import Services
from mistral.config import Settings

WORKFLOW = "version: '2.0'\nd:\n  tasks:\n    t: {action: std.noop}\n"
WORKBOOK = (
    "version: '2.0'\nname: d\nworkflows:\n  w:\n    tasks: {t: {action: std.noop}}\n"
)
ACTION = "version: '2.0'\nd:\n  base: std.noop\n"
LONG = "x" * 2000


@dataclass
class Kind:
    """One object ``d``: its path, and requests that make and change it.

    :param change: method, path and bodies of two changes; None: there are none.
    """

    make: tuple[str, Any]
    one: str = ""
    put: str = ""
    bodies: tuple[Any, ...] = ()


SOURCE = {"name": "d", "class_name": "A", "code_source_name": "s"}
TRIGGER = {"name": "d", "workflow_name": "w", "pattern": "0 0 * * *"}
EVENT = {"name": "d", "exchange": "e", "topic": "t", "event": "v"}
KINDS = {
    "workflows": Kind(
        ("/v2/workflows", WORKFLOW), bodies=(WORKFLOW + f"  description: {LONG}\n",)
    ),
    "workbooks": Kind(
        ("/v2/workbooks", WORKBOOK), bodies=(WORKBOOK + f"description: {LONG}\n",)
    ),
    "actions": Kind(
        ("/v2/actions", ACTION), bodies=(ACTION + f"  description: {LONG}\n",)
    ),
    "environments": Kind(
        ("/v2/environments", {"name": "d"}),
        bodies=({"name": "d", "description": LONG},),
    ),
    "code_sources": Kind(
        ("/v2/code_sources?name=d", "a = 1"),
        put="/v2/code_sources?identifier=d",
        bodies=(f"a = '{LONG}'",),
    ),
    "dynamic_actions": Kind(
        ("/v2/dynamic_actions", SOURCE), bodies=({"name": "d", "class_name": "B"},)
    ),
    "event_triggers": Kind(
        ("/v2/event_triggers", EVENT),
        bodies=({"workflow_params": {"a": LONG}},),
    ),
    "cron_triggers": Kind(("/v2/cron_triggers", TRIGGER)),
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(
        settings, dynamic_actions=replace(settings.dynamic_actions, enabled=True)
    )


@pytest.fixture(params=list(KINDS))
def kind(request: Any, api: Any, services: Services) -> Kind:
    name: str = request.param
    workflow = api.post("/v2/workflows", WORKFLOW.replace("d:", "w:"))
    api.post("/v2/code_sources?name=s", "a = 1")
    path, body = KINDS[name].make
    if name == "event_triggers":
        body = {**body, "workflow_id": workflow.json["workflows"][0]["id"]}
    made = api.post(path, body)
    assert made.status == 201, made.body
    one = f"/v2/{name}/{made.json['id'] if name == 'event_triggers' else 'd'}"
    put = KINDS[name].put or (one if name == "event_triggers" else f"/v2/{name}")
    return replace(KINDS[name], one=one, put=put)


def test_if_match_lets_only_the_known_state_be_changed(api: Any, kind: Kind) -> None:
    first = api.get(kind.one).headers["ETag"]
    before = api.get(kind.one).json
    assert api.get(kind.one).headers["ETag"] == first
    wrong = {"If-Match": '"no"'}
    for body in kind.bodies:
        refused = api.put(kind.put, body, headers=wrong)
        assert refused.status == 412
        assert "changed" in refused.fault
        assert api.get(kind.one).json == before
        known = {"If-Match": f'"another", {first}'}
        assert api.put(kind.put, body, headers=known).status == 200
        second = api.get(kind.one).headers["ETag"]
        assert second != first
        assert api.put(kind.put, body, headers=known).status == 412
        assert api.get(kind.one).headers["ETag"] == second
        assert api.delete(kind.one, headers=known).status == 412
        assert api.put(kind.put, body, headers={"If-Match": "*"}).status == 200
    assert api.delete(kind.one, headers=wrong).status == 412
    last = api.get(kind.one).headers["ETag"]
    assert api.delete(kind.one, headers={"If-Match": last}).status == 204
    assert api.get(kind.one).status == 404


def test_if_none_match_saves_the_body(api: Any, kind: Kind) -> None:
    tag = api.get(kind.one).headers["ETag"]
    same = api.get(kind.one, headers={"If-None-Match": tag})
    assert (same.status, same.body, same.headers["ETag"]) == (304, b"", tag)
    assert same.headers["Vary"] == "Accept-Encoding"
    assert api.get(kind.one, headers={"If-None-Match": '"x"'}).json["name"] == "d"


@pytest.mark.parametrize("kind", ["workflows", "environments"], indirect=True)
def test_a_packed_answer_has_a_tag_of_its_own(api: Any, kind: Kind) -> None:
    """A strong tag means these very bytes; either names the row."""
    gzip = {"Accept-Encoding": "gzip"}
    assert api.put(kind.put, kind.bodies[0]).status == 200
    plain, packed = api.get(kind.one), api.get(kind.one, headers=gzip)
    assert packed.headers["Content-Encoding"] == "gzip"
    tags = [answer.headers["ETag"] for answer in (plain, packed)]
    assert len(set(tags)) == 2
    for answer in (plain, packed):
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert not answer.headers["ETag"].startswith("W/")
    for tag in tags:
        for headers in ({}, gzip):
            same = api.get(kind.one, headers={**headers, "If-None-Match": tag})
            assert (same.status, same.headers["ETag"]) == (304, tag)
        same = api.put(kind.put, kind.bodies[0], headers={"If-Match": tag})
        assert same.status == 200
    assert api.delete(kind.one, headers={"If-Match": tags[1]}).status == 204


def test_what_is_not_there_has_no_tag(api: Any) -> None:
    path = "/v2/workflows/none"
    assert api.get(path, headers={"If-None-Match": "*"}).status == 404
    assert "ETag" not in api.get("/v2/actions/std.echo").headers
