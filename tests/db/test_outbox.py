"""Effects are rows: leased by one, consumed once, never lost (DESIGN § 3)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from mistral.db import outbox
from mistral.db.database import Database
from mistral.db.models import outbox as table

Rows = Callable[..., dict[str, Any]]

BOTH = pytest.mark.parametrize(
    ("kind", "isolation"),
    [
        pytest.param(kind, isolation, marks=pytest.mark.services)
        for kind in ("postgresql", "mariadb")
        for isolation in ("READ COMMITTED", "REPEATABLE READ")
    ],
)


def ids_of(rows: Any) -> list[str]:
    return [row["id"] for row in rows]


def test_due_rows_come_oldest_first_and_up_to_a_limit(
    database: Database, outbox_row: Rows, noon: datetime
) -> None:
    with database.begin() as connection:
        given = [
            outbox_row("late", due_at=noon - timedelta(seconds=1)),
            outbox_row("later", due_at=noon),
            outbox_row("latest", due_at=noon),
            outbox_row("early", due_at=noon - timedelta(hours=1)),
            outbox_row("not yet", due_at=noon + timedelta(microseconds=1)),
        ]
        outbox.add(connection, given)
    with database.begin() as connection:
        first = outbox.claim_due(connection, noon, "one", 10, 3)
        rest = outbox.claim_due(connection, noon, "one", 10, 3)
    assert ids_of(first) == ["early", "late", "later"]
    assert ids_of(rest) == ["latest"]
    assert first[0]["payload"] == {"n": "early"}


def test_a_lease_keeps_others_away_until_it_ends(
    database: Database, outbox_row: Rows, noon: datetime
) -> None:
    """ENG-235: a dead engine's rows are taken over when its lease has ended."""
    with database.begin() as connection:
        outbox.add(connection, [outbox_row("a")])
    with database.begin() as connection:
        assert ids_of(outbox.claim_due(connection, noon, "one", 10, 9)) == ["a"]
    soon, later = noon + timedelta(seconds=9), noon + timedelta(seconds=10)
    with database.begin() as connection:
        assert outbox.claim_due(connection, soon, "two", 10, 9) == []
        assert ids_of(outbox.claim_due(connection, later, "two", 10, 9)) == ["a"]
        row = connection.execute(select(table)).mappings().one()
    assert row["lease_owner"] == "two"
    assert row["lease_until"] == later + timedelta(seconds=10)


def test_a_row_that_was_consumed_is_not_there_to_be_locked(
    database: Database, outbox_row: Rows
) -> None:
    """ENG-236, ENG-240."""
    with database.begin() as connection:
        outbox.add(connection, [outbox_row(id) for id in "abc"])
        assert outbox.lock(connection, ["a", "b", "gone"]) == {"a", "b"}
        assert outbox.remove(connection, ["a", "gone"]) == 1
    with database.begin() as connection:
        assert outbox.lock(connection, ["c", "b", "a"]) == {"b", "c"}


def test_an_offer_is_sent_again_ever_later(
    database: Database, outbox_row: Rows, noon: datetime
) -> None:
    """ENG-237: 8 s after each of the first sends, then doubling, at most 10 min."""
    with database.begin() as connection:
        outbox.add(connection, [outbox_row("a")])
    now, waits = noon, []
    for _ in range(11):
        with database.begin() as connection:
            claimed = outbox.claim_due(connection, now, "one", 10, 9)
            assert ids_of(claimed) == ["a"]
            outbox.resend_later(connection, claimed, now)
        with database.begin() as connection:
            row = connection.execute(select(table)).mappings().one()
        assert row["lease_owner"] == "one" and row["lease_until"] is None
        waits.append((row["due_at"] - now).total_seconds())
        now = row["due_at"]
    assert waits == [8, 8, 8, 16, 32, 64, 128, 256, 512, 600, 600]


def test_what_one_process_offers_is_due_at_once_when_the_broker_is_back(
    database: Database, outbox_row: Rows, noon: datetime
) -> None:
    """DESIGN § 6: sent or not; timers and the rows of others keep their dates."""
    theirs = {"lease_owner": "two", "lease_until": noon + timedelta(seconds=10)}
    with database.begin() as connection:
        mine = [outbox_row("sent"), outbox_row("not"), outbox_row("timer", kind="Woke")]
        outbox.add(connection, [*mine, outbox_row("theirs", **theirs)])
        claimed = outbox.claim_due(connection, noon, "one", 10, 9)
        sent = [row for row in claimed if row["id"] == "sent"]
        outbox.resend_later(connection, sent, noon)
    soon = noon + timedelta(seconds=1)
    with database.begin() as connection:
        assert outbox.claim_due(connection, soon, "one", 10, 9) == []
        assert outbox.resend_now(connection, "one", soon) == 2
        claimed = outbox.claim_due(connection, soon, "one", 10, 9)
    assert sorted(ids_of(claimed)) == ["not", "sent"]


