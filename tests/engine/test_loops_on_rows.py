"""Joins on loops and mended branches, on the rows of a real database."""

from __future__ import annotations

from pathlib import Path

from house import House

from mistral.db import models
from mistral.engine.core.ports import Rules
from mistral.messages import SkipTask

LOOP = """version: '2.0'
w:
  output: {n: <% $.n %>, r: <% task(j).result %>}
  tasks:
    s: {publish: {n: 0}, on-success: [a, k]}
    k: {join: one, on-success: j}
    a: {on-success: j}
    j:
      join: all
      action: std.echo output=<% $.n %>
      publish: {n: <% $.n + 1 %>}
      on-success: [{k: "<% $.n < 4 %>"}, {a: "<% $.n < 4 %>"}]
"""


def test_eng_096_097_a_loop_through_joins_is_kept_in_rows(tmp_path: Path) -> None:
    for inline in (True, False):
        directory = tmp_path / str(inline)
        directory.mkdir()
        house = House(directory, rules=Rules(inline_actions=inline))
        house.upload(LOOP)
        row = house.run("w")
        assert (row["state"], row["output"]) == ("SUCCESS", {"n": 4, "r": 3})
        [join] = house.rows(models.task_executions, name="j")
        actions = house.rows(models.action_executions, task_execution_id=join["id"])
        assert sorted(a["accepted"] for a in actions) == [False, False, False, True]
        house.close()


def test_eng_093_a_skipped_inbound_task_counts_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.upload(
        """version: '2.0'
w:
  tasks:
    a: {action: std.fail, publish-on-skip: {v: 7}, on-success: j}
    b: {on-success: j}
    j: {join: all, publish: {seen: <% $.v %>}}
"""
    )
    row = house.run("w")
    assert row["state"] == "ERROR"
    [task] = house.rows(models.task_executions, name="a")
    skip = SkipTask(
        run_id=row["id"], task_id=task["id"], request_id="q",
        context={"project_id": row["project_id"]},
    )  # fmt: skip
    house.ask(skip)
    house.settle()
    assert house.header(row["id"])["state"] == "SUCCESS"
    [join] = house.rows(models.task_executions, name="j")
    assert join["published"] == {"seen": 7}
    house.close()
