"""Names of events: the table of § 10.8."""

from __future__ import annotations

import pytest

from mistral.engine.core.notices import event_of, wants
from mistral.messages import State

STATES = [state.value for state in State]


@pytest.mark.parametrize(
    ("kind", "start", "to", "event"),
    [
        ("workflow", "IDLE", "RUNNING", "WORKFLOW_LAUNCHED"),
        ("workflow", "CANCELLED", "RUNNING", "WORKFLOW_LAUNCHED"),
        ("workflow", "PAUSED", "RUNNING", "WORKFLOW_RESUMED"),
        ("workflow", "ERROR", "RUNNING", "WORKFLOW_RERUN"),
        ("workflow", "RUNNING", "SUCCESS", "WORKFLOW_SUCCEEDED"),
        ("workflow", "RUNNING", "ERROR", "WORKFLOW_FAILED"),
        ("workflow", "PAUSED", "CANCELLED", "WORKFLOW_CANCELLED"),
        ("workflow", "RUNNING", "PAUSED", "WORKFLOW_PAUSED"),
        ("task", "IDLE", "RUNNING", "TASK_LAUNCHED"),
        ("task", "DELAYED", "RUNNING", "TASK_LAUNCHED"),
        ("task", "CANCELLED", "RUNNING", "TASK_LAUNCHED"),
        ("task", "PAUSED", "RUNNING", "TASK_RESUMED"),
        ("task", "WAITING", "RUNNING", "TASK_RESUMED"),
        ("task", "ERROR", "RUNNING", "TASK_RERUN"),
        ("task", "RUNNING", "SUCCESS", "TASK_SUCCEEDED"),
        ("task", "DELAYED", "ERROR", "TASK_FAILED"),
        ("task", "RUNNING", "CANCELLED", "TASK_CANCELLED"),
        ("task", "RUNNING", "PAUSED", "TASK_PAUSED"),
        ("task", "ERROR", "SKIPPED", "TASK_SKIPPED"),
    ],
)
def test_events_have_names(kind: str, start: str, to: str, event: str) -> None:
    assert event_of(kind, start, to) == event


def test_a_task_that_was_held_before_its_start_resumes() -> None:
    assert event_of("task", "IDLE", "RUNNING", True) == "TASK_RESUMED"


@pytest.mark.parametrize("start", STATES)
@pytest.mark.parametrize("to", ["IDLE", "WAITING", "DELAYED"])
def test_eng_233_nobody_is_told_of_waiting(start: str, to: str) -> None:
    assert event_of("task", start, to) is None
    assert event_of("workflow", start, to) is None


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ({}, True),
        ({"event_types": []}, True),
        ({"event_types": ["TASK_FAILED"]}, True),
        ({"event_types": ["TASK_SUCCEEDED"]}, False),
        ({"event_types": 7}, False),
    ],
)
def test_eng_231_event_types_choose(entry: dict[str, object], wanted: bool) -> None:
    assert wants(entry, "TASK_FAILED") is wanted
