"""One action: offers, claims, results, and executors that come and go.

A turn of an engine, and a claim, is one step here: ``turns.py`` and ``claims.py`` show
why it may be. Between two of them messages are lost, doubled and reordered, answers get
lost, executors are killed, stopped and go on (DESIGN § 3, § 6; decision 0024).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from protocol.checker import Step

EXECUTORS: Final = (0, 1)
MOST_MESSAGES: Final = 2
MOST_ATTEMPTS: Final = 2

Token = tuple[int, int]
"""Executor and number of an offer that it has received."""


class Item(NamedTuple):
    """An attempt as an executor knows it.

    :param at: ``offered``: received, not acknowledged; ``asked``: the engine was asked
        and has not been heard; ``runs``; ``holds``: its result.
    :param answer: of the claim, on its way.
    """

    attempt: int
    token: Token
    at: str = "offered"
    answer: bool | None = None


class Executor(NamedTuple):
    """
    :param life: ``up``, ``down``, ``stopped``: not killed, and silent.
    :param born: how often it was started: each time it is another executor.
    """

    life: str = "up"
    born: int = 0
    item: Item | None = None


class Place(NamedTuple):
    """
    :param offer: whether the outbox has the row of the offer.
    :param sent: whether it was ever sent.
    :param owner: executor and its birth, of the claim that was granted.
    :param applied: how often the action got an outcome.
    :param ran: how often each attempt was begun: what the world outside sees.
    :param offers: attempts, in the queue of the executors.
    :param results: attempts, in the queue of the engines.
    """

    done: bool = False
    attempt: int = 1
    started_by: Token | None = None
    owner: tuple[int, int] | None = None
    offer: bool = True
    sent: bool = False
    applied: int = 0
    ran: tuple[int, ...] = (0,) * MOST_ATTEMPTS
    offers: tuple[int, ...] = ()
    results: tuple[int, ...] = ()
    executors: tuple[Executor, ...] = (Executor(),) * len(EXECUTORS)
    faults: int = 0

    def having(self, number: int, executor: Executor, **more: Any) -> Place:
        them = (*self.executors[:number], executor, *self.executors[number + 1 :])
        return self._replace(executors=them, **more)


def _less(queue: tuple[int, ...], attempt: int) -> tuple[int, ...]:
    left = list(queue)
    left.remove(attempt)
    return tuple(left)


def _more(queue: tuple[int, ...], attempt: int) -> tuple[int, ...]:
    return tuple(sorted((*queue, attempt)))[:MOST_MESSAGES]


class Calls:
    """
    :param safe: the action is ``safe-rerun``.
    :param claims: who receives an offer asks before it runs.
    :param tokens: the same question gets the same answer.
    :param attempts: claims and results of earlier attempts are refused.
    :param resends: offers are sent again until they are claimed.
    :param holds: executors keep results until the engine has committed them.
    :param beats: engines say which results are over, and executors drop these.
    :param sweeps: engines look for executors that are silent.
    """

    def __init__(
        self,
        *,
        safe: bool = False,
        claims: bool = True,
        tokens: bool = True,
        attempts: bool = True,
        resends: bool = True,
        holds: bool = True,
        beats: bool = True,
        sweeps: bool = True,
        most_faults: int = 2,
    ) -> None:
        self._safe, self._claims, self._tokens = safe, claims, tokens
        self._attempts, self._resends, self._holds = attempts, resends, holds
        self._beats, self._sweeps = beats, sweeps
        self._most_faults = most_faults

    def begin(self) -> Place:
        return Place()

    def wrong(self, state: Place) -> str | None:
        if state.applied > 1:
            return "the action has two outcomes"
        if any(count > 1 for count in state.ran):
            return "an attempt ran twice"
        if not self._safe and sum(state.ran) > 1:
            return "what is not safe to rerun ran twice"
        if state.done and state.offer:
            return "an action that is over is offered"
        return None

    def over(self, state: Place) -> bool:
        held = any(each.item for each in state.executors)
        return state.done and not held and not state.offers and not state.results

    def steps(self, state: Place) -> Iterator[Step[Place]]:
        yield from self._engine(state)
        for number in EXECUTORS:
            for step in self._of_executor(state, number):
                yield replace(step, name=f"executor {number} {step.name}")
        if state.faults < self._most_faults:
            for step in self._faults(state):
                after = step.after._replace(faults=state.faults + 1)
                yield Step(step.name, after, fault=True)

    # -- Engines --------------------------------------------------------------

    def _engine(self, state: Place) -> Iterator[Step[Place]]:
        again = self._resends or not state.sent
        if state.offer and again and len(state.offers) < MOST_MESSAGES:
            offers = _more(state.offers, state.attempt)
            sent = state._replace(offers=offers, sent=True)
            yield Step("the engine sends the offer", sent)
        for attempt in sorted(set(state.results)):
            heard = state._replace(results=_less(state.results, attempt))
            name = f"the engine hears the result of attempt {attempt}"
            yield Step(name, self._result(heard, attempt))
        silent = state.owner is not None and not self._is_up(state, state.owner)
        if self._sweeps and silent and not state.done:
            yield Step("the engine gives up the executor", self._lost(state))

    def _result(self, state: Place, attempt: int) -> Place:
        if state.done or (self._attempts and attempt != state.attempt):
            return state
        return self._settled(state)

    def _settled(self, state: Place) -> Place:
        return state._replace(done=True, offer=False, applied=state.applied + 1)

    def _lost(self, state: Place) -> Place:
        if not self._safe or state.attempt == MOST_ATTEMPTS:
            return self._settled(state)
        return state._replace(
            attempt=state.attempt + 1,
            started_by=None,
            owner=None,
            offer=True,
            sent=False,
        )

    def _is_up(self, state: Place, owner: tuple[int, int]) -> bool:
        executor = state.executors[owner[0]]
        return executor.life == "up" and executor.born == owner[1]

    def _granted(self, state: Place, number: int, item: Item) -> tuple[Place, bool]:
        """The claim, and its answer."""
        if state.done or (self._attempts and item.attempt != state.attempt):
            return state, False
        if state.started_by is not None:
            return state, self._tokens and state.started_by == item.token
        owner = (number, state.executors[number].born)
        granted = state._replace(started_by=item.token, owner=owner, offer=False)
        return granted, True

    # -- Executors ------------------------------------------------------------

    def _of_executor(self, state: Place, me: int) -> Iterator[Step[Place]]:
        executor = state.executors[me]
        if executor.life == "down":
            again = executor._replace(life="up", born=executor.born + 1)
            yield Step("is started again", state.having(me, again))
        if executor.life == "stopped":
            yield Step("goes on", state.having(me, executor._replace(life="up")))
        if executor.life != "up":
            return
        item = executor.item
        if item is None:
            for attempt in sorted(set(state.offers)):
                yield Step("receives", self._received(state, me, attempt))
            return

        def now(item: Item | None, **more: Any) -> Place:
            return state.having(me, executor._replace(item=item), **more)

        if item.at in ("offered", "asked") and item.answer is None:
            asked = item._replace(at="asked")
            granted, yes = self._granted(now(asked), me, asked)
            if not self._claims:
                granted, yes = now(asked), True
            answered = executor._replace(item=asked._replace(answer=yes))
            yield Step("claims", granted.having(me, answered))
        if item.answer is not None:
            begun = item._replace(at="runs", answer=None) if item.answer else None
            yield Step("hears the answer", now(begun))
        if item.at == "runs":
            ran = list(state.ran)
            ran[item.attempt - 1] += 1
            yield Step("runs it", now(item._replace(at="holds"), ran=tuple(ran)))
        if item.at == "holds" and item.attempt not in state.results:
            results = _more(state.results, item.attempt)
            kept = item if self._holds else None
            yield Step("sends the result", now(kept, results=results))
        if self._beats:
            yield from self._beat(state, me, item)

    def _received(self, state: Place, me: int, attempt: int) -> Place:
        executor = state.executors[me]
        # As good as new: nobody else has it.
        token = (me, 1) if state.started_by == (me, 0) else (me, 0)
        received = executor._replace(item=Item(attempt, token))
        return state.having(me, received, offers=_less(state.offers, attempt))

    def _beat(self, state: Place, me: int, item: Item) -> Iterator[Step[Place]]:
        executor = state.executors[me]
        over = state.done or item.attempt != state.attempt
        if over and item.at == "holds":
            yield Step("may drop it", state.having(me, executor._replace(item=None)))

    # -- What goes wrong ------------------------------------------------------

    def _faults(self, state: Place) -> Iterator[Step[Place]]:
        for attempt in sorted(set(state.offers)):
            offers = _less(state.offers, attempt)
            yield Step("the broker loses an offer", state._replace(offers=offers))
            if len(state.offers) < MOST_MESSAGES:
                twice = _more(state.offers, attempt)
                yield Step("the broker doubles an offer", state._replace(offers=twice))
        for attempt in sorted(set(state.results)):
            results = _less(state.results, attempt)
            yield Step("the broker loses a result", state._replace(results=results))
            if len(state.results) < MOST_MESSAGES:
                twice = _more(state.results, attempt)
                yield Step("the broker doubles a result", state._replace(results=twice))
        for me, executor in enumerate(state.executors):
            if executor.life == "down":
                continue
            yield Step(f"executor {me} is killed", self._killed(state, me))
            if executor.life == "up":
                stopped = executor._replace(life="stopped")
                yield Step(f"executor {me} is stopped", state.having(me, stopped))
            item = executor.item
            if item is not None and item.answer is not None:
                unheard = executor._replace(item=item._replace(answer=None))
                name = f"the answer to executor {me} is lost"
                yield Step(name, state.having(me, unheard))
            if item is not None and item.at in ("offered", "asked"):
                offers = _more(state.offers, item.attempt)
                name = f"executor {me} loses its connection: the offer comes again"
                yield Step(name, state._replace(offers=offers))

    def _killed(self, state: Place, me: int) -> Place:
        """What it had not acknowledged is delivered again."""
        item = state.executors[me].item
        offers = state.offers
        if item is not None and item.at in ("offered", "asked"):
            offers = _more(offers, item.attempt)
        dead = state.executors[me]._replace(life="down", item=None)
        return state.having(me, dead, offers=offers)
