"""Column types that mean the same on SQLite, PostgreSQL, MariaDB and MySQL."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, Final

from sqlalchemy import DateTime, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":")).encode


def _has_surrogates(text: str) -> bool:
    return not text.isascii() and _SURROGATE.search(text) is not None


def may_be_named(text: str) -> bool:
    """Whether a database can be asked for a name: some refuse NUL, and none is
    reached by half a character."""
    return "\0" not in text and not _has_surrogates(text)


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
        text = _encode(value)
        # Half a character has no UTF-8, but JSON can spell it.
        return _encode_ascii(value) if _has_surrogates(text) else text

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class Utc(TypeDecorator[datetime]):
    """A moment in UTC with microseconds and without tzinfo."""

    impl = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True


class LongText(TypeDecorator[str]):
    """Definition texts and messages of any length.

    Messages come from anywhere. What a database may refuse in a text (NUL, half
    a character) is shown as U+FFFD, so that no error is too odd to be stored.
    """

    impl = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        if "\0" in value or _has_surrogates(value):
            return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
        return value


Id = String(36)
"""Ids are text of up to 36 characters; clients may choose an execution's."""

Name = String(255)
