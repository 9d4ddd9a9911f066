"""Exhaustive search of a model's states."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True)
class Step(Generic[State]):
    """What can happen next.

    :param name: what it is, for the way to a mistake.
    :param fault: nobody can rely on it to happen; all else happens in the end.
    """

    name: str
    after: State
    fault: bool = False


class Model(Protocol[State]):
    """What is searched."""

    def begin(self) -> State: ...

    def steps(self, state: State) -> Iterable[Step[State]]: ...

    def wrong(self, state: State) -> str | None:
        """What no state may be, in words; None: it is right."""

    def over(self, state: State) -> bool:
        """Whether all that was promised has come true."""


@dataclass(frozen=True)
class Found:
    """What a search has seen.

    :param states: how many there are.
    :param mistake: the first one, in words; None: there is none.
    :param way: the shortest way to it, steps by name.
    """

    states: int
    mistake: str | None = None
    way: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n  ".join([f"{self.mistake} ({self.states} states)", *self.way])


def search(model: Model[State], most: int = 1_000_000) -> Found:
    """Every state that can be reached, the shortest ways first.

    Two kinds of mistakes: a state that is ``wrong``, and one from which the promised
    end cannot be reached any more without a further fault.

    :raises RuntimeError: there are more than ``most`` states.
    """
    first = model.begin()
    came: dict[State, tuple[State, str] | None] = {first: None}
    before: dict[State, list[State]] = {}
    over: list[State] = []
    waiting = deque([first])
    while waiting:
        state = waiting.popleft()
        mistake = model.wrong(state)
        if mistake is not None:
            return Found(len(came), mistake, _way(came, state))
        if model.over(state):
            over.append(state)
        for step in model.steps(state):
            if not step.fault:
                before.setdefault(step.after, []).append(state)
            if step.after not in came:
                came[step.after] = (state, step.name)
                waiting.append(step.after)
        if len(came) > most:
            raise RuntimeError(f"more than {most} states")
    ends = set(over)
    while over:
        for state in before.get(over.pop(), ()):
            if state not in ends:
                ends.add(state)
                over.append(state)
    for state in came:
        if state not in ends:
            return Found(len(came), "it is stuck", _way(came, state))
    return Found(len(came))


def _way(came: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    names: list[str] = []
    step = came[state]
    while step is not None:
        state, name = step
        names.append(name)
        step = came[state]
    return tuple(reversed(names))
