"""An event of the outbox, two engines, leases that end at any moment.

One row says what must happen after a commit (DESIGN § 3). Each engine may hear of it
more than once: from its own delivery, from sweeps. What makes it happen once is that
a turn locks the header of the run and drops events whose rows are gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from protocol.checker import Step

ENGINES: Final = (0, 1)
MOST_HEARD: Final = 2
"""Copies of the event that one engine has in its intake."""


class Turn(NamedTuple):
    """Of one engine.

    :param heard: copies of the event in its memory.
    :param at: ``idle``; ``locked``: the header is its own; ``loaded``: it has looked
        whether the row is there; ``unclear``: its commit was not answered.
    :param there: what it saw of the row.
    :param committed: of an unclear turn.
    """

    heard: int = 0
    at: str = "idle"
    there: bool = False
    committed: bool = False


class Place(NamedTuple):
    """
    :param row: whether the outbox row is there.
    :param leased: to this engine; None: to nobody, or the lease has ended.
    :param applied: how often the event has changed the run.
    """

    row: bool = True
    leased: int | None = 0
    header: int | None = None
    applied: int = 0
    turns: tuple[Turn, ...] = (Turn(heard=1), Turn())
    faults: int = 0

    def turn(self, engine: int, turn: Turn, **more: Any) -> Place:
        turns = (*self.turns[:engine], turn, *self.turns[engine + 1 :])
        return self._replace(turns=turns, **more)


class Turns:
    """
    :param lock: a turn waits for the header.
    :param look: a turn drops the event when its row is gone.
    :param sweep: engines look for rows whose lease has ended.
    :param most_faults: how much may go wrong, leases that end apart.
    """

    def __init__(
        self,
        *,
        lock: bool = True,
        look: bool = True,
        sweep: bool = True,
        most_faults: int = 3,
    ) -> None:
        self._lock, self._look, self._sweep = lock, look, sweep
        self._most_faults = most_faults

    def begin(self) -> Place:
        return Place()

    def wrong(self, state: Place) -> str | None:
        return "the event was applied twice" if state.applied > 1 else None

    def over(self, state: Place) -> bool:
        quiet = all(turn == Turn() for turn in state.turns)
        return quiet and not state.row and state.applied == 1

    def steps(self, state: Place) -> Iterator[Step[Place]]:
        if state.leased is not None:
            yield Step("the lease ends", state._replace(leased=None))
        for engine in ENGINES:
            for step in self._of_engine(state, engine):
                yield replace(step, name=f"engine {engine} {step.name}")

    def _of_engine(self, state: Place, me: int) -> Iterator[Step[Place]]:
        turn = state.turns[me]
        free = state.header is None or not self._lock
        if self._sweep and state.row and state.leased is None:
            if turn.heard < MOST_HEARD:
                heard = turn._replace(heard=turn.heard + 1)
                yield Step("takes the lease", state.turn(me, heard, leased=me))
        if turn.at == "idle" and turn.heard and free:
            begun = turn._replace(at="locked")
            yield Step("locks the header", state.turn(me, begun, header=me))
        if turn.at == "locked":
            loaded = turn._replace(at="loaded", there=state.row or not self._look)
            yield Step("looks for the row", state.turn(me, loaded))
        if turn.at == "loaded":
            done = self._committed(state, me)
            yield Step("commits", done)
            if state.faults < self._most_faults:
                yield from self._unclear(state, done, me)
        if turn.at == "unclear":
            yield Step("looks for its turn", self._resolved(state, me))
        if state.faults < self._most_faults and turn != Turn():
            yield Step("is killed", self._killed(state, me), fault=True)

    def _committed(self, state: Place, me: int) -> Place:
        """The event is answered, whatever became of it."""
        turn = state.turns[me]
        ended = Turn(heard=turn.heard - 1)
        after = state.turn(me, ended, header=self._released(state, me))
        if not turn.there:
            return after
        return after._replace(row=False, applied=state.applied + 1)

    def _unclear(self, state: Place, done: Place, me: int) -> Iterator[Step[Place]]:
        """The connection is lost at the commit, which has happened or has not."""
        turn = state.turns[me]._replace(at="unclear")
        faults = state.faults + 1
        happened = done.turn(me, turn._replace(committed=True), faults=faults)
        yield Step("loses the answer to its commit", happened, fault=True)
        header = self._released(state, me)
        lost = state.turn(me, turn, faults=faults, header=header)
        yield Step("loses its commit", lost, fault=True)

    def _resolved(self, state: Place, me: int) -> Place:
        turn = state.turns[me]
        return state.turn(me, Turn(heard=turn.heard - turn.committed))

    def _killed(self, state: Place, me: int) -> Place:
        """And started again: it remembers nothing; the database gives its lock back."""
        header = self._released(state, me)
        return state.turn(me, Turn(), header=header, faults=state.faults + 1)

    def _released(self, state: Place, me: int) -> int | None:
        return None if state.header == me else state.header
