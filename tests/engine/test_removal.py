"""What is too large for one transaction is deleted page by page (decision 0044)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cells import CELLS, SERVERS, Cell
from fakes import FakeClock
from house import CALLER, House
from rest import Service
from sqlalchemy import Connection, Table, select
from sqlalchemy import event as events

from mistral.db import models, removals
from mistral.engine.removal import LEAST, SHORT, RemovalSweep
from mistral.engine.store import AT_ONCE
from mistral.errors import Conflict, NotFound
from mistral.messages import (
    ActionFinished,
    ChildStarted,
    DeleteWorkflow,
    PauseWorkflow,
    StartWorkflow,
)

ITEMS = AT_ONCE + 50
FLOWS = f"""version: '2.0'
big:
  tasks:
    many: {{with-items: i in <% range({ITEMS}) %>, action: std.noop, on-success: meet}}
    kids: {{with-items: i in <% range(3) %>, workflow: kid, on-success: meet}}
    meet: {{join: all, action: std.echo, input: {{output: <% str(1) * 3000 %>}}, publish: {{v: <% task().result %>}}}}
kid: {{tasks: {{t: {{workflow: leaf}}}}}}
leaf: {{tasks: {{t: {{action: std.noop}}}}}}
open: {{tasks: {{many: {{with-items: i in <% range({ITEMS}) %>, action: std.async_noop}}}}}}
small: {{tasks: {{t: {{action: std.noop}}}}}}
calls: {{tasks: {{t: {{action: std.test_dict size=1}}}}}}
waits:
  tasks:
    a: {{action: std.noop, on-success: meet}}
    b: {{action: std.async_noop, timeout: 1000, on-success: meet}}
    meet: {{join: all}}
