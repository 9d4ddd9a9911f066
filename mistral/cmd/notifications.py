"""``mistral-db-manage notifications``: what publishers never took, and once more."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from mistral.db import notice_lanes
from mistral.db.database import Database
from mistral.errors import BadRequest, NotFound

PAGE: Final = 200


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these")
    parser.add_argument("--execution", metavar="ID", help="only those of this one")
    parser.add_argument("--all", action="store_true", help="change all that there are")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--send-again", action="store_true", help="offer them once more")
    what.add_argument("--forget", action="store_true", help="remove them")
    what.add_argument("--json", action="store_true", help="list them as JSON")


def notifications(database: Database, given: argparse.Namespace) -> int:
    """List what publishers never took, send it again or forget it.

    :returns: the exit code, 0.
    :raises BadRequest: it is not said which are to be changed.
    :raises NotFound: one that is named is not there; nothing is changed then.
    :raises StaleSchema: the tables are those of another release.
    """
    database.check_schema()
    changes = given.send_again or given.forget
    if changes and not (given.ids or given.execution or given.all):
        raise BadRequest("Say which: ids, --execution ID, or --all.")
    # All are read before: what is changed must not be looked for again.
    found = [_shown(row) for row in _rows(database, given)]
    ids = [row["id"] for row in found]
    _require_known(given, ids)
    if changes:
        count = _changed(database, given, ids)
        print(f"{count} {'are forgotten' if given.forget else 'are sent again'}")
        return 0
    if given.json:
        print(json.dumps({"notifications": found}, indent=2))
        return 0
    for row in found:
        print(
            f"{row['id']} {row['given_up_at']} execution={row['execution_id']}"
            f" {row['event']} {row['publisher']}: {row['error']}"
        )
    print(f"{len(found)} found")
    return 0


def _require_known(given: argparse.Namespace, ids: Collection[str]) -> None:
    """:raises NotFound: it names them."""
    unknown = [id for id in given.ids if id not in ids]
    if unknown:
        of = f" of execution {given.execution}" if given.execution else ""
        raise NotFound(
            f"No notification {', '.join(unknown)}{of} is kept; nothing is done."
        )


def _changed(database: Database, given: argparse.Namespace, ids: Sequence[str]) -> int:
    def change(connection: Connection, page: Sequence[str]) -> int:
        if given.forget:
            return notice_lanes.forget(connection, page)
        now = database.now(connection)
        return notice_lanes.send_again(connection, page, now)

    count = 0
    for start in range(0, len(ids), PAGE):
        count += database.replay(partial(change, page=ids[start : start + PAGE]))
    return count


def _rows(database: Database, given: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    after = ""
    while True:
        with database.read() as connection:
            page = notice_lanes.given_up(
                connection, PAGE, run_id=given.execution, after=after
            )
        for row in page:
            if not given.ids or row["id"] in given.ids:
                yield row
        if len(page) < PAGE:
            return
        after = page[-1]["id"]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Without what publishers alone are told."""
    payload = row["payload"]
    at = row["at"]
    return {
        "id": row["id"],
        "execution_id": row["run_id"],
        "object_id": payload.get("object_id"),
        "event": payload.get("event"),
        "timestamp": payload.get("timestamp"),
        "publisher": ", ".join(
            str(entry.get("type")) for entry in payload.get("publishers") or ()
        ),
        "error": row["error"],
        "given_up_at": at.isoformat(sep=" ") if isinstance(at, datetime) else at,
    }
