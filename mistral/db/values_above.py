"""Values that a row has from one above it: the name of the workflow at a task.

Indexes lead to the row above, not to those below it; one for each such value would be
paid for by every change of a task. So a filter first asks which rows above have the
value. Where they are few, it is met by what is below these; where they are many, a
page of what is below is found soon by looking along the list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, select, true

FEW: Final = 500
"""Rows above. One ``IN (…)`` takes as many in every database."""


@dataclass(frozen=True, slots=True)
class ValueAbove:
    """
    :param above: the id of the row above, at the one below.
    :param column: the value there; an index begins with it.
    """

    above: Column[Any]
    column: Column[Any]

    def narrowed(
        self, connection: Connection, asked: ColumnElement[bool]
    ) -> ColumnElement[bool]:
        """What implies less than the filter, and is found by an index.

        :param asked: of the row above.
        """
        ids = select(self.column.table.c.id).where(asked).limit(FEW + 1)
        found = connection.execute(ids).scalars().all()
        return self.above.in_(found) if len(found) <= FEW else true()