"""  # noqa: E501

TABLES = (
    models.workflow_executions,
    models.task_executions,
    models.action_executions,
    models.join_arrivals,
    models.documents,
    models.history,
    models.outbox,
    models.removals,
)


@pytest.fixture(params=CELLS)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    cell: Cell = request.param
    with cell.world(House, tmp_path) as house:
        house.upload(FLOWS)
        yield house


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    house.upload(FLOWS)
    yield house
    house.close()


def delete(house: House, id: str, **more: Any) -> Any:
    asked = {"request_id": house.new_id(), "context": CALLER.to_dict()}
    return house.ask(DeleteWorkflow(run_id=id, **asked, **more))


def page(house: House) -> int | None:
    def work(connection: Any) -> int | None:
        return removals.remove(
            connection, removals.Page(house.database.now(connection))
        )

    found = house.database.replay(work)
    return found


def test_a_large_tree_goes_in_bounded_transactions(house: House) -> None:
    id = house.start("big")
    house.settle()
    assert house.header(id)["state"] == "SUCCESS"
    assert len(house.rows(models.workflow_executions)) == 7
    assert house.rows(models.join_arrivals) and house.rows(models.documents)
    other = house.run("small")["id"]
    before = {table: len(house.rows(table)) for table in TABLES}
    assert delete(house, id) == {"id": id}
    pages = []
    while (removed := page(house)) is not None:
        pages.append(removed)
        after = {table: len(house.rows(table)) for table in TABLES}
        gone = sum(before[table] - after[table] for table in TABLES)
        assert removed <= removals.PAGE
        # And what is told to sub-workflows.
        assert gone <= removals.PAGE + 1
        before = after
        if len(pages) == 4:
            assert house.examined() == []
    assert sum(pages) > ITEMS
    assert len(pages) > 4
    house.sweep()
    assert house.examined() == []
    assert [r["id"] for r in house.rows(models.workflow_executions)] == [other]
    for table in (models.join_arrivals, models.documents, models.outbox):
        assert house.rows(table) == []
    assert {row["run_id"] for row in house.rows(models.history)} == {other}


def test_nothing_of_it_is_heard_meanwhile(alone: House) -> None:
    id = alone.start("open")
    alone.settle()
    [first, *_] = alone.rows(models.action_executions)
    delete(alone, id, force=True)
    header = alone.header(id)
    assert (header["state"], header["internals"]["removing"]) == ("CANCELLED", True)
    asked = {"request_id": "again", "context": CALLER.to_dict()}
    for event in (PauseWorkflow, DeleteWorkflow):
        with pytest.raises(NotFound):
            alone.ask(event(run_id=id, **asked))
    with pytest.raises(Conflict):
        alone.ask(StartWorkflow(run_id=id, workflow_name="small", **asked))
    assert alone.ask(ActionFinished(run_id=id, action_id=first["id"])) is None
    alone.ask(ChildStarted(run_id=id, task_id="?", child_id="nobody"))
    assert alone.header(id)["version"] == header["version"]
    while page(alone) is not None:
        pass
    alone.sweep()
    assert alone.rows(models.action_executions) == alone.rows(models.outbox) == []
    alone.ask(StartWorkflow(run_id=id, workflow_name="small", **asked))
    alone.settle()
    assert alone.header(id)["state"] == "SUCCESS"


def test_many_small_ones_at_a_time_are_bounded_together(alone: House) -> None:
    ids = [alone.start("kid") for _ in range(5)]
    alone.settle()
    big = alone.start("big")
    alone.settle()
    answers = [
        alone.put(DeleteWorkflow(run_id=id, context=CALLER.to_dict()))
        for id in (big, *ids)
    ]
    alone.turn()
    assert [answer.result(0)["id"] for answer in answers] == [big, *ids]
    assert [row["id"] for row in alone.rows(models.removals)] == [big]
    left = {row["id"] for row in alone.rows(models.workflow_executions)}
    assert not left & set(ids)
    alone.sweep()
    alone.sweep()
    assert alone.rows(models.workflow_executions) == []


def test_a_large_child_goes_with_its_parent(alone: House) -> None:
    alone.upload("version: '2.0'\nouter: {tasks: {t: {workflow: big}}}\n")
    id = alone.start("outer")
    alone.settle()
    assert alone.header(id)["state"] == "SUCCESS"
    delete(alone, id)
    for _ in range(4):
        alone.sweep()
    for table in TABLES:
        assert alone.rows(table) == [], table.name


def test_eng_199_a_child_that_starts_in_the_same_turn_goes_too(alone: House) -> None:
    """The parent goes before the child is there; so the news of its start is heard by
    nobody, and ends it."""
    id = alone.new_id()
    asked = {"run_id": id, "context": CALLER.to_dict()}
    start = StartWorkflow(workflow_name="kid", request_id=alone.new_id(), **asked)
    alone.put(start)
    alone.engine.loop.run_once(timeout=0)
    assert len(alone.engine.intake) == 1, "the start of the child waits"
    alone.put(DeleteWorkflow(request_id=alone.new_id(), force=True, **asked))
    alone.settle()
    for table in (models.workflow_executions, models.task_executions, models.outbox):
        assert alone.rows(table) == []


def test_two_engines_remove_side_by_side(house: House) -> None:
    """Each has its own page: who finds a row locked takes another."""
    ids = [house.run("small")["id"] for _ in range(2)]
    with house.database.begin() as connection:
        removals.add(connection, ids, house.clock.now())
    if house.database.is_sqlite:
        assert page(house) is not None
        return
    now = removals.Page(house.clock.now())
    with house.database.begin() as one, house.database.begin() as two:
        removals.remove(one, now)
        assert removals.remove(two, now) is not None
        with house.database.begin() as three:
            assert removals.remove(three, now) is None


on_servers = pytest.mark.parametrize(
    "house",
    [each for each in SERVERS if "committed" in str(each.id)],
    indirect=True,
)
"""With the isolation that services have."""


def hold(connection: Connection, table: Table, run_id: str) -> int:
    """Lock the rows of an execution, each by its key: nothing else is read on the way.
    Answers how many there are."""
    column = {
        models.workflow_executions: "id",
        models.history: "run_id",
        models.outbox: "run_id",
    }.get(table, "workflow_execution_id")
    mine = select(*table.primary_key)
    if table is models.join_arrivals:
        tasks = models.task_executions
        mine = mine.join(tasks, tasks.c.id == table.c.join_id)
        mine = mine.where(tasks.c.workflow_execution_id == run_id)
    else:
        mine = mine.where(table.c[column] == run_id)
    keys = connection.execute(mine).all()
    for key in keys:
        parts = zip(table.primary_key, key, strict=True)
        one = select(*table.primary_key).where(*(c == value for c, value in parts))
        assert connection.execute(one.with_for_update()).all()
    return len(keys)


def impatient(connection: Connection) -> None:
    """Whoever has to wait for a lock fails."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = 1")
    else:
        connection.exec_driver_sql("SET SESSION innodb_lock_wait_timeout = 0")


