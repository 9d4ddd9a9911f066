"""Names that no database can be asked for (they come out of expressions, too), and
names that differ in a blank at their end alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from generated_rows import GeneratedRows
from house import House
from sqlalchemy import URL

from mistral.actions.registry import Registry
from mistral.config import DynamicActionSettings, Settings
from mistral.db import models
from mistral.db.database import Database
from mistral.engine.facts import Sources, SqlFacts
from mistral.expressions.evaluate import Evaluator

ASKED: dict[str, Callable[[SqlFacts, str], Any]] = {
    "workflow": lambda facts, name: facts.workflow(None, name, "", "p"),
    "workflow in a namespace": lambda facts, name: facts.workflow(None, "w", name, "p"),
    "workflow by id": lambda facts, name: facts.workflow(name, None, "", "p"),
    "ad-hoc action": lambda facts, name: facts.adhoc(name, "", "p"),
    "action": lambda facts, name: facts.action(name, "", "p"),
    "action in a namespace": lambda facts, name: facts.action("a", name, "p"),
    "environment": lambda facts, name: facts.environment(name, "p"),
    "execution": lambda facts, name: facts.header(name),
    "tasks of an execution": lambda facts, name: facts.tasks(name),
    "tasks by name": lambda facts, name: facts.tasks("r", names=[name], latest=True),
    "open sub-workflows": lambda facts, name: facts.open_children(name),
    "executions": lambda facts, name: facts.executions("p", 9, state=name),
}


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"], ids=["nul", "surrogate"])
@pytest.mark.parametrize("asked", ASKED)
def test_names_that_nobody_can_ask_for_find_nothing(
    database: Database, asked: str, name: str
) -> None:
    """LANG § 28.1: unknown like any other; an error would break the turn, and the
    run with it, as often as it is tried."""
    registry = Registry(Settings(dynamic_actions=DynamicActionSettings(enabled=True)))
    sources = Sources(Evaluator(), registry, lambda: "id")
    with database.begin() as connection:
        assert not ASKED[asked](SqlFacts(connection, sources), name)


PAIR = """
version: '2.0'
pair:
  output: {x: <% $.x %>, y: <% $.y %>, blank: "<% task('a ').published.y %>"}
  tasks:
    "a": {action: std.sleep, publish: {x: 1}, on-success: j}
    "a ": {action: std.sleep, publish: {y: 2}, on-success: j}
    "b": {action: std.sleep, on-success: j}
    j: {join: all}
"""


def test_lang_034_tasks_whose_names_differ_in_a_blank_are_two(
    empty_url: URL, tmp_path: Path
) -> None:
    """LANG § 2: any characters, on every database."""
    house = House(tmp_path, url=empty_url.render_as_string(hide_password=False))
    house.upload(PAIR)
    house.hold.add("std.sleep")
    id = house.start("pair")
    house.settle()
    for call in house.running:
        house.finish(call)
        house.settle()
    header = house.header(id)
    assert header["state"] == "SUCCESS", header["state_info"]
    assert header["output"] == {"x": 1, "y": 2, "blank": 2}
    assert house.rows(models.poison) == []
    house.close()


def test_names_are_found_with_their_blanks(database: Database) -> None:
    registry = Registry(Settings())
    sources = Sources(Evaluator(), registry, lambda: "id")
    rows = GeneratedRows(1)
    with database.begin() as connection:
        table = models.environments
        for number, name in enumerate(("e", "e ", " e")):
            same = {"name": name, "project_id": "p", "variables": {"n": number}}
            rows.put(connection, table, 1, **same)
        facts = SqlFacts(connection, sources)
        found = [facts.environment(name, "p") for name in ("e", "e ", " e")]
        assert [row["variables"]["n"] for row in found] == [0, 1, 2]
        assert facts.environment("e  ", "p") is None
