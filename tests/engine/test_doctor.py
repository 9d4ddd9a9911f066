"""``mistral-db-manage doctor``: nothing to say of a database at work, and a sentence
with ids about each way in which one can be broken."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rest import Service
from servers import NoServer, fresh_database, make_tables
from sqlalchemy import Table, delete, insert, update

from mistral.cmd.db_manage import main
from mistral.db import models
from mistral.db.database import Database
from mistral.engine.doctor.examine import examine

WORKFLOWS = """
version: '2.0'
fan:
  input: [big]
  tasks:
    items: {with-items: i in <% range(3) %>, action: std.sleep seconds=1}
    meet: {action: std.noop, join: all}
    later: {action: std.noop, wait-before: 100, on-success: meet}
    first: {action: std.noop, publish: {big: <% $.big %>}, on-success: [next, meet]}
    next: {action: std.sleep seconds=1}
family: {tasks: {a: {workflow: child}}}
child: {tasks: {t: {action: std.sleep seconds=1}}}
over: {tasks: {t: {action: std.noop}}}
quiet: {tasks: {t: {action: std.sleep seconds=1}}}
hears: {tasks: {t: {action: std.wait_for name="m"}}}
"""

LONG_AGO = timedelta(days=1)


class Ward(Service):
    """A service at work: executions that run, wait, and have ended; a trigger."""

    def __init__(self, directory: Path, url: str | None) -> None:
        super().__init__(directory, url=url)
        self.upload(WORKFLOWS)
        house = self.house
        house.hold.add("std.sleep")
        self.fan = self.start("fan", {"big": "x" * 20_000})
        self.family = self.start("family")
        self.over = self.start("over")
        self.quiet = self.start("quiet")
        self.hears = self.start("hears")
        path = f"/v2/executions/{self.hears}/messages"
        assert self.api.post(path, {"name": "other"}).status == 201
        trigger = {"name": "x", "workflow_name": "over", "pattern": "*/5 * * * *"}
        assert self.api.post("/v2/cron_triggers", trigger).status == 201
        [self.trigger] = house.rows(models.cron_triggers)
        [self.child] = house.rows(models.workflow_executions, workflow_name="child")

    def task(self, run_id: str, name: str) -> dict[str, Any]:
        [found] = self.house.rows(
            models.task_executions, workflow_execution_id=run_id, name=name
        )
        return found

    def action(self, run_id: str, name: str) -> dict[str, Any]:
        task = self.task(run_id, name)
        found = self.house.rows(models.action_executions, task_execution_id=task["id"])
        return found[0]

    @property
    def now(self) -> datetime:
        return self.house.clock.now()

    # -- Breaking -------------------------------------------------------------

    def do(self, *statements: Any) -> None:
        with self.house.database.begin() as connection:
            for statement in statements:
                connection.execute(statement)

    def change(self, table: Table, id: str, **values: Any) -> None:
        self.do(update(table).where(table.c.id == id).values(**values))

    def counts(self, table: Table, row: Any, **values: Any) -> None:
        self.change(table, row["id"], internals={**row["internals"], **values})

    def promise(self, kind: str, run_id: str, **more: Any) -> None:
        row = {
            "id": self.house.new_id(),
            "due_at": self.now,
            "kind": kind,
            "payload": {},
            "run_id": run_id,
            "attempts": 0,
            "created_at": self.now,
        }
        self.do(insert(models.outbox).values({**row, **more}))

    def remove_alone(self, table: Table, id: str) -> None:
        """A row without what belongs to it, as a restored copy may lack it."""
        off = {
            "sqlite": "PRAGMA foreign_keys = OFF",
            "postgresql": "SET session_replication_role = replica",
            "mariadb": "SET FOREIGN_KEY_CHECKS = 0",
            "mysql": "SET FOREIGN_KEY_CHECKS = 0",
        }
        database = self.house.database
        raw = database.engine.raw_connection()
        cursor = raw.cursor()
        cursor.execute(off[database.engine.dialect.name])
        cursor.execute(f"DELETE FROM {table.name} WHERE id = '{id}'")
        raw.commit()
        raw.invalidate()


Break = Callable[[Ward], None]


def _timers_are_gone(ward: Ward) -> None:
    ward.do(delete(models.outbox).where(models.outbox.c.kind == "Woke"))


def _start_time_goes(ward: Ward) -> None:
    id = ward.start("over", params={"start-after": 60})
    ward.do(delete(models.outbox).where(models.outbox.c.run_id == id))


def _run_stops(ward: Ward) -> None:
    action = ward.action(ward.quiet, "t")
    ward.change(models.action_executions, action["id"], state="SUCCESS")


def _parent_goes(ward: Ward) -> None:
    ward.remove_alone(models.task_executions, ward.task(ward.family, "a")["id"])


def _task_goes(ward: Ward) -> None:
    ward.remove_alone(models.task_executions, ward.task(ward.fan, "next")["id"])


def _header_goes(ward: Ward) -> None:
    ward.remove_alone(models.workflow_executions, ward.fan)


def _join_goes(ward: Ward) -> None:
    join = ward.task(ward.fan, "meet")
    ward.remove_alone(models.task_executions, join["id"])


def _spec_goes(ward: Ward) -> None:
    spec_id = ward.house.header(ward.quiet)["spec_id"]
    ward.do(delete(models.frozen_specs).where(models.frozen_specs.c.id == spec_id))


def _values_go(ward: Ward) -> None:
    ward.do(delete(models.documents))


def _run_miscounts(ward: Ward) -> None:
    ward.counts(models.workflow_executions, ward.house.header(ward.quiet), open=5)


def _history_has_a_gap(ward: Ward) -> None:
    table = models.history
    ward.do(delete(table).where(table.c.run_id == ward.quiet, table.c.seq == 1))


def _history_outlives(ward: Ward) -> None:
    row = {"run_id": "gone", "seq": 1, "at": ward.now, "turn_id": "t", "kind": "Woke"}
    ward.do(insert(models.history).values({**row, "body": {}}))


def _timer_outlives(ward: Ward) -> None:
    ward.promise("Woke", ward.over)


def _ended_with_a_task(ward: Ward) -> None:
    ward.counts(models.workflow_executions, ward.house.header(ward.over), open=1)


def _task_miscounts(ward: Ward) -> None:
    ward.counts(models.task_executions, ward.task(ward.fan, "items"), open=1)


def _task_miscounts_children(ward: Ward) -> None:
    ward.counts(models.task_executions, ward.task(ward.family, "a"), open=2)


def _item_twice(ward: Ward) -> None:
    items = ward.task(ward.fan, "items")
    table = models.action_executions
    ward.do(
        update(table)
        .where(table.c.task_execution_id == items["id"])
        .values(item_index=0)
    )


def _child_twice(ward: Ward) -> None:
    row = {**ward.child, "id": ward.house.new_id()}
    ward.do(insert(models.workflow_executions).values(row))


def _not_followed(ward: Ward) -> None:
    done = ward.task(ward.fan, "first")
    ward.change(models.task_executions, done["id"], processed=False)


def _task_stops(ward: Ward) -> None:
    items = ward.task(ward.fan, "items")
    table = models.action_executions
    ended = update(table).where(table.c.task_execution_id == items["id"])
    ward.do(ended.values(state="SUCCESS"))
    ward.counts(models.task_executions, items, open=0, done=3)


def _waits_for_nothing(ward: Ward) -> None:
    ward.do(delete(models.message_waits))


def _mail_remains(ward: Ward) -> None:
    ward.remove_alone(models.workflow_executions, ward.hears)


def _wait_remains(ward: Ward) -> None:
    action = ward.action(ward.hears, "t")
    ward.remove_alone(models.action_executions, action["id"])


def _not_offered(ward: Ward) -> None:
    action = ward.action(ward.quiet, "t")
    none = {"started_by": None, "executor_id": None}
    ward.change(models.action_executions, action["id"], **none)


def _executor_unknown(ward: Ward) -> None:
    ward.do(delete(models.executors))


def _executor_silent(ward: Ward) -> None:
    ward.do(update(models.executors).values(last_seen=ward.now - LONG_AGO))


def _offer_void(ward: Ward) -> None:
    action = ward.action(ward.quiet, "t")
    payload = {"action_id": action["id"], "attempt": 1}
    ward.promise("CallAction", ward.quiet, action_id=action["id"], payload=payload)


def _offer_of_nothing(ward: Ward) -> None:
    ward.promise("CallAction", "gone", action_id="gone", payload={"attempt": 1})


def _firing_of_nothing(ward: Ward) -> None:
    ward.promise("CronDue", "gone")


def _overdue(ward: Ward) -> None:
    due = ward.now - LONG_AGO
    late = {"due_at": due, "lease_owner": "dead", "lease_until": due}
    ward.promise("ResumeWorkflow", ward.quiet, **late)


def _leased_for_ever(ward: Ward) -> None:
    until = ward.now + LONG_AGO
    ward.promise("ResumeWorkflow", ward.quiet, lease_owner="e", lease_until=until)


def _maintenance_leased_for_ever(ward: Ward) -> None:
    until = ward.now + LONG_AGO
    ward.do(update(models.maintenance).values(lease_owner="e", lease_until=until))


def _maintenance_goes(ward: Ward) -> None:
    ward.do(delete(models.maintenance))


def _firing_twice(ward: Ward) -> None:
    ward.promise("CronDue", ward.trigger["id"], payload={"planned": "?"})


def _never_fires(ward: Ward) -> None:
    ward.do(delete(models.outbox).where(models.outbox.c.kind == "CronDue"))


def _poisoned(ward: Ward) -> None:
    row = {"id": ward.house.new_id(), "run_id": ward.quiet, "kind": "Woke"}
    row |= {"payload": {}, "error": "…", "at": ward.now}
    ward.do(insert(models.poison).values(row))


def _trust_is_kept(ward: Ward) -> None:
    row = {"id": "gone", "project_id": "p", "sealed": "…", "created_at": ward.now}
    ward.do(insert(models.trusts).values(row))


WAYS: tuple[tuple[str, Break], ...] = (
    ("run-without-spec", _spec_goes),
    ("run-without-parent", _parent_goes),
    ("run-counters", _run_miscounts),
    ("history-gap", _history_has_a_gap),
    ("history-without-owner", _history_outlives),
    ("run-stuck", _run_stops),
    ("run-without-timer", _start_time_goes),
    ("timer-of-ended-run", _timer_outlives),
    ("open-task-of-ended-run", _ended_with_a_task),
    ("task-counters", _task_miscounts),
    ("task-counters", _task_miscounts_children),
    ("child-twice", _item_twice),
    ("child-twice", _child_twice),
    ("task-not-followed", _not_followed),
    ("task-without-timer", _timers_are_gone),
    ("task-stuck", _task_stops),
    ("document-missing", _values_go),
    ("action-not-offered", _not_offered),
    ("action-not-awaited", _waits_for_nothing),
    ("action-without-executor", _executor_unknown),
    ("action-of-silent-executor", _executor_silent),
    ("promise-without-owner", _offer_of_nothing),
    ("promise-without-owner", _firing_of_nothing),
    ("promise-overdue", _overdue),
    ("lease-too-long", _leased_for_ever),
    ("lease-too-long", _maintenance_leased_for_ever),
    ("offer-void", _offer_void),
    ("offer-void", _offer_of_nothing),
    ("promise-twice", _firing_twice),
    ("trigger-without-timer", _never_fires),
    ("trust-without-trigger", _trust_is_kept),
    ("maintenance-missing", _maintenance_goes),
    ("poison", _poisoned),
    ("task-without-run", _header_goes),
    ("action-without-run", _header_goes),
    ("document-without-run", _header_goes),
    ("message-without-run", _mail_remains),
    ("wait-without-action", _wait_remains),
    ("action-without-task", _task_goes),
    ("arrival-without-join", _join_goes),
)


REMOVALS = (
    _task_goes, _join_goes, _parent_goes, _header_goes, _mail_remains, _wait_remains,
    _maintenance_goes,
)  # fmt: skip


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    ward = Ward(tmp_path, None)
    yield ward
    ward.close()


@pytest.fixture(params=["postgresql", "mariadb"])
def on_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ward]:
    try:
        with fresh_database(request.param, tmp_path) as url:
            ward = Ward(tmp_path, url.render_as_string(hide_password=False))
            yield ward
            ward.close()
    except NoServer as missing:
        pytest.skip(str(missing))


def checks(ward: Ward) -> set[str]:
    return {violation.check for violation in examine(ward.house.database)}


@pytest.mark.parametrize(
    ("check", "breaks"), WAYS, ids=[f"{check}-{b.__name__}" for check, b in WAYS]
)
def test_what_is_broken_is_named(ward: Ward, check: str, breaks: Break) -> None:
    assert list(examine(ward.house.database)) == []
    breaks(ward)
    found = [v for v in examine(ward.house.database) if v.check == check]
    assert found
    for violation in found:
        assert violation.text.endswith(".")
        assert not violation.ids or any(
            id in violation.text for id in violation.ids.values()
        )


@pytest.mark.services
def test_every_database_is_understood(on_server: Ward) -> None:
    assert checks(on_server) == set()
    found: set[str] = set()
    mild = [b for _, b in WAYS if b not in REMOVALS]
    for breaks in dict.fromkeys([*mild, *REMOVALS]):
        breaks(on_server)
        found |= checks(on_server)
    # An earlier damage hides these here.
    hidden = {"action-not-offered", "action-of-silent-executor", "document-without-run"}
    hidden |= {"wait-without-action"}
    assert found == {check for check, _ in WAYS} - hidden


def test_the_command_explains_and_answers_by_its_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'mistral.db'}")
    make_tables(database)
    file = tmp_path / "mistral.conf"
    shown = database.url.render_as_string(hide_password=False)
    file.write_text(f"[database]\nconnection = {shown}\n")

    def doctor(*words: str) -> tuple[int, str]:
        code = main(["--config-file", str(file), "doctor", *words])
        return code, capsys.readouterr().out

    assert doctor() == (0, f"{database.shown}: all is well\n")
    assert json.loads(doctor("--json")[1]) == {"violations": []}
    row = {"id": "p1", "run_id": "r1", "kind": "Woke", "payload": {}, "error": "…"}
    with database.begin() as connection:
        now = database.now(connection)
        connection.execute(insert(models.poison).values({**row, "at": now}))
    code, said = doctor()
    assert code == 1
    assert said.startswith("poison [poison_id=p1, run_id=r1]: A Woke of r1 could not")
    assert said.endswith("\n1 found\n")
    code, said = doctor("--json")
    [found] = json.loads(said)["violations"]
    assert (code, found["check"]) == (1, "poison")
    assert found["ids"] == {"poison_id": "p1", "run_id": "r1"}
    database.dispose()


def test_a_stale_schema_is_not_examined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mistral.conf"
    file.write_text(f"[database]\nconnection = sqlite:///{tmp_path / 'new.db'}\n")
    assert main(["--config-file", str(file), "doctor"]) == 1
    assert "has no tables yet" in capsys.readouterr().err
