"""An executor dies at each of its steps, alone and with an engine or another executor
after it: nothing is lost, what is not safe to rerun runs once at most and says what
became of it, and what is safe runs at least once (ENG-210, ENG-211, ENG-236, ENG-238).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cells import CELLS, Cell
from house import CALLER
from mortals import ENGINE_STEPS, EXECUTOR_STEPS, Mortals, Place

from mistral.db import models
from mistral.messages import StartWorkflow

WORKFLOW = """
version: '2.0'
w:
  tasks:
    safe:
      with-items: i in <% range(2) %>
      action: std.test_dict size=<% $.i %> key_prefix='k' val='v'
      safe-rerun: true
      on-complete: meet
    once:
      action: std.test_dict size=1 key_prefix='k' val='v'
      on-success: meet
      on-error: meet
    tried:
      action: std.test_dict size=1 key_prefix='k' val='v'
      retry: {count: 5, delay: 1}
      on-complete: meet
    first:
      action: std.test_dict size=1 key_prefix='k' val='v'
      on-success: second
      on-error: second
    second:
      action: std.test_dict size=2 key_prefix='k' val='v'
      on-success: third
      on-error: third
    third:
      action: std.test_dict size=3 key_prefix='k' val='v'
      on-success: meet
      on-error: meet
    meet: {join: all, action: std.noop}

chain:
  tasks:
    first: {action: std.test_dict size=1 key_prefix='k' val='v', on-success: second}
    second: {action: std.test_dict size=2 key_prefix='k' val='v', on-success: third}
    third: {action: std.test_dict size=3 key_prefix='k' val='v'}
"""

PAIRS = 12

# A thread of a dead executor, in which an action runs, ends with it.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)


@pytest.fixture(params=CELLS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mortals]:
    cell: Cell = request.param
    with cell.world(Mortals, tmp_path) as world:
        world.upload(WORKFLOW)
        yield world


def _succeeds(world: Mortals, name: str, *places: Place) -> tuple[str, str]:
    """A run in which whoever takes these steps dies; its id, and what died."""
    world.begin_anew(*places)
    run_id = world.new_id()
    world.told(
        StartWorkflow(
            run_id=run_id,
            workflow_name=name,
            request_id=world.new_id(),
            context=CALLER.to_dict(),
        )
    )
    header = world.lives(run_id)
    about = f"died at {places}: {world.died}"
    assert header["state"] == "SUCCESS", about
    return run_id, about


def live(world: Mortals, *places: Place) -> list[Place]:
    """A run in which whoever takes these steps dies; answers all that were taken."""
    run_id, about = _succeeds(world, "w", *places)
    found = world.rows(models.action_executions, workflow_execution_id=run_id)
    _judge(world, found, world.tasks(run_id), about)
    assert world.rows(models.poison) == [], about
    assert world.examined() == [], about
    return world.places()


def chain(world: Mortals, *places: Place) -> list[Place]:
    """The same for actions that follow each other; nothing is lost with an engine."""
    run_id, about = _succeeds(world, "chain", *places)
    assert sorted(world.ran.values()) == [1, 1, 1], about
    found = world.rows(models.action_executions, workflow_execution_id=run_id)
    assert {row["id"] for row in found} == set(world.ran), about
    assert world.rows(models.poison) == [], about
    assert world.examined() == [], about
    return world.places()


def _judge(
    world: Mortals, found: list[dict[str, Any]], states: dict[str, str], about: str
) -> None:
    lost = []
    for action in found:
        if action["task_name"] == "meet":
            # It is inline: the engine's.
            continue
        times, safe = world.ran[action["id"]], action["task_name"] == "safe"
        assert times >= (action["state"] == "SUCCESS"), about
        assert safe or times <= 1, f"{about}: done twice"
        if action["state"] == "ERROR":
            assert not safe, about
            said = action["output"]["result"]
            assert said.startswith("Heartbeat wasn't received. [executor="), said
            lost.append(action["task_name"])
    assert (states["safe"], states["tried"], states["meet"]) == ("SUCCESS",) * 3, about
    assert states["once"] == ("ERROR" if "once" in lost else "SUCCESS"), about
    assert not lost or any(step in EXECUTOR_STEPS for step in world.died), about


def test_eng_238_an_executor_that_dies_at_any_step_loses_and_repeats_nothing(
    world: Mortals,
) -> None:
    seen = live(world)
    died: set[str] = set()
    for step, before in seen:
        if step in EXECUTOR_STEPS:
            live(world, (step, before))
            died.update(world.died)
    assert died == EXECUTOR_STEPS


def test_an_engine_that_dies_while_it_grants_what_follows_loses_nothing(
    world: Mortals,
) -> None:
    """Decision 0048: what was granted, and is not known to have been received, is
    offered again, although nothing here is safe to rerun."""
    chain(world)
    seen = chain(world)
    claims = [step for step, _ in seen if step == "executor claimed"]
    assert len(claims) == 1, "what follows the first is granted without a claim"
    died: set[str] = set()
    again = 0
    for step, before in seen:
        if step in ENGINE_STEPS:
            chain(world, (step, before))
            died.update(world.died)
            found = world.rows(models.action_executions)
            again = max(again, *(row["attempt"] for row in found))
    assert {"engine committed", "engine delivered", "engine answered"} <= died
    assert again == 2, "something was granted and offered again"


def test_a_second_death_in_the_midst_of_the_recovery_changes_nothing(
    world: Mortals,
) -> None:
    """Pairs of steps, of engines and executors, drawn by a seed."""
    seen = live(world)
    chance = random.Random(35)
    died = []
    for _ in range(PAIRS):
        live(world, *chance.sample(seen, 2))
        died.append(tuple(world.died))
    assert any(len(pair) == 2 for pair in died)
    assert {step for pair in died for step in pair} & ENGINE_STEPS
