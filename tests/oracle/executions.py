"""One task execution, and the calls that it makes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from oracle.contexts import Context
from oracle.unsure import CANCELLED, ERROR, SUCCESS, UNSURE


@dataclass(eq=False)
class Call:
    """One action execution or sub-workflow.

    ``state`` is empty while it is open; ``run`` is the sub-workflow's. ``is_action``:
    neither a sub-workflow nor one that there is not.
    """

    item: int
    state: str = ""
    result: Any = UNSURE
    run: Any = None
    is_action: bool = True


@dataclass(eq=False)
class Execution:
    """One task execution.

    ``state`` is empty while it is open; ``counting`` has the call of each item whose
    result counts. ``phase``: the operation that it last moved after. ``redo``: the last
    rerun or skip that led to it. ``several``: how many calls it made depends on the
    order of events.
    """

    name: str
    context: Context
    before: frozenset[int] = frozenset()
    redo: int = 0
    token: int = 0
    phase: int = 0
    state: str = ""
    published: dict[str, Any] = field(default_factory=dict)
    result: Any = UNSURE
    items: list[Any] | None = None
    calls: list[Call] = field(default_factory=list)
    counting: dict[int, Call] = field(default_factory=dict)
    unopened: deque[int] = field(default_factory=deque)
    repeats: int = 0
    next: list[str] = field(default_factory=list)
    handled: bool = False
    routed: bool = False
    forced: bool = False
    never_ran: bool = False
    unsure: bool = False
    several: bool = False

    @property
    def outbound(self) -> Context:
        if self.forced:
            return Context(fuzzy=True)
        return self.context.publish(self.published)

    def reopen(self, redo: int, phase: int) -> None:
        """It goes on: rerun, or what is below it was."""
        self.state, self.routed, self.handled, self.next = "", False, False, []
        self.forced = self.unsure = False
        self.redo, self.phase = max(redo, self.redo), phase

    def open_runs(self) -> Iterator[Any]:
        """Sub-workflows that are not over, of all attempts."""
        return (c.run for c in self.calls if c.run is not None and not c.state)

    def actions(self, item: int) -> int:
        return sum(call.is_action and call.item == item for call in self.calls)

    def outcome(self) -> tuple[str, Any] | None:
        """State and result by what its calls say; None: it goes on (LANG § 12.2)."""
        if self.never_ran:
            return ERROR, UNSURE
        calls = [self.counting[index] for index in sorted(self.counting)]
        if self.items is None:
            return (calls[0].state, calls[0].result) if calls[0].state else None
        states = {call.state for call in calls}
        if CANCELLED in states:
            # At once: which of the others were opened depends on the order.
            self.several = self.unsure = True
            return CANCELLED, UNSURE
        if self.unopened or "" in states:
            return None
        return ERROR if ERROR in states else SUCCESS, [call.result for call in calls]
