"""What the tests of expressions share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes import MemoryFacts

from mistral.expressions.evaluate import Evaluator
from mistral.expressions.facts import View

ALLOWED_SECONDS = 2.0


@pytest.fixture(scope="session")
def evaluator() -> Evaluator:
    return Evaluator()


@pytest.fixture
def facts() -> MemoryFacts:
    return MemoryFacts(
        environment={"e": 1},
        this_execution={
            "id": "x1",
            "name": "wf",
            "input": {"i": 1},
            "params": {},
            "spec": {"name": "wf"},
            "created_at": "2020-01-02 03:04:05",
            "updated_at": None,
            "root_execution_id": None,
        },
        execution_rows=[
            {
                "id": "x1",
                "state": "RUNNING",
                "created_at": "2020-01-02 03:04:05",
                "root_execution_id": None,
            },
            {
                "id": "x2",
                "state": "ERROR",
                "created_at": "2020-01-03 03:04:05",
                "root_execution_id": "x1",
            },
        ],
        task_rows=[
            {"id": "t1", "name": "a", "state": "ERROR", "result": {"n": 1}},
            {"id": "t2", "name": "b", "state": "SUCCESS", "result": [1, 2]},
            {"id": "t3", "name": "a", "state": "SUCCESS", "result": {"n": 3}},
        ],
        current_task="t2",
        variables={"g": [1]},
    )


Evaluate = Callable[..., Any]


@pytest.fixture
def run(evaluator: Evaluator, facts: MemoryFacts) -> Evaluate:
    """``run(tree, **variables)``."""

    def evaluate(tree: Any, **variables: Any) -> Any:
        return evaluator.evaluate(tree, View(variables, facts))

    return evaluate


@pytest.fixture
def stopwatch() -> Iterator[None]:
    """The watchdog: fails a test that holds its thread for too long."""
    began = time.thread_time()
    yield
    assert time.thread_time() - began < ALLOWED_SECONDS
