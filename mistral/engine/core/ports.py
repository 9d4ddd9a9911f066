"""What rules ask of the outside: settings, and look-ups that only read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from mistral.errors import Problem
from mistral.expressions.facts import View
from mistral.lang.specs import ActionSpec, WorkflowSpec


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings of the engine that decisions depend on.

    :param field_limit: bytes of JSON of one input, output or published set;
        negative: unlimited.
    :param large_value: bytes from which a value is stored once per run, and bytes of
        the variables that a task keeps for itself; the others are in layers.
    :param own_variables: the most variables that a task keeps for itself.
    :param page: items that one turn opens.
    :param steps: tasks that one turn finishes by itself.
    :param notify: publishers of every root run, besides its own.
    :param kept_messages: that no task has taken yet, of one run;
        ``kept_message_bytes``: of their payloads' JSON together.
    :param slow_task: seconds after which who wants to hear of slow tasks is told of
        one, unless he says when; 0: never.
    """

    merge_strategy: str = "replace"
    versioning: bool = True
    field_limit: int = 1024 * 1024
    inline_actions: bool = True
    large_value: int = 4096
    own_variables: int = 32
    page: int = 500
    steps: int = 500
    notify: tuple[Mapping[str, Any], ...] = ()
    kept_messages: int = 1_000
    kept_message_bytes: int = 1024 * 1024
    slow_task: float = 600


class Descriptor(Protocol):
    """What the core asks of an action (``actions.registry.Descriptor``)."""

    @property
    def name(self) -> str: ...
    @property
    def is_sync(self) -> bool | None: ...
    @property
    def inline(self) -> Any: ...
    @property
    def code(self) -> Mapping[str, Any] | None: ...


class Facts(Protocol):
    """Read-only look-ups; rows are mappings of column → value.

    Rows of the run itself may be older than what is loaded: rules take them
    through ``Run.adopt``, which prefers the loaded object.
    """

    rules: Rules
    maintenance: str
    """Status while it is not RUNNING (§ 10.7): nothing may start; else empty."""

    def evaluate(self, tree: Any, view: View) -> Any: ...
    def has_time(self) -> bool:
        """Asked before each part of a decision that a later decision could take as
        well (an item, a task): whether this one shall. It shall when nothing was
        evaluated yet, so that one gets on. The expressions of each part have their
        time to themselves."""
        ...

    def uuid(self) -> str: ...
    def callback_url(self, action_id: str, now: datetime) -> str | None:
        """A signed address for the action; None: there is no key to sign with."""
        ...

    def spec(self, spec_id: str) -> WorkflowSpec: ...
    def workflow(
        self, id: str | None, name: str | None, namespace: str, project_id: str
    ) -> Mapping[str, Any] | None: ...
    def definition(self, workflow_id: str, spec_id: str) -> str | None: ...
    def advice(self, workflow_id: str, spec_id: str) -> Sequence[Problem]: ...
    def environment(self, name: str, project_id: str) -> Mapping[str, Any] | None: ...
    def adhoc(
        self, name: str, namespace: str, project_id: str
    ) -> ActionSpec | None: ...
    def adhoc_text(self, name: str, namespace: str, project_id: str) -> str | None: ...
    def action(
        self, name: str, namespace: str, project_id: str
    ) -> Descriptor | None: ...
    def check_input(self, descriptor: Descriptor, given: Mapping[str, Any]) -> None: ...
    def header(self, run_id: str) -> Mapping[str, Any] | None: ...
    def tasks(
        self,
        run_id: str,
        *,
        ids: Iterable[str] | None = None,
        names: Iterable[str] | None = None,
        states: Iterable[str] | None = None,
        processed: bool | None = None,
        has_next: bool | None = None,
        latest: bool = False,
    ) -> Sequence[Mapping[str, Any]]: ...
    def project_tasks(
        self, project_id: str, limit: int
    ) -> Sequence[Mapping[str, Any]]: ...
    def actions(
        self,
        run_id: str,
        *,
        ids: Iterable[str] | None = None,
        task_ids: Iterable[str] | None = None,
        states: Iterable[str] | None = None,
    ) -> Sequence[Mapping[str, Any]]: ...
    def open_firings(self, trigger_id: str) -> Sequence[Mapping[str, Any]]:
        """Started firings whose run has not ended, oldest first: ``id`` and the
        ``state`` of the run, None where it has not begun."""
        ...

    def queued_firings(
        self, trigger_id: str, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Firings that wait, oldest first."""
        ...

    def children(self, task_ids: Iterable[str]) -> Sequence[Mapping[str, Any]]: ...
    def open_children(self, run_id: str) -> Sequence[Mapping[str, Any]]: ...
    def arrivals(
        self,
        join_id: str,
        inbound: str | None = None,
        *,
        rounds: tuple[int, int] | None = None,
    ) -> Sequence[Mapping[str, Any]]: ...
    def posted_message(
        self, run_id: str, message_id: str
    ) -> Sequence[Mapping[str, Any]]:
        """The message with this id of its sender's, taken or not; none or one."""
        ...

    def kept_messages(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        """Those that no action has taken."""
        ...

    def message_waits(
        self, run_id: str, subject: str
    ) -> Sequence[Mapping[str, Any]]: ...
    def document(self, run_id: str, document_id: str) -> Any: ...
    def holds(self, run_id: str, document_id: str) -> bool:
        """Whether a document is known to be stored; false: perhaps it is."""
        ...

    def executions(
        self, project_id: str, limit: int, **filters: Any
    ) -> Sequence[Mapping[str, Any]]: ...
