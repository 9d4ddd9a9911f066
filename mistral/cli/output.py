"""How answers are shown: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mistral.cli.tree import coloured, duration, execution_tree
from mistral.cli.yaml_out import to_yaml

FORMATS: Final = ("table", "json", "yaml")

FILE_COLUMNS: Final = 1000


class Output:
    """Where results go.

    :param style: one of :data:`FORMATS`.
    """

    def __init__(self, style: str, console: Console | None = None) -> None:
        self.style = style
        self.console = console or Console()
        if console is None and not self.console.is_terminal:
            # A file or pipe has no edge: an id must never be cut there.
            self.console = Console(width=FILE_COLUMNS)

    @property
    def for_people(self) -> bool:
        return self.style == "table"

    def data(self, value: Any) -> None:
        """``value`` for a program."""
        text = (
            to_yaml(value)
            if self.style == "yaml"
            else json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        )
        self.console.file.write(text)

    def say(self, text: str) -> None:
        """A line for people (rich markup); programs do not see it."""
        if self.for_people:
            self.console.print(text, highlight=False, soft_wrap=True)

    def table(
        self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str
    ) -> None:
        """``rows`` as a table with ``columns``, or as they are for programs."""
        if not self.for_people:
            self.data(list(rows))
            return
        if not rows:
            self.say(empty)
            return
        table = Table(*(name.replace("_", " ") for name in columns), box=None)
        for row in rows:
            table.add_row(*(_cell(name, row.get(name)) for name in columns))
        self.console.print(table, soft_wrap=True)

    def warnings(self, file: str, warnings: Sequence[Mapping[str, Any]]) -> None:
        """One line each, as compilers write them, so that editors find the
        place. Programs have them in their data already."""
        for warning in warnings:
            # The last one may only say how many more there are.
            place = [warning.get("line"), warning.get("column")]
            where = ":".join([file, *(str(n) for n in place if n is not None)])
            rule = warning.get("rule")
            path = warning.get("path")
            self.say(
                f"{escape(where)}: [yellow]warning[/yellow]: "
                + (f"{escape(path)}: " if path else "")
                + escape(str(warning.get("message")))
                + (f" ({escape(rule)})" if rule else "")
            )

    def execution(self, execution: Mapping[str, Any], now: datetime | None) -> None:
        """One execution, without its tree."""
        if not self.for_people:
            self.data(execution)
            return
        name, state = execution["workflow_name"], str(execution["state"])
        took = duration(execution, now)
        self.say(
            f"[bold]{escape(str(name))}[/bold]  {coloured(state)}"
            f"{f'  [dim]{took}[/dim]' if took else ''}  {escape(execution['id'])}"
        )
        if execution.get("state_info"):
            self.say(f"[red]{escape(str(execution['state_info']))}[/red]")

    def result(self, execution: Mapping[str, Any]) -> None:
        """What an execution was given and what came out, for people."""
        for name in ("input", "output"):
            value = execution.get(name)
            if value:
                self.say(f"[bold]{name}[/bold]")
                self.say(escape(json.dumps(value, indent=2, ensure_ascii=False)))

    def report(self, report: Mapping[str, Any], now: datetime | None) -> None:
        """A report: counts, then the tree."""
        if not self.for_people:
            self.data(report)
            return
        counts = report.get("statistics", {})
        shown = [
            f"{name.removesuffix('_tasks_count')}: {value}"
            for name, value in counts.items()
            if name.endswith("_tasks_count") and value
        ]
        self.say(f"tasks: {', '.join(shown) or 'none'}")
        if report.get("root_workflow_execution"):
            self.tree(report["root_workflow_execution"], now)

    def tree(self, root: Mapping[str, Any], now: datetime | None) -> None:
        self.console.print(execution_tree(root, now), highlight=False)


def _cell(name: str, value: Any) -> str:
    if name == "state":
        return coloured(str(value))
    if value is None:
        return ""
    if isinstance(value, list):
        return escape(", ".join(str(member) for member in value))
    return escape(str(value))
