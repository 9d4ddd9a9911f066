"""Whose turn it is (``mistral/fair_queue.py``)."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistral.fair_queue import LATELY, LOOK_SECONDS, PATIENCE, FairQueue, Lane, Traffic


def queue_of(*waiting: tuple[str, str, int]) -> FairQueue[str]:
    """Items ``p/e#n``: project, execution, and how many of the lane came before."""
    queue: FairQueue[str] = FairQueue()
    count: Counter[tuple[str, str]] = Counter()
    for project, execution, priority in waiting:
        item = f"{project}/{execution}#{count[project, execution]}"
        count[project, execution] += 1
        queue.add(item, item, Lane(project, execution, priority))
    return queue


def all_of(queue: FairQueue[str]) -> list[str]:
    return [queue.take() for _ in range(len(queue))]


def test_projects_take_turns() -> None:
    queue = queue_of(*[("flood", "e", 0)] * 100, ("a", "e", 0), ("b", "e", 0))
    assert all_of(queue)[:4] == ["flood/e#0", "a/e#0", "b/e#0", "flood/e#1"]


def test_executions_of_a_project_take_turns() -> None:
    queue = queue_of(*[("p", "large", 0)] * 100, ("p", "x", 0), ("p", "y", 0))
    assert all_of(queue)[:4] == ["p/large#0", "p/x#0", "p/y#0", "p/large#1"]


def test_single_ones_of_a_priority_in_the_order_in_which_they_came() -> None:
    queue = queue_of(("p", "c", 0), ("p", "a", 5), ("p", "b", 0), ("p", "d", 5))
    assert all_of(queue) == ["p/a#0", "p/d#0", "p/c#0", "p/b#0"]


def test_a_low_priority_is_passed_over_a_few_times_only() -> None:
    queue = queue_of(*[("p", "high", 9)] * 100, *[("p", "low", -9)] * 3)
    order = [item.partition("#")[0] for item in all_of(queue)]
    places = [place for place, item in enumerate(order) if item == "p/low"]
    assert places == [PATIENCE, 2 * PATIENCE + 1, 3 * PATIENCE + 2]


def test_priority_is_no_way_past_other_projects() -> None:
    queue = queue_of(*[("loud", "e", 10)] * 10, ("quiet", "e", -10))
    assert "quiet/e#0" in all_of(queue)[:2]


def test_the_same_key_keeps_its_place_and_has_the_newest_item() -> None:
    queue: FairQueue[str] = FairQueue()
    for key in "ab":
        queue.add(key, key, Lane())
    queue.add("a", "new", Lane(priority=3))
    assert len(queue) == 2
    assert all_of(queue) == ["new", "b"]


def test_what_is_dropped_is_of_who_has_most() -> None:
    queue = queue_of(("a", "e", 0), *[("flood", "e", 0)] * 5, ("flood", "f", -1))
    queue.drop_last()
    queue.drop_last()
    left = all_of(queue)
    assert sorted(left) == ["a/e#0", *(f"flood/e#{n}" for n in range(4))]


def test_nothing_to_take() -> None:
    queue: FairQueue[str] = FairQueue()
    for operation in (queue.take, queue.drop_last):
        with pytest.raises(IndexError):
            operation()
    queue.discard("unknown")


def test_a_project_can_be_served_out_of_turn() -> None:
    queue = queue_of(("a", "e", 0), ("b", "e", 0), ("b", "f", 5), ("c", "e", 0))
    assert list(queue.projects()) == ["a", "b", "c"]
    assert queue.take_of("b") == "b/f#0"
    assert all_of(queue) == ["a/e#0", "c/e#0", "b/e#0"]
    with pytest.raises(KeyError):
        queue.take_of("b")


def test_loud_is_who_has_more_than_half_beside_others() -> None:
    traffic, now = Traffic(), 1000.0
    assert traffic.loud(now) is None
    for project, count, loud in (
        ("a", 3, None),
        ("b", 3, None),
        ("", 100, None),
        ("a", 1, "a"),
        ("c", 1, None),
        ("b", 6, "b"),
    ):
        now += LOOK_SECONDS
        traffic.saw(project, now, count)
        assert traffic.loud(now) == loud


def test_what_was_long_ago_counts_no_more() -> None:
    traffic = Traffic()
    traffic.saw("loud", 0.0, 100)
    traffic.saw("quiet", 0.0)
    assert traffic.loud(0.0) == "loud"
    traffic.saw("quiet", LATELY, 2)
    assert traffic.loud(LATELY) == "loud"
    traffic.saw("quiet", 2 * LATELY, 2)
    assert traffic.loud(2 * LATELY) is None


lanes = st.builds(
    Lane,
    project=st.sampled_from("ab"),
    execution=st.sampled_from("xyz"),
    priority=st.integers(-1, 1),
)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 20), lanes),
            st.tuples(st.sampled_from(["take", "discard", "drop"]), st.integers(0, 20)),
        )
    )
)
def test_nothing_is_lost_and_lanes_keep_their_order(steps: list[Any]) -> None:
    queue: FairQueue[int] = FairQueue()
    lane_of: dict[int, Lane] = {}
    waiting: dict[Lane, list[int]] = defaultdict(list)
    for step in steps:
        match step:
            case ("add", key, lane):
                if key not in queue:
                    lane_of[key] = lane
                    waiting[lane].append(key)
                queue.add(key, key, lane)
            case ("take", _) if len(queue):
                key = queue.take()
                assert waiting[lane_of[key]].pop(0) == key
            case ("discard", key):
                if key in queue:
                    waiting[lane_of[key]].remove(key)
                queue.discard(key)
                assert key not in queue
            case ("drop", _) if len(queue):
                before = {key for keys in waiting.values() for key in keys}
                queue.drop_last()
                [gone] = [key for key in before if key not in queue]
                waiting[lane_of[gone]].remove(gone)
        assert len(queue) == sum(map(len, waiting.values()))
