"""What an expression may look up: a read-only port.

The engine's core binds one ``Facts`` to the run and task that an expression
belongs to; tests bind a dict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


class Facts(Protocol):
    """Look-ups behind the functions of spec/language.md § 23.

    Mappings have the shapes of § 23.1. Unknown things are ``None`` or an empty
    list; ``execution`` raises :class:`~mistral.errors.ExpressionFault`.
    """

    def env(self) -> Mapping[str, Any]:
        """The environment of the root execution."""

    def execution(self) -> Mapping[str, Any]:
        """The execution that the expression belongs to."""

    def executions(
        self,
        id: str | None = None,
        root_execution_id: str | None = None,
        state: str | None = None,
        from_time: datetime | None = None,
        to_time: datetime | None = None,
    ) -> Sequence[Mapping[str, Any]]:
        """Executions that the owner of the run may see, oldest first (Q51)."""

    def task(self, name: str | None) -> Mapping[str, Any] | None:
        """The current task (None), or the latest of that name (Q50)."""

    def tasks(
        self,
        workflow_execution_id: str | None = None,
        recursive: bool = False,
        state: str | None = None,
        flat: bool = False,
    ) -> Sequence[Mapping[str, Any]]:
        """Tasks by creation time, then id (Q51)."""

    def global_variable(self, name: str) -> Any:
        """A variable of the workflow context, or None."""

    def uuid(self) -> str:
        """A fresh UUID, from the run's own source of ids."""

    def callback_url(self) -> str:
        """The address by which an application completes the action whose input is
        evaluated; raises :class:`~mistral.errors.ExpressionFault` elsewhere."""

    def now(self) -> datetime:
        """The time of the turn, UTC."""


@dataclass(frozen=True, slots=True)
class View:
    """What one evaluation sees.

    :param data: what ``$`` and ``_`` show (a read-only mapping; for the output
        of an ad-hoc action any value).
    :param facts: the look-ups of functions; None where there are none.
    """

    data: Any
    facts: Facts | None = None
