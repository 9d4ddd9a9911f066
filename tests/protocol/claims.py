"""Executors claim an action while a turn of its run ends it, statement by statement.

A claim locks the row of the action alone (decision 0045); the turn has the header and
reads the action without a lock, unless what it decides depends on the claim: that
nobody came. Reads see what has committed by then (READ COMMITTED); a write waits for
whoever holds the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from protocol.checker import Step

EXECUTORS: Final = ("one", "two")


class Place(NamedTuple):
    """
    :param state: of the action, committed: ``open``, ``cancelled`` or ``nobody``.
    :param token: of who has begun it, committed.
    :param holder: who has locked the row.
    :param turn: what comes next: ``read``, ``write``, ``commit``; ``over``.
    :param news: what the turn is about.
    :param decides: what it writes.
    :param saw: token, by executor that has looked under its lock.
    :param told: yes or no, by executor.
    """

    state: str = "open"
    token: str | None = None
    holder: str | None = None
    turn: str = "read"
    news: str = "nobody"
    decides: str = ""
    saw: tuple[tuple[str, str | None], ...] = ()
    told: tuple[tuple[str, bool], ...] = ()


class Claims:
    """
    :param news: ``nobody``: the turn hears that nobody came; ``cancelled``: a user
        cancels the run.
    :param locks: claims lock the row of the action.
    :param looks: a turn that hears that nobody came locks it before it reads it.
    """

    def __init__(
        self, news: str = "nobody", *, locks: bool = True, looks: bool = True
    ) -> None:
        self._news, self._locks, self._looks = news, locks, looks

    def begin(self) -> Place:
        return Place(news=self._news)

    def wrong(self, state: Place) -> str | None:
        yes = [name for name, answer in state.told if answer]
        if len(yes) > 1:
            return "two run the action"
        if yes and state.state == "nobody":
            return "somebody runs what nobody took"
        if yes and state.token != yes[0]:
            return "somebody runs it whom no row names"
        return None

    def over(self, state: Place) -> bool:
        return state.turn == "over" and len(state.told) == len(EXECUTORS)

    def steps(self, state: Place) -> Iterator[Step[Place]]:
        yield from self._turn(state)
        for name in EXECUTORS:
            yield from self._claim(state, name)

    def _turn(self, state: Place) -> Iterator[Step[Place]]:
        first = state.news == "nobody" and self._looks
        free = state.holder in (None, "turn")
        if state.turn == "read" and (free or not first):
            begun = state.news == "nobody" and state.token is not None
            decides = "" if begun else state.news
            holder = "turn" if first else state.holder
            after = state._replace(turn="write", decides=decides, holder=holder)
            yield Step("the turn reads the action", after)
        elif state.turn == "write" and (free or not state.decides):
            holder = "turn" if state.decides else state.holder
            after = state._replace(turn="commit", holder=holder)
            yield Step("the turn writes", after)
        elif state.turn == "commit":
            after = state._replace(
                turn="over",
                state=state.decides or state.state,
                holder=None if state.holder == "turn" else state.holder,
            )
            yield Step("the turn commits", after)

    def _claim(self, state: Place, name: str) -> Iterator[Step[Place]]:
        saw = dict(state.saw)
        if name in dict(state.told):
            return
        if name not in saw:
            if self._locks and state.holder is not None:
                return
            holder = name if self._locks else state.holder
            seen = "over" if state.state != "open" else state.token
            after = state._replace(saw=(*state.saw, (name, seen)), holder=holder)
            yield Step(f"{name} claims", after)
            return
        yes = saw[name] is None
        if yes and state.holder not in (None, name):
            return
        after = state._replace(
            told=(*state.told, (name, yes)),
            token=name if yes else state.token,
            holder=None if state.holder == name else state.holder,
        )
        yield Step(f"the claim of {name} commits", after)
