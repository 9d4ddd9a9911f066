"""One stored row as an object that knows what changed since it was loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from mistral.messages import COMPLETED


def same(a: Any, b: Any) -> bool:
    """Whether two values are one as JSON: ``1``, ``1.0`` and ``true``, which
    compare as equal, are three."""
    if a is b:
        return True
    if a != b:
        return False
    if isinstance(a, Mapping):
        return all(same(value, b[key]) for key, value in a.items())
    if isinstance(a, list | tuple):
        return all(map(same, a, b))
    return type(a) is type(b) or not isinstance(a, int | float)


class Row:
    """One row: columns that the API shows, and what only the engine needs."""

    kind: ClassVar[str]
    COLUMNS: ClassVar[tuple[str, ...]]
    INTERNAL: ClassVar[Mapping[str, Any]]

    id: str
    state: str
    state_info: str | None
    project_id: str
    created_at: datetime
    updated_at: datetime | None

    def __init__(self, **values: Any) -> None:
        for name in self.COLUMNS:
            setattr(self, name, values.get(name))
        internals = values.get("internals") or {}
        for name, default in self.INTERNAL.items():
            setattr(self, name, values.get(name, internals.get(name, default)))
        self._loaded: dict[str, Any] | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Any:
        loaded = cls(**row)
        loaded._loaded = loaded._values()
        return loaded

    def _values(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.COLUMNS}
        found["internals"] = {
            name: value
            for name, default in self.INTERNAL.items()
            if (value := getattr(self, name)) != default
        }
        return found

    @property
    def is_new(self) -> bool:
        return self._loaded is None

    @property
    def completed(self) -> bool:
        return self.state in COMPLETED

    def changes(self, now: datetime) -> dict[str, Any] | None:
        """The whole row when it is new; id and changed columns; None if none."""
        values = self._values()
        if self._loaded is None:
            return values
        changed = {
            name: value
            for name, value in values.items()
            if not same(value, self._loaded[name])
        }
        if not changed:
            return None
        changed["updated_at"] = now
        changed["id"] = values["id"]
        return changed


R = TypeVar("R", bound=Row)


class Rows(dict[str, R]):
    """Rows by id, and by one more column that does not change."""

    def __init__(self, column: str) -> None:
        super().__init__()
        self._column = column
        self._groups: dict[Any, list[R]] = {}

    def __setitem__(self, id: str, row: R) -> None:
        super().__setitem__(id, row)
        self._groups.setdefault(getattr(row, self._column), []).append(row)

    def __delitem__(self, id: str) -> None:
        row = self[id]
        super().__delitem__(id)
        self._groups[getattr(row, self._column)].remove(row)

    def of(self, value: str) -> Sequence[R]:
        """The rows with this value, as they came."""
        return self._groups.get(value, ())
