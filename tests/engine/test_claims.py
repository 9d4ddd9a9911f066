"""Claims are decided on the row of the action, beside turns and beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cells import CELLS, SERVERS, Cell
from house import CALLER, House

from mistral.db import bulk, models
from mistral.errors import BadRequest
from mistral.messages import (
    Batch,
    CallAction,
    ClaimAction,
    NobodyCame,
    StopWorkflow,
    encode,
)

WORKFLOWS = """
version: '2.0'
many:
  tasks: {t: {with-items: "i in <% range(20) %>", action: std.sleep seconds=0}}
"""


@pytest.fixture(params=CELLS)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    cell: Cell = request.param
    with cell.world(House, tmp_path) as house:
        house.upload(WORKFLOWS)
        yield house


def offers(house: House) -> tuple[str, list[CallAction]]:
    run_id = house.start("many")
    house.engine.deliver.offers.send_waiting()
    calls = list(house.post.offers)
    house.post.offers.clear()
    assert len(calls) == 20
    return run_id, calls


def claim(call: CallAction, token: str, **more: Any) -> ClaimAction:
    values = {"action_id": call.action_id, "attempt": call.attempt, **more}
    return ClaimAction(token=token, executor_id="executor-1", **values)


def ask(house: House, *claims: ClaimAction) -> list[bool | None]:
    answer: list[bool | None] = house.call(Batch(events=tuple(map(encode, claims))))
    return answer


def test_each_of_a_batch_is_answered_for_itself(house: House) -> None:
    _, (first, second, third, *_rest) = offers(house)
    assert ask(
        house,
        claim(first, "a"),
        claim(first, "b"),
        claim(first, "a"),
        claim(second, "c", attempt=2),
        claim(third, "d", action_id="nobody"),
        claim(third, "e"),
    ) == [True, False, True, False, False, True]
    left = {row["action_id"] for row in house.rows(models.outbox)}
    assert first.action_id not in left
    assert second.action_id in left
    [row] = house.rows(models.action_executions, id=first.action_id)
    assert (row["started_by"], row["executor_id"]) == ("a", "executor-1")
    assert row["started_at"] is not None
    assert [each["id"] for each in house.rows(models.executors)] == ["executor-1"]
    assert house.examined() == []


def test_of_all_that_ask_at_once_one_begins_each(house: House) -> None:
    """ENG-236: many executors, many threads, more questions than actions."""
    _, calls = offers(house)

    def asks(name: int) -> list[bool | None]:
        mine = calls if name % 2 else calls[::-1]
        yes = ask(
            house, *(claim(call, f"{name}-{call.action_id[:8]}") for call in mine)
        )
        return yes if name % 2 else yes[::-1]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(asks, range(8)))
    assert all(sum(map(bool, each)) <= 1 for each in zip(*found, strict=True))
    asks(8)
    actions = house.rows(models.action_executions)
    assert all(row["started_by"] for row in actions)
    begun = {row["started_by"] for row in actions}
    told = {
        f"{name}-{call.action_id[:8]}"
        for name, answers in enumerate(found)
        for call, yes in zip(calls, answers, strict=True)
        if yes
    }
    assert told <= begun
    assert house.rows(models.outbox) == []


@pytest.mark.parametrize("house", SERVERS, indirect=True)
def test_a_claim_does_not_wait_for_the_header(house: House) -> None:
    """A turn that is stopped in its midst holds up nobody who asks."""
    run_id, (call, *_rest) = offers(house)
    table = models.workflow_executions
    with house.database.begin() as other:
        other.execute(table.select().where(table.c.id == run_id).with_for_update())
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(ask, house, claim(call, "a")).result(timeout=20) == [
                True
            ]


@pytest.mark.parametrize("house", SERVERS, indirect=True)
def test_what_somebody_holds_is_not_known_yet_and_blocks_nobody(house: House) -> None:
    _, (first, second, *_rest) = offers(house)
    with house.database.begin() as other:
        bulk.lock(other, models.action_executions, [first.action_id], ("id",))
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ask, house, claim(first, "a"), claim(second, "b"))
            assert answer.result(timeout=20) == [None, True]
    assert ask(house, claim(first, "a"), claim(second, "b")) == [True, True]


@pytest.mark.parametrize("claimed", [True, False])
def test_nobody_came_is_said_only_while_nobody_has(house: House, claimed: bool) -> None:
    run_id, (call, *_rest) = offers(house)
    if claimed:
        assert ask(house, claim(call, "a")) == [True]
    house.put(NobodyCame(run_id=run_id, action_id=call.action_id))
    house.turn()
    assert ask(house, claim(call, "a")) == [claimed]


def test_what_is_over_is_not_begun(house: House) -> None:
    run_id, (call, *_rest) = offers(house)
    house.ask(
        StopWorkflow(
            run_id=run_id,
            state="CANCELLED",
            request_id="r",
            context=CALLER.to_dict(),
        )
    )
    before = ask(house, claim(call, "a"))
    house.put(NobodyCame(run_id=run_id, action_id=call.action_id))
    house.turn()
    if not before[0]:
        assert ask(house, claim(call, "a")) == [False]
    assert house.examined() == []


def test_one_that_cannot_be_decided_is_a_no_and_blocks_nobody(house: House) -> None:
    _, (first, second, third, *_rest) = offers(house)
    wrong: Any = {"a token": "is a text"}
    assert ask(house, claim(first, "a"), claim(second, wrong), claim(third, "c")) == [
        True,
        False,
        True,
    ]
    assert ask(house, claim(second, "b")) == [True]


def test_a_batch_of_questions_holds_claims_only(house: House) -> None:
    with pytest.raises(BadRequest, match="A batch holds claims, not a NobodyCame"):
        house.call(Batch(events=(encode(NobodyCame(action_id="a")),)))
