"""Every order of steps and faults of the small models; each guard is needed.

``doc/concurrency.rst``, "The model". A guard that is taken away leads to a mistake
that the search finds: so it would find it if the guard were missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from protocol.asks import Asks
from protocol.calls import Calls
from protocol.checker import Step, search
from protocol.claims import Claims
from protocol.deletions import Deletions
from protocol.turns import Turns

MORE = [Turns(most_faults=6), Calls(most_faults=4), Calls(safe=True)]


@pytest.mark.parametrize(
    "model",
    [
        Turns(),
        Calls(),
        Calls(safe=True, most_faults=1),
        Deletions(),
        Claims(),
        Claims("cancelled"),
        Asks(),
        *(pytest.param(model, marks=pytest.mark.thorough) for model in MORE),
    ],
)
def test_nothing_goes_wrong(model: Any) -> None:
    """ENG-235, ENG-236: nothing is lost, nothing happens twice, nothing is stuck."""
    found = search(model)
    assert found.mistake is None, str(found)
    assert found.states > 10


WITHOUT = [
    (Turns(look=False), "the event was applied twice"),
    (Turns(lock=False), "the event was applied twice"),
    (Turns(sweep=False), "it is stuck"),
    (Calls(claims=False), "an attempt ran twice"),
    (Calls(tokens=False), "it is stuck"),
    (Calls(safe=True, attempts=False), "an attempt ran twice"),
    (Calls(resends=False), "it is stuck"),
    (Calls(holds=False), "it is stuck"),
    (Calls(beats=False), "it is stuck"),
    (Calls(sweeps=False), "it is stuck"),
    (Deletions(keeps_news=False), "it is stuck"),
    (Claims(locks=False), "two run the action"),
    (Claims(looks=False), "somebody runs what nobody took"),
    (Asks(once=False), "what is not safe to rerun ran twice"),
    (Asks(tells=False), "it is lost although its executor lives"),
    (Asks(asking=False), "it is lost although its executor lives"),
    (Asks(effective=False), "it is lost although its executor lives"),
    (Asks(sure=False), "it is lost although its executor lives"),
    (Asks(matches=False), "what is not safe to rerun ran twice"),
    (Asks(sends=False), "it is stuck"),
]


@pytest.mark.parametrize(("model", "mistake"), WITHOUT)
def test_each_guard_is_needed(model: Any, mistake: str) -> None:
    found = search(model)
    assert found.mistake == mistake, str(found)


class _Counter:
    """Counts to three; ``leap`` may be taken over the end."""

    def __init__(self, *, leap: bool = False, fault: bool = False) -> None:
        self._leap, self._fault = leap, fault

    def begin(self) -> int:
        return 0

    def steps(self, state: int) -> Iterator[Step[int]]:
        if state < 3:
            yield Step("one more", state + 1, fault=self._fault)
        if self._leap and state == 1:
            yield Step("leap", 5)

    def wrong(self, state: int) -> str | None:
        return "too far" if state > 6 else None

    def over(self, state: int) -> bool:
        return state == 3


def test_the_search_itself() -> None:
    assert search(_Counter()).mistake is None
    found = search(_Counter(leap=True))
    assert (found.mistake, found.way) == ("it is stuck", ("one more", "leap"))
    assert search(_Counter(fault=True)).mistake == "it is stuck"
    with pytest.raises(RuntimeError, match="more than 2 states"):
        search(_Counter(), most=2)
