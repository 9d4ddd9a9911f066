"""The engine's look-ups find the same rows on every database."""

from __future__ import annotations

from typing import Any

import pytest
from rows import Rows, uid

from mistral.db import conditions
from mistral.db.database import Database
from mistral.db.models import join_arrivals, task_executions

RUN, OTHER = uid(1), uid(2)
TASKS = [
    (RUN, "a", "ERROR"), (RUN, "a", "SUCCESS"), (RUN, "A", "SUCCESS"),
    (RUN, "a b%s", "RUNNING"), (OTHER, "a", "SUCCESS"), (RUN, "b", "ERROR"),
    (RUN, "b", "SUCCESS"), (RUN, "c", "ERROR"),
]  # fmt: skip


@pytest.fixture
def rows(database: Database) -> Rows:
    rows = Rows(database)
    for id in (RUN, OTHER):
        rows.run(id)
    for number, (run_id, name, state) in enumerate(TASKS):
        rows.task(
            uid(100 + number), run_id, seq=number, name=name, state=state,
            processed=state == "SUCCESS",
        )  # fmt: skip
    return rows


SEQS = [
    ({}, [0, 1, 2, 3, 5, 6, 7]),
    ({"among": {"name": ["a", "b"]}}, [0, 1, 5, 6]),
    ({"among": {"name": ["a"], "state": ["ERROR", "IDLE"]}}, [0]),
    ({"among": {"name": None, "state": ["RUNNING"]}}, [3]),
    ({"among": {"name": []}}, []),
    ({"flags": {"processed": True}}, [1, 2, 6]),
    ({"flags": {"processed": False, "has_next_tasks": None}}, [0, 3, 5, 7]),
    ({"between": {"seq": (2, 6)}}, [2, 3, 5]),
    ({"among": {"name": ["b", "a", "x"]}, "newest_of": "name"}, [1, 6]),
    ({"among": {"name": ["a b%s"]}, "newest_of": "name"}, [3]),
    (
        {"among": {"name": ["a", "c"], "state": ["ERROR"]}, "newest_of": "name"},
        [7],
    ),
]


@pytest.mark.parametrize(("asked", "expected"), SEQS, ids=range(len(SEQS)))
def test_rows_are_found_by_their_columns(
    asked: dict[str, Any], expected: list[int], rows: Rows, database: Database
) -> None:
    equal = {"workflow_execution_id": RUN}
    for connecting in (database.begin, database.read):
        with connecting() as connection:
            found = conditions.fetch(
                connection, task_executions, equal=equal, order=("seq",), **asked
            )
        assert [row["seq"] for row in found] == expected
        assert all(row["internals"] == {} for row in found)


def test_nothing_is_asked_that_is_not_there(database: Database) -> None:
    with database.read() as connection:
        asked = {"equal": {"join_id": RUN}, "between": {"round": (1, 2)}}
        assert not conditions.fetch(
            connection, join_arrivals, order=("inbound",), **asked
        )
