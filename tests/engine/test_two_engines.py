"""Two engines on one database: they share the work, and never wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cells import SERVERS, Cell
from house import CALLER, House
from sqlalchemy import event

from mistral.db import models, rows
from mistral.messages import ActionFinished, DeleteWorkflow, StartWorkflow, decode

pytestmark = pytest.mark.services

WORKFLOW = """
version: '2.0'
w:
  tasks:
    a: {action: std.sleep seconds=1, on-success: b}
    b: {description: x}
"""


@pytest.fixture(params=SERVERS)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    cell: Cell = request.param
    with cell.world(House, tmp_path) as house:
        yield house


def test_eng_242_a_turn_of_one_engine_holds_up_no_other(house: House) -> None:
    """What two engines do at the same time grows with their number: while one
    is in the middle of a turn, another decides about all other runs.

    How much more that is on a machine is measured:
    ``tools/bench/run quarter-engines-1 quarter-engines-2 --only dag``.
    """
    house.upload(WORKFLOW)
    house.hold.add("std.sleep")
    ids = [house.start("w") for _ in range(6)]
    house.settle()
    calls = {call.run_id: call for call in house.running}
    other = house.new_engine("two")
    busy, free = ids[0], ids[1:]
    with house.database.begin() as middle_of_a_turn:
        rows.lock_headers(middle_of_a_turn, [busy], skip_locked=False)
        for id in ids:
            call = calls[id]
            other.intake.put(
                ActionFinished(
                    run_id=id, action_id=call.action_id, attempt=call.attempt, result=1
                )
            )
        other.loop.run_once(timeout=0)
        assert {house.header(id)["state"] for id in free} == {"SUCCESS"}
        assert house.header(busy)["state"] == "RUNNING"
    while other.loop.run_once(timeout=0):
        continue
    assert house.header(busy)["state"] == "SUCCESS"


FAMILY = """
version: '2.0'
family: {tasks: {a: {workflow: child}}}
child: {tasks: {t: {action: std.sleep seconds=1}}}
"""


@pytest.mark.parametrize("moment", [0, 1, 2, 3])
def test_a_child_that_starts_while_its_parent_is_deleted_goes_too(
    house: House, moment: int
) -> None:
    """ENG-199: nothing is left, and nothing comes back.

    :param moment: statement of the deletion before which the other engine commits
        the start of the child.
    """
    house.upload(FAMILY)
    house.hold.add("std.sleep")
    parent = house.new_id()
    asked = StartWorkflow(
        run_id=parent, workflow_name="family", context=CALLER.to_dict()
    )
    house.put(asked)
    house.engine.loop.run_once(timeout=0)
    house.engine.intake.take()
    [row] = house.rows(models.outbox, kind="StartWorkflow")
    start = decode(row["payload"])
    assert isinstance(start, StartWorkflow)
    other = house.new_engine("two")
    other.intake.put(start, row["id"])
    deletions = 0

    def comes_between(*of: object) -> None:
        nonlocal deletions
        if str(of[2]).startswith("DELETE"):
            deletions += 1
            if deletions == moment + 1:
                other.loop.run_once(timeout=0)

    event.listen(house.database.engine, "before_cursor_execute", comes_between)
    house.ask(DeleteWorkflow(run_id=parent, force=True, request_id="gone"))
    event.remove(house.database.engine, "before_cursor_execute", comes_between)
    assert deletions > moment
    other.loop.run_once(timeout=0)
    for engine in (house.engine, other):
        house.engine = engine
        house.settle()
    house.advance(60)
    house.sweep()
    for table in ("workflow_executions", "task_executions", "outbox", "history"):
        assert house.rows(getattr(models, table)) == [], table
    assert house.examined() == []
