"""What a definition says, as immutable values.

A spec is complete: inline parameters are merged into inputs, and what
``task-defaults`` gives is merged into each task (spec/language.md § 19), so
that nobody else needs to know where a property was written. ``body`` keeps
the normalised mapping of § 29.3, which the API and expressions show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, Self

ENGINE_COMMANDS: Final = frozenset({"noop", "fail", "succeed", "pause"})

Event = Literal["on-success", "on-error", "on-complete", "on-skip"]

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return NOTHING


class Required:
    """The default of an input that has none (``REQUIRED`` is the one value)."""

    _instance: Self | None = None

    def __new__(cls) -> Self:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = Required()

InputDeclaration = Mapping[str, Any]
"""Parameter name → default value, or ``REQUIRED``; in order of declaration."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Variables by scope; values are expression trees (§ 13)."""

    branch: Mapping[str, Any] = field(default_factory=_nothing)
    global_: Mapping[str, Any] = field(default_factory=_nothing)
    atomic: Mapping[str, Any] = field(default_factory=_nothing)

    def __bool__(self) -> bool:
        return bool(self.branch or self.global_ or self.atomic)


@dataclass(frozen=True, slots=True)
class Edge:
    """One entry of a transition clause (§ 14.1).

    ``condition`` is the text of an expression or None;
    ``params`` are unevaluated.
    """

    target: str
    condition: str | None = None
    params: Mapping[str, Any] = field(default_factory=_nothing)

    @property
    def is_command(self) -> bool:
        """Commands win over tasks of the same name (Q06)."""
        return self.target in ENGINE_COMMANDS


@dataclass(frozen=True, slots=True)
class Clause:
    """``on-success`` and its like: what to publish, where to go."""

    edges: tuple[Edge, ...] = ()
    publish: Publish = Publish()


NO_CLAUSE: Final = Clause()


@dataclass(frozen=True, slots=True)
class Retry:
    """§ 18.5; ``count``, ``delay`` and ``max_delay`` (0: none) are integers,
    ``backoff`` and ``jitter`` numbers, or expression texts (decision 0043)."""

    count: Any
    delay: Any
    backoff: Any = 1
    max_delay: Any = 0
    jitter: Any = 0
    break_on: str | None = None
    continue_on: str | None = None


@dataclass(frozen=True, slots=True)
class Policies:
    """The effective policies of a task; None: not set anywhere (§ 18)."""

    pause_before: Any = None
    wait_before: Any = None
    wait_after: Any = None
    fail_on: Any = None
    retry: Retry | None = None
    timeout: Any = None
    concurrency: Any = None


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task, defaults applied.

    ``action`` and ``workflow`` are names or expression texts, without inline
    parameters (those are in ``input``); exactly one of them is set
    (``std.noop`` when the text has neither). ``input`` is a mapping of
    expression trees, or the text of an expression that gives the mapping.
    ``with_items`` maps loop variables to a literal list or an expression.
    ``join``: None (no join), ``"all"`` or a number.
    """

    name: str
    action: str | None = None
    workflow: str | None = None
    input: Mapping[str, Any] | str = field(default_factory=_nothing)
    with_items: Mapping[str, Any] | None = None
    publish: Mapping[str, Any] = field(default_factory=_nothing)
    publish_on_error: Mapping[str, Any] = field(default_factory=_nothing)
    publish_on_skip: Mapping[str, Any] = field(default_factory=_nothing)
    on_success: Clause = NO_CLAUSE
    on_error: Clause = NO_CLAUSE
    on_complete: Clause = NO_CLAUSE
    on_skip: Clause = NO_CLAUSE
    join: Literal["all"] | int | None = None
    requires: tuple[str, ...] = ()
    policies: Policies = Policies()
    target: str | None = None
    keep_result: Any = True
    safe_rerun: Any = False
    description: str | None = None
    tags: tuple[str, ...] = ()
    body: Mapping[str, Any] = field(default_factory=_nothing, compare=False)

    @property
    def type(self) -> Literal["ACTION", "WORKFLOW"]:
        return "WORKFLOW" if self.workflow is not None else "ACTION"

    def clause(self, event: Event) -> Clause:
        return {
            "on-success": self.on_success,
            "on-error": self.on_error,
            "on-complete": self.on_complete,
            "on-skip": self.on_skip,
        }[event]


@dataclass(frozen=True, slots=True)
class TriggerSpec:
    """What starts a workflow by itself.

    :ivar type: ``cron`` or ``event``.
    :ivar workflow: of a workbook's: short name of the member that is started.
    :ivar declared: all that its text says, or leaves to what is usual; JSON. Of a cron
        trigger ``pattern``, ``timezone``, ``first`` (ISO, UTC), ``count``, ``input``,
        ``overlap``, ``catch_up``, ``catch_up_window``, ``enabled``, ``jitter``; of an
        event trigger ``exchange``, ``topic``, ``event``, and ``input`` as a tree of
        expressions, or ``message``, too, which is sent instead of a start (``name``,
        ``key``, ``payload``, ``execution_id``); of both ``params``, ``scope``,
        ``workflow``.
    """

    name: str
    type: Literal["cron", "event"]
    workflow: str | None
    declared: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """One workflow. ``vars``, ``output`` and ``output_on_error`` are mappings
    of expression trees, or None where the text has no such property. ``timeout`` and
    ``retry`` are of the run as a whole (decision 0043)."""

    name: str
    type: Literal["direct", "reverse"] = "direct"
    tasks: Mapping[str, TaskSpec] = field(default_factory=_nothing)
    input: InputDeclaration = field(default_factory=_nothing)
    vars: Mapping[str, Any] | None = None
    output: Mapping[str, Any] | None = None
    output_on_error: Mapping[str, Any] | None = None
    description: Any = None
    tags: tuple[str, ...] = ()
    timeout: Any = None
    retry: Retry | None = None
    body: Mapping[str, Any] = field(default_factory=_nothing, compare=False)
    triggers: tuple[TriggerSpec, ...] = field(default=(), compare=False)
    """Of its text, where that was read; not of a stored body."""
    derived: dict[str, Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What others have computed from this spec and keep with it."""


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """An ad-hoc action (§ 7). ``base_input`` holds the inline parameters too.
    ``output`` is an expression tree; None passes the base result through."""

    name: str
    base: str
    base_input: Mapping[str, Any] = field(default_factory=_nothing)
    input: InputDeclaration = field(default_factory=_nothing)
    output: Any = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    body: Mapping[str, Any] = field(default_factory=_nothing, compare=False)
    workbook: str | None = None
    """Of which it is a member; the store knows it, the text does not."""


@dataclass(frozen=True, slots=True)
class WorkbookSpec:
    """A workbook (§ 6); members carry their short names."""

    name: str
    workflows: Mapping[str, WorkflowSpec] = field(default_factory=_nothing)
    actions: Mapping[str, ActionSpec] = field(default_factory=_nothing)
    description: str | None = None
    tags: tuple[str, ...] = ()
    body: Mapping[str, Any] = field(default_factory=_nothing, compare=False)
    triggers: tuple[TriggerSpec, ...] = ()
