"""An executor hands in a result, and is granted what follows from it (decision 0048).

The result of a first action leads to a second one, which is not safe to rerun. A turn
is one step here, as in ``calls.py``. The answer to who asks may be lost or late, the
question may be delivered twice, or long after it was asked; who has asked may be
killed, or stopped and go on. Another executor takes offers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from protocol.checker import Step

MOST_ATTEMPTS: Final = 3
HELPER: Final = "helper"
"""Takes offers, and never fails."""


class Place(NamedTuple):
    """
    :param question: copies of it on their way to an engine.
    :param result: whether the result is on its way by itself.
    :param stored: whether a turn has applied it.
    :param attempt: of the second action.
    :param token: of who was granted that; ``asked`` is that of the question.
    :param offer: whether the outbox has a row for it.
    :param answer: what is on its way to who asked: attempt, or 0: nothing more.
    :param asker: ``open``: it waits; ``closed``: it has given the token up;
        ``done``: it has heard.
    :param life: of the asker: ``up``, ``stopped``, ``down``.
    :param given_up: the engine has found it silent for too long.
    :param runs: attempts that were begun, by whom.
    :param ended: ``success``, ``lost`` or nothing.
    """

    question: int = 1
    result: bool = False
    stored: bool = False
    attempt: int = 1
    token: str = ""
    offer: bool = False
    answer: int | None = None
    asker: str = "open"
    life: str = "up"
    given_up: bool = False
    runs: tuple[tuple[int, str], ...] = ()
    ended: str = ""
    faults: int = 0


class Asks:
    """
    :param once: a token runs nothing after it was given up, and once at most.
    :param tells: beats say which tokens are not used.
    :param asking: beats list the token while its answer is awaited.
    :param effective: something is given only by the turn that applies the result.
    :param sure: only that turn says that there is nothing.
    :param matches: what is told to be unused is taken back from that token alone.
    :param sends: a result without an answer is sent by itself.
    """

    def __init__(
        self,
        *,
        once: bool = True,
        tells: bool = True,
        asking: bool = True,
        effective: bool = True,
        sure: bool = True,
        matches: bool = True,
        sends: bool = True,
        most_faults: int = 3,
    ) -> None:
        self._sure = sure
        self._once, self._tells, self._asking = once, tells, asking
        self._effective, self._matches, self._sends = effective, matches, sends
        self._most_faults = most_faults

    def begin(self) -> Place:
        return Place()

    def wrong(self, state: Place) -> str | None:
        attempts = [attempt for attempt, _ in state.runs]
        if len(attempts) != len(set(attempts)):
            return "an attempt ran twice"
        if len(attempts) > 1:
            return "what is not safe to rerun ran twice"
        if state.ended == "lost" and not state.given_up:
            return "it is lost although its executor lives"
        if state.offer and state.token:
            return "what was granted is offered"
        return None

    def over(self, state: Place) -> bool:
        return bool(state.ended) and not state.question and not state.result

    def steps(self, state: Place) -> Iterator[Step[Place]]:
        yield from self._engine(state)
        yield from self._executor(state)
        yield from self._helper(state)
        if state.faults < self._most_faults:
            for step in self._faults(state):
                after = step.after._replace(faults=state.faults + 1)
                yield Step(step.name, after, fault=True)

    # -- Engines --------------------------------------------------------------

    def _engine(self, state: Place) -> Iterator[Step[Place]]:
        if state.question:
            heard = state._replace(question=state.question - 1)
            for given in (True, False):
                after = self._applied(heard, give=given)
                name = "the turn of the question grants" if given else "it does not"
                yield Step(name, after)
        if state.result:
            heard = self._applied(state._replace(result=False), give=False)
            answer = state.answer
            yield Step("the turn of the result", heard._replace(answer=answer))
        if state.token != "asked" or state.ended:
            return
        if state.life != "up":
            lost = state._replace(ended="lost", given_up=True)
            yield Step("the engine gives the executor up", lost)
        elif self._is_missing(state):
            yield Step("beats do not list it", state._replace(ended="lost"))

    def _applied(self, state: Place, *, give: bool) -> Place:
        answer: int | None = 0
        if not state.stored:
            state = state._replace(stored=True, offer=True)
            fresh = True
        else:
            fresh = not self._effective and state.offer
            # As without an answer: it is an error.
            answer = state.answer if self._sure else 0
        if give and fresh:
            answer = state.attempt
            state = state._replace(offer=False, token="asked")
        return state._replace(answer=answer)

    def _is_missing(self, state: Place) -> bool:
        """Granted long ago, and neither asked for nor run, nor told to be unused."""
        if (state.attempt, "asker") in state.runs:
            return False
        listed = {"open": self._asking, "closed": self._tells}
        return not listed.get(state.asker, False)

    # -- The one that asks ----------------------------------------------------

    def _executor(self, state: Place) -> Iterator[Step[Place]]:
        if state.life == "stopped":
            yield Step("the asker goes on", state._replace(life="up"))
        if state.life != "up":
            return
        usable = state.asker == "open" or not self._once
        if state.answer is not None and usable:
            runs = state.runs
            if state.answer:
                runs = (*runs, (state.answer, "asker"))
            heard = state._replace(answer=None, runs=runs, asker="done")
            yield Step("the asker hears the answer", heard)
        if state.asker == "open":
            closed = state._replace(asker="closed", result=self._sends)
            yield Step("the asker has waited in vain", closed)
        if state.asker == "closed" and self._tells:
            yield Step("a beat tells of the token", self._told(state))
        ran = (state.attempt, "asker") in state.runs
        if ran and state.token == "asked" and not state.ended:
            yield Step("the asker ends", state._replace(ended="success"))

    def _told(self, state: Place) -> Place:
        mine = state.token == "asked" or (not self._matches and state.token)
        if not mine or state.ended or state.attempt == MOST_ATTEMPTS:
            return state
        return state._replace(token="", offer=True, attempt=state.attempt + 1)

    # -- Another one ----------------------------------------------------------

    def _helper(self, state: Place) -> Iterator[Step[Place]]:
        if state.offer:
            runs = (*state.runs, (state.attempt, HELPER))
            begun = state._replace(offer=False, token=HELPER, runs=runs)
            yield Step("another executor claims it", begun)
        if state.token == HELPER and not state.ended:
            yield Step("the other executor ends", state._replace(ended="success"))

    # -- What goes wrong ------------------------------------------------------

    def _faults(self, state: Place) -> Iterator[Step[Place]]:
        if state.question == 1:
            doubled = state._replace(question=2)
            yield Step("the broker doubles the question", doubled)
            # Who has asked must send the result by itself then.
            yield Step("the question is lost", state._replace(question=0))
        if state.answer is not None:
            yield Step("the answer is lost", state._replace(answer=None))
        if state.life == "up":
            yield Step("the asker is stopped", state._replace(life="stopped"))
        if state.life != "down":
            # A result that was not applied goes with it; its own action is lost then.
            dead = state._replace(life="down", answer=None)
            if not state.stored:
                dead = dead._replace(result=True)
            yield Step("the asker is killed", dead)
