"""Names that no database can be asked for; they come out of expressions, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mistral.actions.registry import Registry
from mistral.config import DynamicActionSettings, Settings
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
