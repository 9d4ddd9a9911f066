"""All that the doctor looks at, in the order in which it explains most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from mistral.db.database import Database
from mistral.engine.doctor.belongings import histories, owners
from mistral.engine.doctor.look import Look, Violation
from mistral.engine.doctor.promises import (
    actions,
    poisonous,
    promises,
    status_of_maintenance,
    triggers,
    trusts_of_triggers,
)
from mistral.engine.doctor.runs import runs
from mistral.engine.doctor.tasks import tasks

Check = Callable[[Look], Iterator[Violation]]

CHECKS: Final[tuple[Check, ...]] = (
    status_of_maintenance,
    runs,
    tasks,
    actions,
    promises,
    triggers,
    poisonous,
    owners,
    histories,
    trusts_of_triggers,
)


def examine(database: Database) -> Iterator[Violation]:
    """What does not hold, as it is found; nothing is changed or locked."""
    look = Look(database)
    for check in CHECKS:
        yield from check(look)
