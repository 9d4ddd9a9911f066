"""What fails in a turn stays alone: poison, and connections lost at a commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from house import CALLER, House
from small_flows import HELD, ONE
from sqlalchemy import text, update
from sqlalchemy.exc import OperationalError

from mistral.db import models
from mistral.db.database import Database
from mistral.errors import Bug
from mistral.messages import PauseWorkflow

TWO = """
version: '2.0'
two:
  tasks:
    a:
      action: std.sleep seconds=1
    b:
      action: std.sleep seconds=2
"""

LARGE = """
version: '2.0'
large:
  tasks:
    t: {action: std.sleep seconds=1, publish: {x: <% range(9000).toList() %>}}
"""


def _spoil(house: House, task_id: str) -> None:
    """A task whose stored state makes every decision about it fail."""
    with house.database.begin() as connection:
        table = models.task_executions
        connection.execute(
            update(table).where(table.c.id == task_id).values(state="NONSENSE")
        )


def test_poison_is_set_aside_and_neighbours_commit(house: House) -> None:
    """DESIGN § 3: poison stays alone."""
    house.upload(TWO)
    house.upload(HELD)
    house.hold.add("std.sleep")
    id, neighbour = house.start("two"), house.start("held")
    house.settle()
    calls = {call.run_id: [] for call in house.running}
    for call in house.running:
        calls[call.run_id].append(call)
    bad, good = calls[id]
    [row] = house.rows(models.action_executions, id=bad.action_id)
    _spoil(house, row["task_execution_id"])
    for call in (bad, good, *calls[neighbour]):
        house.finish(call, {"value": 1})
    house.turn()
    [poison] = house.rows(models.poison)
    assert poison["kind"] == "ActionFinished"
    assert poison["payload"]["action_id"] == bad.action_id
    assert house.header(neighbour)["state"] == "SUCCESS"
    [other] = house.rows(models.action_executions, id=good.action_id)
    assert other["state"] == "SUCCESS"
    assert "set aside" in house.header(id)["state_info"]


def test_a_request_that_is_poison_is_answered(house: House) -> None:
    house.upload(HELD)
    id = house.start("held")
    with house.database.begin() as connection:
        connection.execute(update(models.workflow_executions).values(state="NONSENSE"))
    with pytest.raises(Bug):
        house.ask(PauseWorkflow(run_id=id, request_id="p", context=CALLER.to_dict()))
    assert len(house.rows(models.poison)) == 1


class Flaky(Database):
    """Loses its connection when it is told to: before or after the commit."""

    fail_before = 0
    fail_after = 0

    def begin(self) -> Any:
        outer = super().begin()
        database = self

        class Wrapped:
            def __enter__(self) -> Any:
                return outer.__enter__()

            def __exit__(self, *error: Any) -> Any:
                if database.fail_before and error[0] is None:
                    database.fail_before -= 1
                    lost = _lost()
                    outer.__exit__(type(lost), lost, None)
                    raise lost
                result = outer.__exit__(*error)
                if database.fail_after and error[0] is None:
                    database.fail_after -= 1
                    raise _lost()
                return result

        return Wrapped()


def _lost() -> OperationalError:
    error = OperationalError("COMMIT", {}, Exception("gone"))
    error.connection_invalidated = True
    return error


@pytest.mark.parametrize("moment", ["fail_before", "fail_after"])
def test_a_connection_lost_at_commit_changes_nothing(
    tmp_path: Path, moment: str
) -> None:
    """DESIGN § 3, unclear commits: replayed if it is not there, else delivered."""
    house = House(tmp_path, database=Flaky)
    house.upload(ONE)
    setattr(house.database, moment, 1)
    id = house.start("one", {"size": 1})
    assert len(house.rows(models.workflow_executions)) == 1
    assert len(house.rows(models.outbox)) == 1
    house.settle()
    setattr(house.database, moment, 1)
    assert house.header(id)["state"] == "SUCCESS"
    assert len(house.rows(models.history)) == 2
    house.close()


@pytest.mark.parametrize("moment", ["fail_before", "fail_after"])
def test_what_waits_for_poison_ends_although_the_connection_is_lost(
    tmp_path: Path, moment: str
) -> None:
    """DESIGN § 3: an outage while it is set aside is waited for like any other."""
    house = House(tmp_path, database=Flaky)
    house.upload(LARGE)
    house.hold.add("std.sleep")
    id = house.start("large")
    house.settle()
    with house.database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE documents RENAME TO gone"))
    setattr(house.database, moment, 1)
    house.finish(house.running.pop())
    house.settle()
    assert [row["kind"] for row in house.rows(models.poison)] == ["ActionFinished"]
    assert house.header(id)["state"] == "ERROR"
    assert house.tasks(id) == {"t": "ERROR"}
    house.close()
