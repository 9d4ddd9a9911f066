"""Rows of what runs, as small as the tables allow, put in directly."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert

from mistral.db import models
from mistral.db.database import Database

START = datetime(2026, 11, 21, 1, 35, 4, 123456)


def uid(number: int) -> str:
    """A UUID that a reader of a failing test can tell apart."""
    return f"00000000-0000-4000-8000-{number:012d}"


class Rows:
    """Puts rows into the tables of one database.

    :param project: owner of all rows.
    """

    def __init__(self, database: Database, project: str = "<default-project>") -> None:
        self._database = database
        self._project = project
        self._made = 0
        self._tasks: dict[str | None, str] = {}

    def _put(self, table: Any, row: Mapping[str, Any]) -> dict[str, Any]:
        with self._database.begin() as connection:
            connection.execute(insert(table), dict(row))
        return dict(row)

    def _stamp(self) -> datetime:
        self._made += 1
        return START + timedelta(microseconds=self._made)

    def run(self, id: str, **more: Any) -> dict[str, Any]:
        return self._put(
            models.workflow_executions,
            {
                "id": id,
                "project_id": self._project,
                "workflow_name": "greet_user",
                "workflow_id": uid(900),
                "spec_id": "spec",
                "description": "",
                "state": "RUNNING",
                "input": {},
                "params": {"namespace": "", "env": {}},
                "context": {},
                "internals": {},
                "created_at": self._stamp(),
                "updated_at": START + timedelta(seconds=2),
                **more,
            },
        )

    def task(self, id: str, run_id: str, **more: Any) -> dict[str, Any]:
        created_at = self._stamp()
        self._tasks[id] = more.get("name", "one")
        return self._put(
            models.task_executions,
            {
                "id": id,
                "workflow_execution_id": run_id,
                "seq": self._made,
                "project_id": self._project,
                "name": "one",
                "type": "ACTION",
                "workflow_name": "greet_user",
                "state": "SUCCESS",
                "internals": {},
                "created_at": created_at,
                **more,
            },
        )

    def action(
        self, id: str, task_id: str | None = None, **more: Any
    ) -> dict[str, Any]:
        return self._put(
            models.action_executions,
            {
                "id": id,
                "task_execution_id": task_id,
                "task_name": self._tasks.get(task_id),
                "project_id": self._project,
                "name": "std.echo",
                "state": "SUCCESS",
                "input": {},
                "internals": {},
                "created_at": self._stamp(),
                **more,
            },
        )

    def spec(self, body: Mapping[str, Any], id: str = "spec") -> None:
        row = {"id": id, "body": body, "created_at": START}
        self._put(models.frozen_specs, row)

    def document(self, run_id: str, id: str, body: Any) -> None:
        row = {"workflow_execution_id": run_id, "id": id, "body": body}
        self._put(models.documents, row)

    def history(self, run_id: str, seq: int, **more: Any) -> None:
        row = {
            "run_id": run_id,
            "seq": seq,
            "at": START,
            "turn_id": "turn",
            "kind": "ActionFinished",
            "body": {"n": seq},
            **more,
        }
        self._put(models.history, row)

    def change(self, table: Any, id: str, **values: Any) -> None:
        """What an engine would have done."""
        with self._database.begin() as connection:
            connection.execute(table.update().where(table.c.id == id).values(**values))
