"""Definitions are changed only as their caller knows them: ETag, If-Match."""

from __future__ import annotations

from typing import Any

import pytest

WORKFLOW = "version: '2.0'\nd:\n  tasks:\n    t: {action: std.noop}\n"
WORKBOOK = (
    "version: '2.0'\nname: d\nworkflows:\n  w:\n    tasks: {t: {action: std.noop}}\n"
)
ACTION = "version: '2.0'\nd:\n  base: std.noop\n"
KINDS = {
    "workflows": (WORKFLOW, WORKFLOW + "  description: other\n"),
    "workbooks": (WORKBOOK, WORKBOOK + "description: other\n"),
    "actions": (ACTION, ACTION + "  description: other\n"),
    "environments": ({"name": "d"}, {"name": "d", "description": "other"}),
}


@pytest.fixture(params=KINDS)
def kind(request: Any, api: Any) -> str:
    name: str = request.param
    assert api.post(f"/v2/{name}", KINDS[name][0]).status == 201
    return name


def test_if_match_lets_only_the_known_state_be_changed(api: Any, kind: str) -> None:
    path = f"/v2/{kind}/d"
    first = api.get(path).headers["ETag"]
    assert api.get(path).headers["ETag"] == first
    known = {"If-Match": f'"another", {first}'}
    other = KINDS[kind][1]
    assert api.put(f"/v2/{kind}", other, headers={"If-Match": '"no"'}).status == 412
    assert "description" not in str(api.get(path).json.get("definition"))
    assert api.put(f"/v2/{kind}", other, headers=known).status == 200
    second = api.get(path).headers["ETag"]
    assert second != first
    refused = api.put(f"/v2/{kind}", KINDS[kind][0], headers=known)
    assert (refused.status, api.get(path).headers["ETag"]) == (412, second)
    assert "changed" in refused.fault
    assert api.delete(path, headers=known).status == 412
    assert api.put(f"/v2/{kind}", other, headers={"If-Match": "*"}).status == 200
    last = api.get(path).headers["ETag"]
    assert api.delete(path, headers={"If-Match": last}).status == 204
    assert api.get(path).status == 404


def test_if_none_match_saves_the_body(api: Any, kind: str) -> None:
    path = f"/v2/{kind}/d"
    tag = api.get(path).headers["ETag"]
    same = api.get(path, headers={"If-None-Match": tag})
    assert (same.status, same.body, same.headers["ETag"]) == (304, b"", tag)
    assert api.get(path, headers={"If-None-Match": '"x"'}).json["name"] == "d"
    assert api.get(f"/v2/{kind}/none", headers={"If-None-Match": "*"}).status == 404
