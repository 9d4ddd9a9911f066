"""Tags as filters, on every kind of database: what is found, and by which index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import pytest
from fakes import FakeClock
from rest import Client
from rows import Rows, uid
from sqlalchemy import URL, select, text

from mistral.db import models, tags
from mistral.db.database import Database

KINDS: Final = ("executions", "tasks", "action_executions")


@pytest.fixture
def database(empty_url: URL, clock: FakeClock) -> Iterator[Database]:
    database = Database(empty_url, clock=clock)
    database.create_or_upgrade()
    yield database
    database.dispose()


TAGS = ("a", "a,b", 'say "a"', "[a]", "é", "x" * 2500, "back\\slash", "A")


def test_q21_tags_are_found_whatever_is_in_them(api: Client, database: Any) -> None:
    """Also beside others, in lists that are too long for an index, and in none."""
    rows = Rows(database)
    lists: list[Any] = [[tag] for tag in TAGS]
    lists += [["first", tag, "last"] for tag in TAGS]
    lists += [[], None, ["first", "last"]]
    for number, carried in enumerate(lists):
        run, task, action = (uid(number * 10 + i) for i in (1, 2, 3))
        rows.run(run, tags=carried)
        rows.task(task, run, tags=carried)
        rows.action(action, task, tags=carried)

    def found(query: str) -> list[int]:
        by_kind = []
        for kind in KINDS:
            answer = api.get(f"/v2/{kind}?sort_keys=created_at&{query}")
            assert answer.status == 200, answer.body
            by_kind.append([int(each["id"][-12:]) // 10 for each in answer.json[kind]])
        assert by_kind[0] == by_kind[1] == by_kind[2]
        return by_kind[0]

    last = len(TAGS)
    for number, tag in enumerate(TAGS):
        if "," in tag:
            continue  # it cannot be asked for: items are separated so
        asked = quote(tag)
        both = [number, last + number]
        assert found(f"tags={asked}") == both, tag
        assert found(f"tags=in:{asked},absent") == both, tag
        assert found(f"tags={asked},last") == [last + number], tag
        assert not set(found(f"tags=nin:{asked}")) & set(both)
        assert len(found(f"tags=nin:{asked}")) == len(lists) - 3, "null is neither"
    assert found("tags=absent") == found("tags=b") == found("tags=first,absent") == []


def test_tags_are_looked_up_by_an_index(database: Any) -> None:
    """On PostgreSQL, in one look at a few rows; others look through the rows."""
    wanted = select(models.task_executions.c.id).where(
        tags.carries(models.task_executions.c.tags, "it's, \\ %(a)s: é")
    )
    if database.engine.dialect.name != "postgresql":
        assert "1 = 1" in str(wanted.compile(database.engine))
        return
    with database.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        compiled = wanted.compile(database.engine)
        plan = connection.exec_driver_sql(f"EXPLAIN {compiled}", compiled.params)
        lines = [line.strip() for line in plan.scalars()]
    assert any("ix_task_executions_tags" in line for line in lines)
    [condition] = [line for line in lines if line.startswith("Index Cond:")]
    assert "@>" in condition
