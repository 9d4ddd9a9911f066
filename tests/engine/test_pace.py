"""How much one turn takes (``mistral/engine/pace.py``), and of what."""

from __future__ import annotations

import pytest
from fakes import FakeClock

from mistral.engine.intake import TURN, Intake, Waiting
from mistral.engine.pace import (
    FEWEST,
    LONGEST_DECIDING,
    SHORT_DECIDING,
    SHORT_TURN,
    Pace,
)
from mistral.fair_queue import LATELY
from mistral.messages import ActionFinished, StartWorkflow


class Turns:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pace = Pace(self.clock)

    def take(self, *projects: str, seconds: float) -> None:
        """A turn with an event of each."""
        batch = [
            Waiting(ActionFinished(run_id="r", action_id="a"), project=project)
            for project in projects
        ]
        begun = self.clock.monotonic()
        self.clock.advance(seconds)
        self.pace.took(batch, begun)


@pytest.mark.parametrize(
    "projects", [["p"], ["p", ""], ["p", "q"], ["p", "p", "q", "q", "r"]]
)
def test_turns_are_large_where_nobody_floods(projects: list[str]) -> None:
    turns = Turns()
    for _ in range(20):
        turns.take(*projects, seconds=1.0)
    assert turns.pace.most() == TURN
    assert turns.pace.deciding() == LONGEST_DECIDING


def test_turns_are_short_where_one_project_floods_the_others() -> None:
    turns = Turns()
    for _ in range(40):
        turns.take(*["loud"] * 9, "quiet", seconds=SHORT_TURN / 2)
    assert turns.pace.most() in (19, 20)
    assert turns.pace.deciding() == SHORT_DECIDING
    for _ in range(40):
        turns.take(*["loud"] * 9, "quiet", seconds=1.0)
    assert turns.pace.most() == FEWEST
    for _ in range(3):
        turns.take("loud", seconds=LATELY)
    assert turns.pace.most() == TURN


def test_what_goes_on_is_decided_before_what_begins() -> None:
    """Of one project: a flood of starts does not keep its own results waiting."""
    intake = Intake()
    intake.know({"old": "p"})
    for number in range(20):
        start = StartWorkflow(run_id=f"new{number}", context={"project_id": "p"})
        intake.put(start)
    intake.put(ActionFinished(run_id="old", action_id="a"))
    intake.put(StartWorkflow(run_id="other", context={"project_id": "q"}))
    taken = [(each.key, each.project) for each in intake.take(3)]
    assert taken == [("old", "p"), ("other", "q"), ("new0", "p")]


def test_what_begins_is_not_put_off_for_ever() -> None:
    intake = Intake()
    intake.know({f"old{number}": "p" for number in range(100)})
    intake.put(StartWorkflow(run_id="new", context={"project_id": "p"}))
    for number in range(100):
        intake.put(ActionFinished(run_id=f"old{number}", action_id="a"))
    assert "new" in [each.key for each in intake.take(10)]


def test_a_start_that_an_outbox_row_promised_has_begun_already() -> None:
    intake = Intake()
    for number in range(3):
        intake.put(StartWorkflow(run_id=f"new{number}", context={"project_id": "p"}))
    intake.put(StartWorkflow(run_id="child", context={"project_id": "p"}), "row")
    assert [each.key for each in intake.take(1)] == ["child"]
