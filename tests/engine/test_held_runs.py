"""What somebody holds for long, as an engine that is stopped in mid turn does, holds up
nothing else (DESIGN § 3, one lock)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cells import SERVERS, Cell
from house import House

from mistral.db import bulk, models, rows
from mistral.engine.apart import LOCK_SECONDS, UNWAITED_SECONDS
from mistral.messages import ActionFinished, Batch, encode

WORKFLOW = """
version: '2.0'
w:
  tasks:
    a: {action: std.sleep seconds=1, on-success: b}
    b: {action: std.sleep seconds=1}
"""


@pytest.fixture(params=SERVERS)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    cell: Cell = request.param
    with cell.world(House, tmp_path) as house:
        house.upload(WORKFLOW)
        house.hold.add("std.sleep")
        yield house
        house.engine.loop._own.close()
        house.engine.claims.close()


def _finish(house: House, ids: list[str]) -> None:
    calls = {call.run_id: call for call in house.running}
    for id in ids:
        house.put(ActionFinished(run_id=id, action_id=calls[id].action_id, result=1))


def test_eng_242_a_run_that_is_held_for_long_holds_up_no_other(house: House) -> None:
    """The deciding thread waits for its lock for a moment, and then looks again from
    time to time; what comes for the run meanwhile keeps its order."""
    ids = [house.start("w") for _ in range(4)]
    house.settle()
    held, free = ids[:2], ids[2:]
    with house.database.begin() as stopped:
        rows.lock_headers(stopped, held, skip_locked=False)
        _finish(house, ids)
        house.settle()
        for id in free:
            assert house.tasks(id) == {"a": "SUCCESS", "b": "RUNNING"}
        _finish(house, [held[0]])
        house.advance(LOCK_SECONDS)
        house.advance(UNWAITED_SECONDS)
        for id in held:
            assert house.tasks(id) == {"a": "RUNNING"}
    house.advance(LOCK_SECONDS)
    for id in held:
        assert house.tasks(id) == {"a": "SUCCESS", "b": "RUNNING"}
    assert house.examined() == []


@pytest.mark.parametrize("table", ["executors", "outbox"])
def test_other_rows_that_are_held_hold_up_only_who_needs_them(
    house: House, table: str
) -> None:
    """A sweep or a heartbeat of an engine that is stopped."""
    done = house.start("w")
    house.settle()
    asked = house.start("w")
    house.engine.deliver.offers.send_waiting()
    offer = house.post.offers.popleft()
    house.clock.advance(3600)  # the sign of the executor is old
    held = models.metadata.tables[table]
    with house.database.begin() as stopped:
        ids = [row["id"] for row in house.rows(held)]
        assert len(bulk.lock(stopped, held, ids, ("id",))) == 1
        claim = house.claim_of(offer)
        assert house.call(Batch(events=(encode(claim),))) == [None]
        _finish(house, [done])
        house.turn()
        assert house.tasks(done) == {"a": "SUCCESS", "b": "RUNNING"}
    house.advance(LOCK_SECONDS)
    assert house.call(Batch(events=(encode(claim),))) == [True]
    assert house.header(asked)["state"] == "RUNNING"


def test_an_engine_that_stops_gives_back_what_is_apart(house: House) -> None:
    id = house.start("w")
    house.settle()
    loop = house.engine.loop
    with house.database.begin() as stopped:
        rows.lock_headers(stopped, [id], skip_locked=False)
        [call] = house.running
        result = ActionFinished(run_id=id, action_id=call.action_id, result=1)
        answer = house.put(result)
        house.settle()
        assert not answer.done()
        loop.start()
        loop.stop()
    assert "stopping" in str(answer.exception(timeout=0))
