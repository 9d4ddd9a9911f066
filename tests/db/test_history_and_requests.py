"""What is remembered: handled events per run, answers per request."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from mistral.db import direct, history, requests
from mistral.db.database import Database
from mistral.errors import Unavailable


def handled_event(run_id: str, seq: int, at: datetime) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "seq": seq,
        "at": at,
        "turn_id": f"turn {seq}",
        "kind": "Woke",
        "body": {"seq": seq},
    }


def _answers(connection: Connection, ids: list[str]) -> dict[str, Any]:
    asked = requests.to_find(connection, ids)
    (found,) = direct.fetch_together(connection, [asked])
    return requests.answers_in(found)


def test_history_is_read_page_by_page(database: Database, noon: datetime) -> None:
    with database.begin() as connection:
        given = [handled_event("r", seq, noon) for seq in (2, 0, 1)]
        history.append(connection, [*given, handled_event("other", 0, noon)])
    with database.read() as connection:
        first = history.page(connection, "r", -1, 2)
        second = history.page(connection, "r", first[-1]["seq"], 2)
        assert history.page(connection, "gone", -1, 2) == []
    assert [row["body"] for row in first] == [{"seq": 0}, {"seq": 1}]
    assert [row["seq"] for row in second] == [2]


def test_a_turn_that_committed_can_be_seen(database: Database, noon: datetime) -> None:
    with database.begin() as connection:
        history.append(connection, [handled_event("r", 0, noon)])
    with database.read() as connection:
        assert history.turn_is_there(connection, "turn 0")
        assert not history.turn_is_there(connection, "turn 1")


def test_answers_are_found_by_request(database: Database, noon: datetime) -> None:
    with database.begin() as connection:
        answers = [
            {"request_id": "a", "answer": {"id": "r"}, "at": noon},
            {"request_id": "b", "answer": [1], "at": noon},
        ]
        requests.keep(connection, answers)
    with database.read() as connection:
        found = _answers(connection, ["a", "b", "c"])
    assert found == {"a": {"id": "r"}, "b": [1]}


def test_two_answers_to_one_request_cannot_be_kept(
    database: Database, noon: datetime
) -> None:
    """ENG-236: the second turn is run again and finds the first's answer."""
    answer = {"request_id": "a", "answer": {"id": "r"}, "at": noon}
    with database.begin() as connection:
        requests.keep(connection, [answer])
    with pytest.raises(Unavailable) as caught, database.begin() as connection:
        requests.keep(connection, [answer | {"answer": {"id": "other"}}])
    assert database.is_retryable(caught.value)
    with database.read() as connection:
        assert _answers(connection, ["a"]) == {"a": {"id": "r"}}


def test_an_answer_that_is_none_is_a_fault_and_not_a_repeat(
    database: Database, noon: datetime
) -> None:
    with pytest.raises(IntegrityError), database.begin() as connection:
        requests.keep(connection, [{"request_id": "a", "answer": None, "at": noon}])


def test_old_answers_are_forgotten(database: Database, noon: datetime) -> None:
    with database.begin() as connection:
        hours = range(3)
        answers = [
            {"request_id": str(n), "answer": n, "at": noon + timedelta(hours=n)}
            for n in hours
        ]
        requests.keep(connection, answers)
        assert requests.expire(connection, noon + timedelta(hours=2)) == 2
        assert _answers(connection, ["0", "1", "2"]) == {"2": 2}
