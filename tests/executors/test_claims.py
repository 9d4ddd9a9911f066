"""A call is an offer; a claim starts it (ENG-236, ENG-237)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from fakes import FakeClock, RecordingBus

from mistral.errors import Unavailable
from mistral.executors.claims import FEWEST_ASKED, MOST_ASKED, QUICK, Claims
from mistral.messages import Batch, CallAction, ClaimAction, Message, decode


class Bench:
    def __init__(self) -> None:
        self.bus = RecordingBus()
        self.clock = FakeClock()
        tokens = itertools.count(1)
        self.claims = Claims(
            self.bus, "ex1", lambda: f"token-{next(tokens)}", self.clock, 30
        )

        self.begun: list[CallAction] = []

    def ask(self, limit: int = 5) -> list[CallAction]:
        """What the engine lets run of so many offers."""
        self.begun.clear()
        count = self.claims.ask(lambda: limit, self.begun.append)
        assert count == len(self.begun)
        return list(self.begun)

    def asked(self) -> list[list[ClaimAction]]:
        """The claims of each question so far."""
        questions = []
        for message in self.bus.called:
            assert isinstance(message, Batch)
            questions.append([decode(event) for event in message.events])
        return questions  # type: ignore[return-value]


def call(action_id: str, attempt: int = 1) -> CallAction:
    return CallAction(run_id="r", action_id=action_id, attempt=attempt)


def test_offers_are_claimed_in_groups_of_what_can_run() -> None:
    bench = Bench()
    offers = bench.claims.add([call("a"), call("b"), call("c")])
    bench.bus.answers = [[True, False]]
    assert bench.ask(2) == [call("a")]
    assert [offer.settled.is_set() for offer in offers] == [True, True, False]
    assert [
        (c.action_id, c.attempt, c.token, c.executor_id) for c in bench.asked()[0]
    ] == [("a", 1, "token-1", "ex1"), ("b", 1, "token-2", "ex1")]


def test_a_refused_claim_is_forgotten() -> None:
    bench = Bench()
    [offer] = bench.claims.add([call("a")])
    bench.bus.answers = [[False]]
    assert bench.ask() == []
    assert offer.settled.is_set()
    assert not offer.handed_back
    assert len(bench.claims) == 0


def test_the_same_offer_twice_is_one_claim() -> None:
    bench = Bench()
    first = bench.claims.add([call("a")])
    second = bench.claims.add([call("a"), call("a", attempt=2)])
    assert first[0] is second[0]
    bench.bus.answers = [[True, True]]
    assert bench.ask() == [call("a"), call("a", attempt=2)]


@pytest.mark.parametrize("no_answer", [Unavailable("lost"), [], [True, True], None])
def test_without_an_answer_the_same_token_asks_again(no_answer: Any) -> None:
    bench = Bench()
    [offer] = bench.claims.add([call("a")])
    bench.bus.answers = [no_answer, [True]]
    with pytest.raises(Unavailable):
        bench.ask()
    assert not offer.settled.is_set()
    assert bench.ask() == [call("a")]
    first, second = bench.asked()
    assert first[0].token == second[0].token


def test_a_new_receipt_has_a_new_token() -> None:
    bench = Bench()
    bench.bus.answers = [[False], [False]]
    for _ in range(2):
        bench.claims.add([call("a")])
        bench.ask()
    first, second = bench.asked()
    assert first[0].token != second[0].token


def test_a_yes_that_is_too_old_is_asked_for_again() -> None:
    bench = Bench()
    answers = iter([([True], 31), ([True], 1)])

    def slow(message: object) -> list[bool]:
        answer, seconds = next(answers)
        bench.clock.advance(seconds)
        return answer

    bench.bus.serve(bench.bus.engine_topic, slow)
    [offer] = bench.claims.add([call("a")])
    assert bench.ask() == []
    assert not offer.settled.is_set()
    assert bench.ask() == [call("a")]


def test_the_next_answer_is_waited_for_longer() -> None:
    """An engine that is slow must not be asked for ever and never be heard."""
    bench = Bench()
    bench.claims.add([call("a")])
    waits: list[float] = []

    def note(message: Message, *, timeout: float | None = None) -> Any:
        waits.append(timeout or 0.0)
        if len(waits) in (8, 9):
            return [False]
        raise Unavailable("Timed out")

    bench.bus.call = note  # type: ignore[method-assign,assignment]
    for _ in range(7):
        with pytest.raises(Unavailable):
            bench.ask()
    bench.ask()
    assert waits == [4, 6, 9, 13.5, 20.25, 30, 30, 30]
    bench.claims.add([call("b")])
    bench.ask()
    assert waits[-1] == 4
    bench.claims.hurry(3)
    bench.claims.add([call("c")])
    with pytest.raises(Unavailable):
        bench.ask()
    assert waits[-1] == 3


def test_offers_go_back_unless_the_engine_was_asked() -> None:
    bench = Bench()
    asked, unasked = bench.claims.add([call("a"), call("b")])
    with pytest.raises(Unavailable):
        bench.ask(1)
    assert not bench.claims.hand_back(asked)
    assert bench.claims.hand_back(unasked)
    assert unasked.settled.is_set()
    assert unasked.handed_back
    assert bench.claims.hand_back_all() == 1
    assert asked.handed_back


def offers(project: str, count: int) -> list[CallAction]:
    return [
        CallAction(
            run_id="r", action_id=f"{project}{n}", security={"project_id": project}
        )
        for n in range(count)
    ]


def test_beside_others_a_flood_asks_as_much_as_is_answered_quickly() -> None:
    bench = Bench()
    seconds = iter([0.01, 0.01, 0.01, 0.01, 2 * QUICK, 2 * QUICK, 0.01])

    def answer(message: Batch) -> list[bool]:
        bench.clock.advance(next(seconds))
        return [True] * len(message.events)

    bench.bus.serve(bench.bus.engine_topic, answer)  # type: ignore[arg-type]
    bench.claims.add([*offers("loud", 300), *offers("quiet", 1)])
    sizes = [len(bench.ask(limit=100)) for _ in range(7)]
    most = [FEWEST_ASKED * 2**n for n in range(4)]
    assert most[-1] == MOST_ASKED
    assert sizes == [*most, MOST_ASKED, MOST_ASKED // 2, MOST_ASKED // 4]
    assert "quiet0" in {c.action_id for c in bench.asked()[0]}


def test_a_project_alone_asks_much_however_long_it_takes() -> None:
    bench = Bench()

    def answer(message: Batch) -> list[bool]:
        bench.clock.advance(2 * QUICK)
        return [True] * len(message.events)

    bench.bus.serve(bench.bus.engine_topic, answer)  # type: ignore[arg-type]
    bench.claims.add(offers("alone", 200))
    assert [len(bench.ask(limit=100)) for _ in range(3)] == [MOST_ASKED] * 3


def test_nothing_waits_nothing_is_asked() -> None:
    bench = Bench()
    assert bench.ask() == []
    assert bench.bus.called == []


def test_an_offer_is_listed_as_asked_until_it_has_begun() -> None:
    """A beat finds it there or among what runs, at each moment in between."""
    bench = Bench()
    bench.claims.add([call("a"), call("b"), call("c")])
    assert bench.claims.asking() == ()
    with pytest.raises(Unavailable):
        bench.ask(2)
    assert bench.claims.asking() == ("token-1", "token-2"), "it may be a yes"
    seen = []
    bench.bus.answers = [[True, False]]
    bench.claims.ask(lambda: 2, lambda call: seen.append(bench.claims.asking()))
    assert seen == [("token-1", "token-2")]
    assert bench.claims.asking() == ()


def test_an_offer_that_did_not_begin_is_asked_for_again() -> None:
    bench = Bench()
    [offer] = bench.claims.add([call("a")])
    bench.bus.answers = [[True], [True]]

    def fail(call: CallAction) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.raises(RuntimeError):
        bench.claims.ask(lambda: 5, fail)
    assert not offer.settled.is_set()
    assert bench.ask() == [call("a")]
