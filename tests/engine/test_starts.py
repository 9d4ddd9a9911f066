"""Starts that travel in one message (``mistral/engine/starts.py``; decision 0050)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from fakes import FakeClock
from house import CALLER, House
from sqlalchemy import func, select

from mistral.clock import SystemClock
from mistral.db import models
from mistral.engine.intake import Answer, Intake, Waiting
from mistral.engine.starts import GRACE_SECONDS, Starts
from mistral.engine.steps import Step
from mistral.errors import BadRequest, NotFound, Unavailable, from_wire, mark_outage
from mistral.messages import (
    PauseWorkflow,
    StartTogether,
    StartWorkflow,
    encode,
)

SECONDS = 60

FLOWS = """
version: '2.0'
one:
  input: [n]
  tasks:
    t: {action: std.noop}
above:
  tasks:
    t: {workflow: below}
below:
  tasks:
    t: {action: std.noop}
"""


@pytest.fixture
def flows(house: House) -> House:
    house.upload(FLOWS)
    return house


def start(house: House, name: str = "one", **input: Any) -> StartWorkflow:
    return StartWorkflow(
        run_id=house.new_id(),
        workflow_name=name,
        input=input or ({"n": 1} if name == "one" else {}),
        request_id=house.new_id(),
        context=CALLER.to_dict(),
    )


def travelling(starts: Sequence[StartWorkflow]) -> StartTogether:
    return StartTogether(requests=tuple(encode(each) for each in starts))


def asked(house: House, *messages: StartTogether) -> list[Any]:
    """The answers to these, all of which are asked at the same time."""
    with ThreadPoolExecutor(len(messages)) as pool:
        answers = [pool.submit(house.call, message) for message in messages]
        while not all(answer.done() for answer in answers):
            house.engine.loop.run_once(timeout=0.01)
    return [answer.result() for answer in answers]


def count(house: House, column: Any) -> int:
    with house.database.read() as connection:
        found: int = connection.execute(
            select(func.count(column.distinct()))
        ).scalar_one()
        return found


def test_one_turn_decides_all_of_them(flows: House) -> None:
    turns: list[Step] = []
    flows.reached = lambda step: turns.append(step) if step is Step.COMMITTED else None
    starts = [start(flows, n=number) for number in range(12)]
    [answers] = asked(flows, travelling(starts))
    assert answers == [{"answer": {"id": each.run_id}} for each in starts]
    assert len(turns) == 1
    for number, each in enumerate(starts):
        header = flows.header(each.run_id)
        assert (header["state"], header["input"]) == ("SUCCESS", {"n": number})


def test_each_is_refused_by_itself(flows: House) -> None:
    good, nameless, wrong = start(flows), start(flows, "none"), start(flows, m=1)
    [answers] = asked(flows, travelling([nameless, good, wrong]))
    assert answers[1] == {"answer": {"id": good.run_id}}
    for refused, answer in ((nameless, answers[0]), (wrong, answers[2])):
        with pytest.raises(type(from_wire(answer["error"]))) as alone:
            flows.ask(refused)
        assert from_wire(answer["error"]).message == alone.value.message
    assert isinstance(from_wire(answers[0]["error"]), NotFound)


def test_what_is_asked_for_again_is_started_once(flows: House) -> None:
    """The answer was lost: all of them come again, together or by themselves."""
    starts = [start(flows, n=number) for number in range(5)]
    message = travelling(starts)
    expected = [{"answer": {"id": each.run_id}} for each in starts]
    assert asked(flows, message, message) == [expected, expected]
    assert asked(flows, message) == [expected]
    assert flows.ask(starts[0]) == {"id": starts[0].run_id}
    assert count(flows, models.workflow_executions.c.id) == len(starts)
    assert count(flows, models.handled.c.request_id) == len(starts)


def test_the_runs_below_have_followed(flows: House) -> None:
    above = start(flows, "above")
    [answers] = asked(flows, travelling([above, start(flows)]))
    assert answers[0] == {"answer": {"id": above.run_id}}
    assert count(flows, models.workflow_executions.c.id) == 3


class Desk:
    """Starts that are decided by hand."""

    def __init__(self, house: House, answer_seconds: float = SECONDS) -> None:
        self.house = house
        self.intake = Intake()
        self.starts = Starts(self.intake, SystemClock(), answer_seconds)
        self.pool = ThreadPoolExecutor(1)

    def ask(self, number: int) -> tuple[Future[Any], list[Waiting]]:
        """The answer, and what has come to the intake."""
        message = travelling([start(self.house) for _ in range(number)])
        answer = self.pool.submit(self.starts.answer, message)
        return answer, self.intake.take(timeout=SECONDS)


def test_one_that_takes_longer_keeps_no_other(house: House) -> None:
    desk = Desk(house)
    answer, found = desk.ask(3)
    found[2].answer.set_result("third")
    found[0].answer.set_exception(NotFound("no"))
    told = answer.result(SECONDS)
    assert isinstance(from_wire(told[0]["error"]), NotFound)
    assert told[1:] == [{"later": True}, {"answer": "third"}]


def test_who_is_nearly_ready_is_waited_for(house: House) -> None:
    """Where the first took long the others have as long again."""
    clock = FakeClock()
    intake = Intake()
    starts = Starts(intake, clock, SECONDS)
    pool = ThreadPoolExecutor(1)
    message = travelling([start(house), start(house)])
    answer = pool.submit(starts.answer, message)
    first, second = intake.take(timeout=SECONDS)
    clock.advance(SECONDS)
    first.answer.set_result("first")
    with pytest.raises(TimeoutError):
        # longer than is waited at least
        answer.result(2 * GRACE_SECONDS)
    second.answer.set_result("second")
    assert answer.result(SECONDS) == [{"answer": "first"}, {"answer": "second"}]


def test_runs_below_are_waited_for_as_long_as_the_others(house: House) -> None:
    clock, intake, follows = FakeClock(), Intake(), Answer()
    pool = ThreadPoolExecutor(1)
    message = travelling([start(house)])
    answer = pool.submit(Starts(intake, clock, SECONDS).answer, message)
    [found] = intake.take(timeout=SECONDS)
    clock.advance(SECONDS)
    found.answer.follows = (follows,)
    found.answer.set_result("above")
    with pytest.raises(TimeoutError):
        answer.result(2 * GRACE_SECONDS)
    follows.set_result("below")
    assert answer.result(SECONDS) == [{"answer": "above"}]


def test_errors_that_are_none_of_ours_say_nothing(house: House) -> None:
    desk = Desk(house)
    answer, found = desk.ask(2)
    away = OSError("host=secret")
    mark_outage(away)
    found[0].answer.set_exception(away)
    found[1].answer.set_exception(ValueError("secret"))
    told = [from_wire(each["error"]) for each in answer.result(SECONDS)]
    assert [each.code for each in told] == ["unavailable", "bug"]
    assert not any("secret" in each.message for each in told)


def test_nobody_answers_in_time(house: House) -> None:
    desk = Desk(house, answer_seconds=0.0)
    answer, _ = desk.ask(2)
    with pytest.raises(Unavailable, match="in time"):
        answer.result(SECONDS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "PauseWorkflow", "run_id": "r", "request_id": "q"},
        {"kind": "NotInventedYet", "run_id": "r", "request_id": "q"},
        {"kind": "StartWorkflow", "run_id": "r"},
        {"kind": "StartWorkflow", "request_id": "q"},
        {},
    ],
)
def test_only_starts_travel_together(flows: House, wrong: dict[str, Any]) -> None:
    good = encode(start(flows))
    with pytest.raises(BadRequest, match="not started together"):
        flows.call(StartTogether(requests=(good, wrong)))
    assert len(flows.engine.intake) == 0


def test_an_intake_that_is_full_takes_none_of_them() -> None:
    intake = Intake(limit=2)
    events = [PauseWorkflow(run_id=name) for name in "abc"]
    assert len(intake.put_all(events)) == 3, "there was room"
    with pytest.raises(Unavailable, match="too much"):
        intake.put_all(events)
    assert [each.key for each in intake.take()] == ["a", "b", "c"]
    intake.close()
    with pytest.raises(Unavailable, match="stopping"):
        intake.put_all(events)


def test_projects_take_turns_at_what_came_together() -> None:
    intake = Intake()

    def of(project: str, *names: str) -> list[StartWorkflow]:
        context = {"project_id": project}
        return [StartWorkflow(run_id=name, context=context) for name in names]

    intake.put_all(of("flood", "f1", "f2", "f3", "f4"))
    intake.put_all(of("quiet", "q1"))
    assert [each.key for each in intake.take(most=3)] == ["f1", "q1", "f2"]


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_no_turn_takes_some_before_the_others_are_here() -> None:
    for _ in range(50):
        intake = Intake()
        with ThreadPoolExecutor(1) as pool:
            taken = pool.submit(intake.take, timeout=SECONDS)
            intake.put_all([StartWorkflow(run_id=str(n)) for n in range(200)])
            assert len(taken.result(SECONDS)) == 200
