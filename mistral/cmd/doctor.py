"""``mistral-db-manage doctor``: what the database should not hold, explained."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from mistral.db.database import Database
from mistral.engine.doctor.examine import examine


def doctor(database: Database, arguments: argparse.Namespace) -> int:
    """Print what does not hold; nothing is changed.

    :returns: the exit code: 0 if all is well, else 1.
    :raises StaleSchema: the tables are those of another release.
    """
    database.check_schema()
    if arguments.json:
        found = [asdict(violation) for violation in examine(database)]
        print(json.dumps({"violations": found}, indent=2))
        return int(bool(found))
    count = 0
    for violation in examine(database):
        ids = ", ".join(f"{name}={id}" for name, id in violation.ids.items())
        print(f"{violation.check} [{ids}]: {violation.text}")
        count += 1
    print(f"{count} found" if count else f"{database.shown}: all is well")
    return int(count > 0)
