"""What belongs to a project (``mistral/db/owned.py``)."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import pytest

from mistral.context import Context
from mistral.db import definitions, owned
from mistral.db.database import Database
from mistral.db.models import environments
from mistral.db.owned import Author
from mistral.errors import NotFound


def test_what_is_deleted_while_it_is_changed_is_not_found(database: Database) -> None:
    """Who changes it has read it without a lock (``tests/interleaved``)."""
    now = datetime(2020, 1, 2)
    author = Author(Context(project_id="p"), now, lambda: str(uuid.uuid4()))
    values: dict[str, Any] = {"name": "mine", "variables": {}, "scope": "private"}
    with database.begin() as connection:
        row = definitions.create_environment(connection, author, values)
        owned.remove(connection, environments, row)
        with pytest.raises(NotFound, match="'mine' was deleted"):
            owned.change(connection, environments, author, row, {"variables": {"a": 1}})
