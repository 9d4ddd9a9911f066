"""Offers wait for their turn at the engine, not in the broker's queue."""

from __future__ import annotations

from typing import Any

import pytest
from house import CALLER, House
from sqlalchemy import event, update

from mistral.db import models
from mistral.engine.offers import (
    ALWAYS,
    LONGEST_LOOK,
    LOOK_SECONDS,
    NARROWEST,
    WIDEST,
    WIDEST_FLOODED,
)
from mistral.errors import BadRequest
from mistral.messages import CallAction, StartWorkflow

WORKFLOWS = """
version: '2.0'
many:
  input: [n]
  tasks: {t: {with-items: "i in <% range($.n) %>", action: std.sleep seconds=0}}
one: {tasks: {t: {action: std.sleep seconds=0}}}
urgent:
  tags: ['priority: 7']
  tasks: {t: {action: std.sleep seconds=0}}
outer: {tasks: {t: {workflow: one}}}
vague: {tasks: {t: {workflow: one priority=high}}}
"""


@pytest.fixture
def house(house: House) -> House:
    house.upload(WORKFLOWS)
    with house.database.begin() as connection:
        connection.execute(update(models.workflows).values(scope="public"))
    return house


def start(house: House, name: str, project: str = "p", **more: Any) -> str:
    run_id = house.new_id()
    context = {**CALLER.to_dict(), "project_id": project}
    asked = StartWorkflow(
        run_id=run_id, workflow_name=name, request_id=run_id, context=context, **more
    )
    house.ask(asked)
    return run_id


def send(house: House) -> list[CallAction]:
    """What reaches the broker now."""
    house.engine.deliver.offers.send_waiting()
    found = list(house.post.offers)
    house.post.offers.clear()
    return found


def order(house: House) -> list[str]:
    return [call.root_id for call in send(house)]


BEGINS = WIDEST
"""Offers that are sent ahead while nothing is known of the executors."""


def fill(house: House) -> list[CallAction]:
    """Offers of one execution until the broker has enough; more wait."""
    start(house, "many", "flood", input={"n": BEGINS + 300})
    calls = send(house)
    assert len(calls) == BEGINS
    assert send(house) == []
    return calls


def test_the_window_moves_with_what_is_claimed(house: House) -> None:
    calls = fill(house)
    for call in calls[: BEGINS // 2 - 1]:
        house.claim(call)
    assert send(house) == [], "small messages cost more"
    house.claim(calls[BEGINS // 2 - 1])
    assert len(send(house)) == BEGINS // 2


def test_the_window_moves_with_what_other_engines_have_granted(house: House) -> None:
    calls = fill(house)
    mine = house.engine
    house.engine = house.new_engine("two")
    for call in calls[:270]:
        house.claim(call)
    house.engine = mine
    assert send(house) == []
    house.clock.advance(LOOK_SECONDS)
    assert len(send(house)) == 270


@pytest.mark.parametrize(
    ("seconds", "size"), [(0.1, 300), (0.5, 256), (0.8, 160), (5, NARROWEST)]
)
def test_as_much_is_sent_ahead_as_is_claimed_in_a_moment(
    house: House, seconds: float, size: int
) -> None:
    """The first 128 claims take so long; a tenth of a second is no measure, and
    all 300 that wait follow."""
    calls = fill(house)
    for call in calls[:127]:
        house.claim(call)
    house.clock.advance(seconds)
    for call in calls[127:]:
        house.claim(call)
    assert len(send(house)) == size


def test_a_group_without_executors_is_looked_at_less_and_less(house: House) -> None:
    fill(house)
    looks = []

    @event.listens_for(house.database.engine, "before_cursor_execute")
    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        looks.append(statement)

    for _ in range(200):
        house.clock.advance(LOOK_SECONDS)
        assert send(house) == []
    asked = sum("SELECT" in statement for statement in looks)
    # 0.1, 0.2, … 3.2, then each LONGEST_LOOK: 20 seconds hold nine of them.
    assert asked < 20 / LONGEST_LOOK + 8


def test_who_comes_after_a_flood_is_soon_there(house: House) -> None:
    """One offer of each project at a time; of a project, one of each execution."""
    calls = fill(house)
    late = [start(house, "one", project) for project in ("flood", "a", "b")]
    for call in calls[: BEGINS // 2]:
        house.claim(call)
    first = order(house)[:5]
    assert set(late) < set(first)


def test_who_comes_after_a_flood_needs_no_room(house: House) -> None:
    fill(house)
    runs = [start(house, "one", "quiet") for _ in range(ALWAYS + 2)]
    assert order(house) == runs[:ALWAYS]
    assert order(house) == []


def test_beside_others_a_flood_sends_less_ahead(house: House) -> None:
    start(house, "one", "quiet")
    start(house, "many", "flood", input={"n": 2 * WIDEST_FLOODED})
    house.clock.advance(1.0)
    assert len(send(house)) == WIDEST_FLOODED


def test_executions_go_by_priority(house: House) -> None:
    """Of one project; the same priority in the order of their starts."""
    params = [None, -3, 9, 0, None, 9]
    runs = [
        start(house, "one", params={} if each is None else {"priority": each})
        for each in params
    ]
    runs.append(start(house, "urgent"))
    assert order(house) == [runs[place] for place in (2, 5, 6, 0, 3, 4, 1)]


def test_a_sub_workflow_has_the_priority_of_its_parent(house: House) -> None:
    plain = start(house, "one", params={"priority": 1})
    outer = start(house, "outer", params={"priority": 2})
    calls = send(house)
    assert [call.root_id for call in calls] == [outer, plain]
    assert calls[0].run_id != outer


@pytest.mark.parametrize("wrong", [11, -11, "high", True, 1.5, [1], "3"])
def test_a_wrong_priority_is_refused(house: House, wrong: Any) -> None:
    with pytest.raises(
        BadRequest, match=r"from -10 to 10 in 'params\.priority', found"
    ):
        start(house, "one", params={"priority": wrong})


@pytest.mark.parametrize("tag", ["priority:x", "priority:11", "priority", "urgent"])
def test_other_tags_are_tags(house: House, tag: str) -> None:
    house.upload(
        "version: '2.0'\n\nw: {tags: ['TAG'], tasks: {t: {action: std.noop}}}".replace(
            "TAG", tag
        )
    )
    with house.database.begin() as connection:
        connection.execute(update(models.workflows).values(scope="public"))
    assert "priority" not in house.header(start(house, "w"))["params"]


def test_what_a_task_calls_priority_may_mean_something_else(house: House) -> None:
    """Q20: what a sub-workflow does not declare becomes a parameter of it."""
    run = start(house, "vague")
    house.settle()
    assert house.header(run)["state"] == "SUCCESS"


def test_an_offer_that_waited_too_long_is_left_to_the_sweeps(house: House) -> None:
    """Its lease has ended: another engine has it by now, or this one again."""
    calls = fill(house)
    house.clock.advance(11)
    for call in calls:
        house.claim(call)
    assert send(house) == []
    house.engine.overdue.run_once()
    assert len(send(house)) >= NARROWEST


def test_what_the_broker_does_not_take_leaves_room(house: House) -> None:
    start(house, "many", input={"n": BEGINS})
    house.post.closed = BadRequest("away")
    assert send(house) == []
    house.post.closed = None
    house.clock.advance(11)
    house.engine.overdue.run_once()
    house.engine.overdue.run_once()
    assert len(send(house)) == BEGINS
