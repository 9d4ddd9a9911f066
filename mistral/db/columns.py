"""Column types that mean the same on SQLite, PostgreSQL, MariaDB and MySQL."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class Json(TypeDecorator[Any]):
    """A JSON document, written whole and read whole; NULL is None.

    Text rather than a native JSON type: the service never looks inside with
    SQL, and text keeps the order of keys on every database.
    """

    impl = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class Utc(TypeDecorator[datetime]):
    """A moment in UTC with microseconds and without tzinfo."""

    impl = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True


LongText = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
"""Definition texts and messages of any length."""

Id = String(36)
"""Ids are text of up to 36 characters; clients may choose an execution's."""

Name = String(255)
