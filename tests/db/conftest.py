"""Rows as small as the tables allow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

NOON = datetime(2020, 1, 2, 12, 0, 0, 123456)


@pytest.fixture
def noon() -> datetime:
    return NOON


@pytest.fixture
def run_row() -> Callable[..., dict[str, Any]]:
    """A row of ``workflow_executions``."""

    def row(id: str, **more: Any) -> dict[str, Any]:
        return {
            "id": id,
            "project_id": "p",
            "workflow_name": "w",
            "spec_id": "s",
            "state": "RUNNING",
            "internals": {},
            "created_at": NOON,
            **more,
        }

    return row


@pytest.fixture
def task_row() -> Callable[..., dict[str, Any]]:
    """A row of ``task_executions``."""

    def row(id: str, run_id: str, seq: int, **more: Any) -> dict[str, Any]:
        return {
            "id": id,
            "workflow_execution_id": run_id,
            "seq": seq,
            "project_id": "p",
            "name": f"t{seq}",
            "type": "ACTION",
            "workflow_name": "w",
            "state": "IDLE",
            "internals": {},
            "created_at": NOON,
            **more,
        }

    return row


@pytest.fixture
def outbox_row() -> Callable[..., dict[str, Any]]:
    """A row of ``outbox``, due at noon."""

    def row(id: str, **more: Any) -> dict[str, Any]:
        return {
            "id": id,
            "due_at": NOON,
            "kind": "CallAction",
            "payload": {"n": id},
            "run_id": "r",
            "created_at": NOON,
            **more,
        }

    return row
