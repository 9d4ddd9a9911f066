"""Answers by request id: a request that is repeated gets the first answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete
from sqlalchemy.exc import IntegrityError

from mistral.db import bulk, direct
from mistral.db.failures import is_duplicate
from mistral.db.models import handled
from mistral.errors import Unavailable


def to_find(
    connection: Connection, request_ids: Collection[str]
) -> list[direct.Question]:
    """What the answers that are stored are asked with, for ``direct.fetch_together``;
    ``answers_in`` reads what comes."""
    return bulk.to_fetch(connection, handled, "request_id", request_ids)


def answers_in(found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Answers by request id."""
    return {row["request_id"]: row["answer"] for row in found}


def keep(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store answers: ``request_id``, ``answer``, ``at``.

    :raises Unavailable: another turn answered one of the requests at the same
        moment. The transaction must be rolled back; run again, it finds that
        answer.
    """
    try:
        bulk.insert_many(connection, handled, rows)
    except IntegrityError as error:
        if not is_duplicate(error):
            raise
        raise Unavailable("A request was answered by another turn.") from error


def expire(connection: Connection, before: datetime) -> int:
    """Forget answers older than ``before``; answers how many."""
    return connection.execute(delete(handled).where(handled.c.at < before)).rowcount