@on_servers
def test_a_page_waits_for_nobody(house: House) -> None:
    """MariaDB reads all of a small table rather than use its key, and waits for each
    row that others hold; then whoever waits for the page waits, too."""
    others = house.start("waits")
    house.settle()
    id = house.start("big")
    house.settle()
    delete(house, id)
    held = [t for t in TABLES if t not in (models.documents, models.removals)]
    with house.database.begin() as theirs:
        assert all(hold(theirs, table, others) for table in held)
        removed = []
        while True:
            with house.database.begin() as mine:
                impatient(mine)
                now = removals.Page(house.clock.now())
                found = removals.remove(mine, now)
            if found is None:
                break
            removed.append(found)
    assert sum(removed) > ITEMS
    left = house.rows(models.workflow_executions)
    assert id not in {row["id"] for row in left}


@on_servers
def test_a_turn_that_deletes_waits_for_nobody(house: House) -> None:
    """As little as there is: each plan of the database would read all of it."""
    others = house.start("waits")
    house.settle()
    held = [t for t in TABLES if t not in (models.documents, models.removals)]
    with house.database.begin() as theirs:
        assert all(hold(theirs, table, others) for table in held)
        run = house.run("calls")
        assert run["state"] == "SUCCESS"
        assert delete(house, run["id"]) == {"id": run["id"]}
    rows = house.rows(models.workflow_executions)
    assert [row["id"] for row in rows] == [others]


@on_servers
def test_nobody_waits_for_a_page(house: House) -> None:
    """Executions begin and end while its transaction is open, also where nothing is
    left beside what it removes: foreign keys lock no gaps that others insert into."""
    id = house.start("big")
    house.settle()
    delete(house, id)
    found: int | None = 0
    while found is not None:
        with house.database.begin() as mine:
            found = removals.remove(mine, removals.Page(house.clock.now()))
            run = house.run("calls")
            assert run["state"] == "SUCCESS"
        delete(house, run["id"])


class Slow(FakeClock):
    """Each look at it takes time."""

    seconds = 0.0

    def monotonic(self) -> float:
        self.advance(self.seconds)
        return super().monotonic()


def test_pages_are_smaller_where_they_take_long(alone: House) -> None:
    """Seen by what each transaction removes."""
    clock = Slow()
    rests: list[float] = []
    sweep = RemovalSweep(alone.database, clock, rests.append)
    for seconds in (0.2, 0.001):
        id = alone.start("open")
        alone.settle()
        delete(alone, id, force=True)
        removed: list[int] = []

        def count(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("DELETE FROM action_executions"):
                removed.append(cursor.rowcount)  # noqa: B023

        clock.seconds = seconds
        engine = alone.database.engine
        events.listen(engine, "after_cursor_execute", count)
        while sweep.run_once()["removed"]:
            pass
        events.remove(engine, "after_cursor_execute", count)
        *whole, _ = removed
        if seconds < SHORT:
            assert whole == sorted(whole) and whole[0] < whole[-1]
        else:
            assert whole == sorted(whole, reverse=True) and whole[-1] == LEAST
        assert rests[-1] == pytest.approx(seconds)
        assert sum(removed) == ITEMS


def test_nobody_sees_it_over_rest(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.upload(FLOWS)
    id = service.start("big")
    [task, *_] = service.tasks(id)
    action = service.house.rows(models.action_executions)[0]["id"]
    api = service.api
    assert api.delete(f"/v2/executions/{id}").status == 204
    assert service.house.rows(models.removals)
    for path in (
        f"executions/{id}",
        f"executions/{id}/report",
        f"tasks/{task['id']}",
        f"action_executions/{action}",
    ):
        assert api.get(f"/v2/{path}").status == 404, path
    assert api.delete(f"/v2/executions/{id}").status == 404
    names = {
        row["workflow_name"] for row in api.get("/v2/executions").json["executions"]
    }
    assert "big" not in names
    rows = api.get("/v2/tasks?limit=1000").json["tasks"]
    assert id not in {row["workflow_execution_id"] for row in rows}
    body = {"id": id, "workflow_name": "small"}
    assert api.post("/v2/executions", body).status == 409
    service.house.sweep()
    assert api.post("/v2/executions", body).status == 201
    service.close()
