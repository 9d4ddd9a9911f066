"""What was measured, as rows; as Markdown, as JSON, and in the history."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from limit import Limit
from scenarios import Sample, Scenario, percentile

PROJECT = Path(__file__).parents[2]


@dataclass
class Row:
    """One scenario on one target: medians over its repetitions.

    CPU in milliseconds per unit, times in milliseconds, memory in MB.
    """

    scenario: str
    target: str
    unit: str
    units: int
    runs: int
    rate: float
    cpu: dict[str, float]
    times: dict[str, float] = field(default_factory=dict)
    statements: float | None = None
    commits: float | None = None
    messages: float | None = None
    figures: dict[str, float] = field(default_factory=dict)
    pace: float = 0.0
    limit: Limit | None = None

    @property
    def total(self) -> float:
        return sum(self.cpu.values())


def row(
    scenario: Scenario,
    target: str,
    samples: Sequence[Sample],
    messages: float | None = None,
    limit: Limit | None = None,
) -> Row:
    """:param messages: per unit.
    :param limit: of the bare loop.
    """
    units = samples[0].units
    cpu: dict[str, list[float]] = defaultdict(list)
    figures: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        for role, seconds in sample.cpu.items():
            cpu[role].append(1000 * seconds / sample.units)
        for name, value in sample.figures.items():
            figures[name].append(value)
    times = [1000 * each for sample in samples for each in sample.times]
    found = Row(
        scenario.name,
        target,
        scenario.unit,
        units,
        len(samples),
        statistics.median(s.units / s.seconds for s in samples),
        {role: statistics.median(values) for role, values in cpu.items()},
        statements=_per_unit(samples, "statements"),
        commits=_per_unit(samples, "commits"),
        messages=messages,
        figures={name: statistics.median(values) for name, values in figures.items()},
        limit=limit,
        pace=statistics.median(sample.pace for sample in samples),
    )
    if times:
        found.times = {f"p{p}": percentile(times, p) for p in (50, 95, 99)}
    return found


def _per_unit(samples: Iterable[Sample], name: str) -> float | None:
    found = []
    for sample in samples:
        before, after = getattr(sample.before, name), getattr(sample.after, name)
        if before is None or after is None:
            return None
        found.append((after - before) / sample.units)
    return statistics.median(found)


def machine(versions: Iterable[str]) -> dict[str, Any]:
    """Where and on what it was measured."""
    packages = ("SQLAlchemy", "psycopg", "PyMySQL", "oslo.messaging", "yaql")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("describe", "--always", "--dirty"),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "load at start": round(os.getloadavg()[0], 2),
        "versions": [
            f"Python {platform.python_version()}",
            *sorted(set(versions)),
            *(f"{name} {version(name)}" for name in packages),
        ],
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True
    )
    return done.stdout.strip()


def markdown(about: dict[str, Any], rows: Sequence[Row], memory: Any) -> str:
    """A page: one table, the scenarios one after the other."""
    lines = [
        f"{about['at']}, commit {about['commit']}: {about['processor']},"
        f" {about['cores']} cores, load average {about['load at start']} at the start"
        f" and {about['load at end']} at the end; {', '.join(about['versions'])}.",
        "",
        "CPU is milliseconds per unit; statements (without BEGIN and COMMIT), commits"
        " and broker messages are per unit, too; p50, p95 and p99 are milliseconds."
        " Pace is the CPU that a fixed piece of work took beside it.",
        "",
    ]
    head = ("scenario", "target", "unit", "units/s", "CPU", "pace", "of which", "SQL",
            "commits", "messages", "p50 / p95 / p99", "more")  # fmt: skip
    lines += [_line(head), _line(["---"] * len(head))]
    for each in rows:
        of = ", ".join(f"{role} {ms:.2f}" for role, ms in each.cpu.items())
        times = " / ".join(f"{ms:.1f}" for ms in each.times.values())
        more = ", ".join(f"{key} {value:.2f}" for key, value in each.figures.items())
        lines.append(
            _line(
                [
                    each.scenario,
                    each.target,
                    f"{each.units} {each.unit}",
                    f"{each.rate:.1f}",
                    f"{each.total:.2f}",
                    f"{each.pace:.0f}",
                    of,
                    _number(each.statements),
                    _number(each.commits),
                    _number(each.messages),
                    times,
                    more,
                ]
            )
        )
    limits = [each for each in rows if each.limit is not None]
    if limits:
        lines += ["", *against_the_limit(limits)]
    lines += ["", "Memory of the largest process, MB, at the start / at the end:", ""]
    for target, (before, after) in memory.items():
        found = ", ".join(
            f"{role} {before[role]:.0f} / {after[role]:.0f}" for role in before
        )
        lines.append(f"* {target}: {found or 'not looked at'}")
    return "\n".join(lines) + "\n"


def against_the_limit(rows: Iterable[Row]) -> list[str]:
    """How far each scenario is from a bare loop that writes and sends the same."""
    head = ("scenario", "target", "units/s", "bare loop", "share", "CPU of engine and"
            " database", "bare loop", "share")  # fmt: skip
    lines = [
        "Against a bare loop that makes the same writes and messages (see limit.py):",
        "",
        _line(head),
        _line(["---"] * len(head)),
    ]
    for each in rows:
        assert each.limit is not None
        rate = each.units / each.limit.seconds
        bare = 1000 * each.limit.cpu / each.units
        own = each.cpu.get("engine", 0) + each.cpu.get("database", 0)
        lines.append(
            _line(
                [
                    each.scenario,
                    each.target,
                    f"{each.rate:.0f}",
                    f"{rate:.0f}",
                    f"{each.rate / rate:.2f}",
                    f"{own:.2f}",
                    f"{bare:.2f}",
                    f"{bare / own:.2f}" if own else "–",
                ]
            )
        )
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def as_json(about: dict[str, Any], rows: Iterable[Row], memory: Any) -> dict[str, Any]:
    return {
        **about,
        "memory": memory,
        "rows": [
            {
                **vars(each),
                "total": each.total,
                "limit": vars(each.limit) if each.limit else None,
            }
            for each in rows
        ],
    }


def append_history(path: Path, found: dict[str, Any]) -> None:
    """One line of JSON per run, the newest last."""
    with path.open("a") as out:
        out.write(json.dumps(found, separators=(",", ":")) + "\n")
