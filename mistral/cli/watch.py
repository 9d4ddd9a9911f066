"""Following an execution until it ends.

A terminal shows the tree as it changes; anything else gets a line for each
change, so that a log file reads well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.live import Live

from mistral import errors
from mistral.cli.output import Output
from mistral.cli.rest import Service
from mistral.cli.tree import execution_tree, states

#: Short at first, so that a quick workflow is over at once; then calmer.
FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 2.0

#: How long the service may be away (a restart) before watching gives up.
PATIENCE_SECONDS: Final = 60.0

ENDED: Final = frozenset({"SUCCESS", "ERROR", "CANCELLED"})


def watch(
    service: Service,
    execution_id: str,
    output: Output,
    pause: Callable[[float], None],
) -> str:
    """Follows the execution and returns the state in which it ended.

    :param pause: waits for that many seconds.
    :raises Unavailable: the service was away for longer than
        :data:`PATIENCE_SECONDS`.
    """
    if output.for_people and output.console.is_terminal:
        return _live(service, execution_id, output, pause)
    seen: dict[str, str] = {}

    def show(root: Mapping[str, Any]) -> None:
        for key, path, state in states(root):
            if seen.get(key) != state:
                seen[key] = state
                output.say(f"{path}: {state}")

    return _follow(service, execution_id, show, pause)


def _live(
    service: Service,
    execution_id: str,
    output: Output,
    pause: Callable[[float], None],
) -> str:
    with Live(console=output.console, auto_refresh=False, transient=True) as live:

        def show(root: Mapping[str, Any]) -> None:
            live.update(execution_tree(root, service.answered_at), refresh=True)

        return _follow(service, execution_id, show, pause)


def _follow(
    service: Service,
    execution_id: str,
    show: Callable[[Mapping[str, Any]], None],
    pause: Callable[[float], None],
) -> str:
    interval, away = FIRST_SECONDS, 0.0
    while True:
        try:
            report = service.get("executions", execution_id, "report")
            away = 0.0
        except errors.Unavailable:
            away += interval
            if away > PATIENCE_SECONDS:
                raise
        else:
            root = report["root_workflow_execution"]
            show(root)
            if root["state"] in ENDED:
                return str(root["state"])
        pause(interval)
        interval = min(interval * 1.5, LONGEST_SECONDS)
