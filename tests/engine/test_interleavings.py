"""Whatever two engines do to rows that have to do with each other, each in the middle
of the other: nothing is stuck, nothing is left, and what comes of it is what one after
the other would have led to (DESIGN § 3 and § 5).

A *setting* is a state of some executions and what may happen to them next. Of each two
of these things one intrudes into the other, at boundaries between two statements: at
some of each pair, drawn by a seed (``INTERLEAVING_SEED``), or with
``EVERY_BOUNDARY=1`` at all of all pairs, which takes hours. Of the pairs that are drawn
each level of isolation of a server plays one half, as all of them take too long.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, product
from typing import Any

import pytest
from cells import CELLS, Cell
from interleaved.boundaries import Happened
from interleaved.meetings import SETTINGS
from interleaved.world import World

from mistral.db.database import REPEATABLE_READ

SOME, SOME_PAIRS = 3, 8
SEED = os.environ.get("INTERLEAVING_SEED", "")
NOWHERE = 1_000_000


@pytest.fixture(params=CELLS, scope="module")
def cell(request: pytest.FixtureRequest) -> Cell:
    found: Cell = request.param
    return found


@pytest.fixture(scope="module")
def world(cell: Cell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with cell.world(World, tmp_path_factory.mktemp("world")) as world:
        yield world


@dataclass(frozen=True)
class Pair:
    setting: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.setting}: one {self.first} while two {self.second}"

    @property
    def reversed(self) -> Pair:
        return Pair(self.setting, self.second, self.first)


PAIRS = [
    Pair(name, first, second)
    for name, setting in SETTINGS.items()
    for first, second in product(setting.acts, repeat=2)
    if first != second or setting.twice
    if not setting.about or setting.about in (first, second)
]


def play(world: World, pair: Pair, place: int, between: bool) -> tuple[Happened, Any]:
    """(what happened, what came of it) of one interleaving.

    :raises AssertionError: something is stuck or left.
    """
    setting = SETTINGS[pair.setting]
    world.begin_anew()
    setting.make(world)
    world.remember()
    first, second = setting.acts[pair.first], setting.acts[pair.second]
    happened = world.between.run(
        lambda: first(world, world.one),
        lambda: second(world, world.two),
        place,
        between=between,
    )
    if happened.came is None:
        second(world, world.two)
    world.finish()
    left = world.leftovers()
    assert left == [], f"{pair}, before {happened.came!r}: {left}"
    assert len(world.granted) <= 1, f"{pair}: claimed twice"
    return happened, world.outcome()


def in_turn(world: World, pair: Pair) -> set[Any]:
    """What comes of the two when no transaction is in the middle of another one."""
    found = set()
    for order in (pair, pair.reversed):
        for place in count():
            happened, outcome = play(world, order, place, True)
            found.add(outcome)
            if happened.came is None:
                break
    return found


@pytest.mark.parametrize("setting", SETTINGS)
def test_whatever_happens_in_the_middle_is_as_if_it_came_before_or_after(
    world: World, cell: Cell, setting: str
) -> None:
    waited = cases = 0
    for pair in chosen_pairs(setting, cell):
        happened, one_first = play(world, pair, NOWHERE, False)
        _, other_first = play(world, pair.reversed, NOWHERE, False)
        allowed = {one_first, other_first}
        for place in chosen(pair, happened.places):
            happened, outcome = play(world, pair, place, False)
            cases += 1
            waited += happened.waited
            if outcome not in allowed:
                allowed |= in_turn(world, pair)
            assert outcome in allowed, f"{pair}, before {happened.came!r}"
    print(f"{setting}: {cases} interleavings, {waited} of which waited")


def chosen_pairs(setting: str, cell: Cell) -> list[Pair]:
    """Some pairs, the same each time; all with ``EVERY_BOUNDARY=1``."""
    found = [pair for pair in PAIRS if pair.setting == setting]
    if os.environ.get("EVERY_BOUNDARY") == "1":
        return found
    if len(found) > SOME_PAIRS:
        found = random.Random(setting + SEED).sample(found, SOME_PAIRS)
    if cell.kind == "sqlite" or len(found) == 1:
        return found
    return found[cell.isolation == REPEATABLE_READ :: 2]


def chosen(pair: Pair, places: int) -> list[int]:
    """Some boundaries, the same each time; all with ``EVERY_BOUNDARY=1``."""
    if os.environ.get("EVERY_BOUNDARY") == "1" or places <= SOME:
        return list(range(places))
    return sorted(random.Random(str(pair) + SEED).sample(range(places), SOME))
