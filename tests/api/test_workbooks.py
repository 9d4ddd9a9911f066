"""Workbooks and their members over the API (spec/rest-api.md § 8.1)."""

from __future__ import annotations

from typing import Any

from definitions import WORKBOOK
from rows import Rows, uid

from mistral.db import models

OTHER = """\
version: '2.0'
name: box
workflows:
  other:
    tasks: {t: {action: std.noop}}
"""


def test_workbook_brings_its_members(api: Any) -> None:
    answer = api.post("/v2/workbooks?namespace=n", WORKBOOK.format("box"))
    assert answer.status == 201
    assert answer.json["definition"] == WORKBOOK.format("box")
    assert answer.json["tags"] == ["boxed"]
    assert "updated_at" not in answer.json
    workflow = api.get("/v2/workflows/box.run?namespace=n").json
    assert workflow["checksum"] is None
    assert workflow["definition"].startswith("run:\n")
    action = api.get("/v2/actions/box.shout/n").json
    assert (action["input"], action["namespace"]) == ("text", "n")
    assert (
        api.get("/v2/workbooks/box/n").json
        == api.get("/v2/workbooks/box?namespace=n").json
    )


def test_lang026_workbook_without_members(api: Any) -> None:
    assert api.post("/v2/workbooks", "version: '2.0'\nname: empty\n").status == 201


def names(api: Any) -> list[str]:
    """Of all members that there are."""
    actions = api.get("/v2/actions?is_system=false").json["actions"]
    workflows = api.get("/v2/workflows").json["workflows"]
    return sorted(row["name"] for row in (*workflows, *actions))


def test_lint_34_fires_for_members_that_left_the_text(api: Any) -> None:
    """LANG-027, Q-39: they stay, and the answer names them."""
    api.post("/v2/workbooks", WORKBOOK.format("box"))
    answer = api.put("/v2/workbooks", OTHER)
    assert answer.status == 200
    left = answer.json["left_behind"]
    assert [(one["kind"], one["name"]) for one in left] == [
        ("workflow", "box.run"), ("action", "box.shout"),
    ]  # fmt: skip
    assert left[0]["id"] == api.get("/v2/workflows/box.run").json["id"]
    assert names(api) == ["box.other", "box.run", "box.shout"]


def test_lint_34_fires_when_a_workbook_comes_back(api: Any) -> None:
    """Q-39: members outlive their workbook, too."""
    api.post("/v2/workbooks", WORKBOOK.format("box"))
    assert api.delete("/v2/workbooks/box").status == 204
    assert names(api) == ["box.run", "box.shout"]
    left = api.post("/v2/workbooks", OTHER).json["left_behind"]
    assert [one["name"] for one in left] == ["box.run", "box.shout"]


def test_lint_34_is_silent_on_what_belongs_to_others(projects: Any) -> None:
    """Members that the text has, other workbooks, namespaces and projects."""
    red, blue = projects.be("red"), projects.be("blue")
    blue.post("/v2/workbooks", WORKBOOK.format("box"))
    red.post("/v2/workbooks?namespace=n", WORKBOOK.format("box"))
    red.post("/v2/workbooks", WORKBOOK.format("boxes"))
    red.post("/v2/workbooks", WORKBOOK.format("box"))
    answer = red.put("/v2/workbooks?prune=true", WORKBOOK.format("box"))
    assert answer.status == 200
    assert not {"left_behind", "pruned"} & set(answer.json)
    assert names(blue) == ["box.run", "box.shout"]
    assert red.get("/v2/workflows/box.run?namespace=n").status == 200


def test_lint_34_prune_deletes_members_that_left(api: Any) -> None:
    api.post("/v2/workbooks", WORKBOOK.format("box"))
    answer = api.put("/v2/workbooks?prune=true", OTHER)
    assert [one["name"] for one in answer.json["pruned"]] == ["box.run", "box.shout"]
    assert "left_behind" not in answer.json
    assert names(api) == ["box.other"]
    assert api.put("/v2/workbooks?prune=perhaps", OTHER).status == 400


def test_lint_34_prune_changes_nothing_where_a_trigger_needs_a_member(
    api: Any,
) -> None:
    api.post("/v2/workbooks", WORKBOOK.format("box"))
    trigger = {"name": "c", "pattern": "1 1 1 1 *", "workflow_name": "box.run"}
    assert api.post("/v2/cron_triggers", trigger).status == 201
    refused = api.put("/v2/workbooks?prune=true", OTHER)
    assert refused.status == 400
    assert "cron triggers associated" in refused.fault
    assert names(api) == ["box.run", "box.shout"]
    assert api.get("/v2/workbooks/box").json["definition"] == WORKBOOK.format("box")


def test_q39_a_deletion_may_take_the_members_along(api: Any) -> None:
    api.post("/v2/workbooks", WORKBOOK.format("box"))
    api.post("/v2/workbooks", WORKBOOK.format("boxes"))
    assert api.delete("/v2/workbooks/box?cascade=true").status == 204
    assert names(api) == ["boxes.run", "boxes.shout"]


def test_q39_cascade_only_when_nothing_is_under_way(api: Any, database: Any) -> None:
    """409, and nothing is gone; another namespace is not touched."""
    api.post("/v2/workbooks?namespace=n", WORKBOOK.format("box"))
    api.post("/v2/workbooks", WORKBOOK.format("box"))
    found = api.get("/v2/workflows?namespace=n").json["workflows"]
    (workflow_id,) = (each["id"] for each in found)
    rows = Rows(database)
    rows.run(uid(1), workflow_id=workflow_id, state="PAUSED")
    path = "/v2/workbooks/box/n?cascade=true"
    refused = api.delete(path)
    assert refused.status == 409
    assert uid(1) in refused.fault
    trigger = {"name": "t", "workflow_id": workflow_id, "pattern": "0 0 * * *"}
    assert api.post("/v2/cron_triggers", trigger).status == 201
    rows.change(models.workflow_executions, uid(1), state="SUCCESS")
    assert api.delete(path).status == 400, "a trigger starts it"
    assert api.get("/v2/workbooks/box/n").status == 200
    assert api.get("/v2/workflows/box.run?namespace=n").status == 200
    assert api.delete("/v2/cron_triggers/t").status == 204
    assert api.delete(path).status == 204
    for gone in ("workbooks/box/n", "workflows/box.run?namespace=n"):
        assert api.get(f"/v2/{gone}").status == 404
    left = api.get("/v2/actions?is_system=false&namespace=has:").json["actions"]
    assert [(a["name"], a["namespace"]) for a in left] == [("box.shout", "")]
    assert api.get("/v2/workflows/box.run").status == 200
