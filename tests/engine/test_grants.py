"""Who hands in a result gets what follows from it, in the same turn (decision 0048)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cells import CELLS, Cell
from house import CALLER, House

from mistral.db import models
from mistral.engine.grants import FRESH_SECONDS
from mistral.errors import BadRequest, Unavailable
from mistral.messages import (
    ActionFinished,
    ActionTurnedAsync,
    Batch,
    CallAction,
    ClaimAction,
    DeleteWorkflow,
    HandIn,
    Heartbeat,
    decode,
    encode,
)

ME = "executor-1"
WORKFLOWS = """
version: '2.0'
chain:
  tasks:
    first: {action: std.test_dict size=1 key_prefix='k' val='v', on-success: second}
    second: {action: std.test_dict size=2 key_prefix='k' val='v'}
branches:
  tasks:
    first: {action: std.test_dict size=1 key_prefix='k' val='v', on-success: [b, c]}
    b: {action: std.test_dict size=2 key_prefix='k' val='v'}
    c: {action: std.test_dict size=3 key_prefix='k' val='v'}
elsewhere:
  tasks:
    first: {action: std.test_dict size=1 key_prefix='k' val='v', on-success: second}
    second: {action: std.test_dict size=2 key_prefix='k' val='v', target: far}
"""


@pytest.fixture(params=CELLS)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    cell: Cell = request.param
    with cell.world(House, tmp_path) as house:
        house.upload(WORKFLOWS)
        yield house


def begun(house: House, name: str = "chain") -> CallAction:
    """A run whose first action was claimed."""
    house.start(name)
    house.engine.deliver.offers.send_waiting()
    call = house.post.offers.popleft()
    assert call.hand_in
    assert house.claim(call)
    return call


def question(call: CallAction, **more: Any) -> HandIn:
    values: dict[str, Any] = {
        "event": encode(result_of(call)),
        "token": "further",
        "executor_id": ME,
        "targets": (None, "near"),
        "free": 4,
    }
    return HandIn(**(values | more))


def handed_in(house: House, call: CallAction, **more: Any) -> CallAction | None:
    """What comes with the answer to its result; this thread decides meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(house.call, question(call, **more))
        while not answer.done():
            house.engine.loop.run_once(timeout=0.01)
    given = answer.result()["call"]
    if given is None:
        return None
    found = decode(given)
    assert isinstance(found, CallAction)
    return found


def result_of(call: CallAction) -> ActionFinished:
    return ActionFinished(
        run_id=call.run_id, action_id=call.action_id, attempt=call.attempt, result={}
    )


def action(house: House, call: CallAction) -> dict[str, Any]:
    [row] = house.rows(models.action_executions, id=call.action_id)
    return row


def offered(house: House) -> int:
    house.engine.deliver.offers.send_waiting()
    assert len(house.rows(models.outbox)) == len(house.post.offers)
    return len(house.post.offers)


def beat(house: House, *unused: str, **more: Any) -> dict[str, Any]:
    said = Heartbeat(executor_id=ME, unused=unused, asking=unused, **more)
    answer: dict[str, Any] = house.call(said)
    house.turn()
    return answer


def test_the_next_call_comes_with_the_answer_and_was_never_offered(
    house: House,
) -> None:
    first = begun(house)
    second = handed_in(house, first)
    assert second is not None
    assert (second.run_id, second.reply_to) == (first.run_id, first.reply_to)
    assert second.hand_in
    assert offered(house) == 0
    row = action(house, second)
    assert (row["state"], row["started_by"]) == ("RUNNING", "further")
    assert row["executor_id"] == ME
    assert row["started_at"] is not None
    assert house.examined() == []
    # nobody else begins it
    assert not house.claim(second, "another")
    assert house.claim(second, "further")
    assert handed_in(house, second) is None
    assert house.header(first.run_id)["state"] == "SUCCESS"
    assert house.examined() == []


def test_of_several_one_is_granted_and_the_others_are_offered(house: House) -> None:
    second = handed_in(house, begun(house, "branches"))
    assert second is not None
    assert offered(house) == 1
    assert house.post.offers[0].action_id != second.action_id


@pytest.mark.parametrize(
    ("name", "more"),
    [
        pytest.param("chain", {"executor_id": "stranger"}, id="nobody knows it"),
        pytest.param("chain", {"free": 0}, id="no room"),
        pytest.param("chain", {"targets": ("near",)}, id="its group only"),
        pytest.param("elsewhere", {}, id="another group"),
    ],
)
def test_who_cannot_be_given_it_sees_an_offer(
    house: House, name: str, more: dict[str, Any]
) -> None:
    assert handed_in(house, begun(house, name), **more) is None
    assert offered(house) == 1


def test_a_group_of_its_own_is_granted_to_who_is_of_it(house: House) -> None:
    assert handed_in(house, begun(house, "elsewhere"), targets=("far",)) is not None