def test_an_offer_that_was_claimed_meanwhile_is_not_sent_again(
    database: Database, outbox_row: Rows, noon: datetime
) -> None:
    with database.begin() as connection:
        outbox.add(connection, [outbox_row("a"), outbox_row("b")])
        sent = outbox.claim_due(connection, noon, "one", 10, 9)
        outbox.remove(connection, ["a"])
    with database.begin() as connection:
        outbox.resend_later(connection, sent, noon)
        assert connection.scalars(select(table.c.id)).all() == ["b"]


def test_the_offers_of_actions_are_removed(
    database: Database, outbox_row: Rows
) -> None:
    with database.begin() as connection:
        given = [
            outbox_row("1", action_id="a"),
            outbox_row("2", action_id="b"),
            outbox_row("3", action_id="a", kind="Notify"),
            outbox_row("4"),
        ]
        outbox.add(connection, given)
        assert outbox.remove_offers(connection, []) == 0
        assert outbox.remove_offers(connection, ["a", "gone"]) == 1
        left = connection.scalars(select(table.c.id).order_by(table.c.id)).all()
        assert left == ["2", "3", "4"]


@BOTH
def test_two_engines_never_hold_the_same_row(
    open_database: Callable[..., Database],
    outbox_row: Rows,
    noon: datetime,
    kind: str,
    isolation: str,
) -> None:
    database = open_database(kind, isolation=isolation)
    ids = {f"{number:03}" for number in range(200)}
    with database.begin() as connection:
        outbox.add(connection, [outbox_row(id) for id in ids])
    start = threading.Barrier(4)

    def engine(name: str) -> list[str]:
        mine: list[str] = []
        start.wait(30)
        while True:
            try:
                with database.begin() as connection:
                    claimed = outbox.claim_due(connection, noon, name, 3600, 7)
            except Exception as error:
                if not database.is_retryable(error):
                    raise
                continue
            if not claimed:
                return mine
            mine.extend(ids_of(claimed))

    with ThreadPoolExecutor(4) as pool:
        shares = [pool.submit(engine, f"engine {n}") for n in range(4)]
        taken = Counter(id for share in shares for id in share.result(60))
    # Whoever found all the rest locked left; what it left is taken now.
    with database.begin() as connection:
        taken.update(ids_of(outbox.claim_due(connection, noon, "last", 3600, 200)))
    assert taken == Counter(ids)


@BOTH
def test_claiming_passes_over_what_another_is_claiming(
    open_database: Callable[..., Database],
    outbox_row: Rows,
    noon: datetime,
    kind: str,
    isolation: str,
) -> None:
    database = open_database(kind, isolation=isolation)
    with database.begin() as connection:
        outbox.add(connection, [outbox_row(id) for id in "abcd"])
    with database.begin() as one, database.begin() as two:
        first = ids_of(outbox.claim_due(one, noon, "one", 10, 2))
        second = ids_of(outbox.claim_due(two, noon, "two", 10, 9))
    assert first == ["a", "b"]
    assert second == ["c", "d"]


@BOTH
def test_an_event_is_consumed_once_however_many_hear_it(
    open_database: Callable[..., Database],
    outbox_row: Rows,
    kind: str,
    isolation: str,
) -> None:
    """ENG-240: of the engines that hear the same timer one finds its row."""
    database = open_database(kind, isolation=isolation)
    events = [f"e{number}" for number in range(20)]
    with database.begin() as connection:
        outbox.add(connection, [outbox_row(id) for id in events])
    start = threading.Barrier(4)

    def turns(order: list[str]) -> list[str]:
        acted: list[str] = []
        start.wait(30)
        for at in range(0, len(order), 5):
            batch = order[at : at + 5]
            while True:
                try:
                    with database.begin() as connection:
                        there = outbox.lock(connection, batch)
                        outbox.remove(connection, there)
                except Exception as error:
                    if not database.is_retryable(error):
                        raise
                    continue
                acted.extend(there)
                break
        return acted

    orders = [events, events[::-1], events[7:] + events[:7], events[::2] + events[1::2]]
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(turns, order) for order in orders]
        acted = Counter(id for share in done for id in share.result(60))
    assert acted == Counter(events)


@BOTH
def test_sending_again_does_not_wait_for_a_claim(
    open_database: Callable[..., Database],
    outbox_row: Rows,
    noon: datetime,
    kind: str,
    isolation: str,
) -> None:
    database = open_database(kind, isolation=isolation)
    given = [outbox_row("a", attempts=0), outbox_row("b", attempts=0)]
    with database.begin() as connection:
        outbox.add(connection, given)
    with database.begin() as claim, database.begin() as sender:
        assert outbox.lock(claim, ["a"]) == {"a"}
        outbox.resend_later(sender, given, noon)
    with database.read() as connection:
        rows = connection.execute(select(table).order_by(table.c.id)).mappings().all()
    assert [row["attempts"] for row in rows] == [0, 1]