def test_nobody_is_passed_who_waits_for_an_executor(house: House) -> None:
    """ENG-236 and decision 0036: what is out fits into the asker beside it, or not."""
    first, other = begun(house), begun(house)
    third = house.start("chain")
    # it waits in the line of the engine
    assert handed_in(house, first) is None
    assert offered(house) == 2
    # two are out: with room for both and one more, the next goes past them
    assert handed_in(house, other, free=2) is None
    assert offered(house) == 3
    assert house.header(third)["state"] == "RUNNING"
    one, *rest = house.post.offers
    house.post.offers.clear()
    assert house.claim(one)
    for each in rest:
        assert house.claim(each)
    again = begun(house, "branches")
    assert handed_in(house, again, free=1) is not None


def test_what_is_asked_too_long_ago_is_not_given(house: House) -> None:
    first = begun(house)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(house.call, question(first))
        while not len(house.engine.intake):
            assert not answer.done()
        house.clock.advance(FRESH_SECONDS)
        house.turn()
        assert answer.result() == {"call": None}
    assert offered(house) == 1


def test_a_result_that_comes_again_brings_nothing_more(house: House) -> None:
    first = begun(house, "branches")
    assert handed_in(house, first) is not None
    # who asks has to take it for a lost answer: something was granted to its token
    with pytest.raises(Unavailable):
        handed_in(house, first)
    tokens = [row["started_by"] for row in house.rows(models.action_executions)]
    assert tokens.count("further") == 1


def test_what_is_deleted_in_the_same_turn_is_not_granted(house: House) -> None:
    first = begun(house)
    gone = DeleteWorkflow(
        run_id=first.run_id, force=True, request_id="r", context=CALLER.to_dict()
    )
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(house.call, question(first))
        while not len(house.engine.intake):
            assert not answer.done()
        house.put(gone)
        house.turn()
        assert answer.result() == {"call": None}
    assert offered(house) == 0
    assert house.rows(models.action_executions) == []
    assert house.examined() == []


def test_what_was_granted_and_is_not_used_is_offered_again(house: House) -> None:
    """The answer was lost. The action is not safe to rerun, and has not run."""
    second = handed_in(house, begun(house))
    assert second is not None
    beat(house, "another token")
    assert offered(house) == 0
    beat(house, "further")
    assert offered(house) == 1
    [again] = house.post.offers
    assert (again.action_id, again.attempt) == (second.action_id, 2)
    assert again.input == second.input
    beat(house, "further")
    assert action(house, second)["attempt"] == 2
    assert house.claim(again)
    beat(house, "further", running=((again.action_id, 2),))
    assert action(house, second)["attempt"] == 2
    assert house.examined() == []


def test_nobody_gives_back_what_was_granted_to_another(house: House) -> None:
    second = handed_in(house, begun(house))
    assert second is not None
    house.call(Heartbeat(executor_id="stranger", unused=("further",)))
    house.turn()
    assert (offered(house), action(house, second)["attempt"]) == (0, 1)


def test_what_was_granted_to_an_executor_that_dies_is_lost_with_it(
    house: House,
) -> None:
    """As what was claimed is: nobody knows whether it has begun."""
    second = handed_in(house, begun(house))
    assert second is not None
    [sweep] = [s for s in house.engine.sweeps if s.name == "engine-lost-executors"]
    for _ in range(8):
        house.clock.advance(10.0)
        with ThreadPoolExecutor(1) as pool:
            looked = pool.submit(sweep.run_once)
            while not looked.done():
                house.engine.loop.run_once(timeout=0.01)
    row = action(house, second)
    assert row["state"] == "ERROR"
    assert "Heartbeat wasn't received" in row["output"]["result"]


def test_a_beat_that_lists_neither_finds_it_lost(house: House) -> None:
    """An older executor that has dropped the answer, or a token forgotten: in the time
    in which claims are found that nobody has heard of."""
    second = handed_in(house, begun(house))
    assert second is not None
    house.clock.advance(20.0)
    heard = house.call(Heartbeat(executor_id=ME, asking=("further",)))
    house.clock.advance(20.0)
    later = house.call(
        Heartbeat(executor_id=ME, asking=("further",), heard=heard["now"])
    )
    assert later["missing"] == []
    house.clock.advance(20.0)
    last = house.call(Heartbeat(executor_id=ME, heard=later["now"]))
    assert last["missing"] == [second.action_id]


def test_only_results_are_handed_in(house: House) -> None:
    event = encode(ActionTurnedAsync(action_id="a"))
    with pytest.raises(BadRequest, match="A ActionTurnedAsync is not handed in"):
        house.call(HandIn(event=event, token="t", executor_id=ME))


def test_two_ask_for_what_was_given_back_and_one_begins(house: House) -> None:
    """A question of the lost token beside a claim of the next attempt."""
    second = handed_in(house, begun(house))
    assert second is not None
    beat(house, "further")
    assert offered(house) == 1
    [again] = house.post.offers
    late = ClaimAction(
        action_id=again.action_id, attempt=1, token="further", executor_id=ME
    )
    new = house.claim_of(again, "new")
    assert house.call(Batch(events=(encode(late), encode(new)))) == [False, True]
