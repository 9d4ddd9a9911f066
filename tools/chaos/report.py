"""What is said of a campaign, as JSON and as Markdown."""

from __future__ import annotations

import itertools
import os
import platform
import subprocess
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chaos.faults import Happened
from chaos.hops import Lost
from chaos.judge import Verdict, percentile, progress
from chaos.schedule import KINDS, LOSES

LONGEST = 15
NONE_LOSE = "faults that lose no message"
ALL_LOSE = "faults that lose messages"
EVERYTHING = "all faults, no time left out"
PROJECT = Path(__file__).parents[2]


@dataclass
class Round:
    """:param seconds: until all had ended, since the last fault had.
    :param users: what users had to complain about.
    """

    seed: str
    happened: Sequence[Happened]
    verdict: Verdict
    seconds: float
    users: Sequence[str] = ()


@dataclass
class Campaign:
    """All rounds, and what was seen of the processes."""

    arguments: Mapping[str, Any]
    rounds: list[Round] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    """What must not be in their logs, or of their ends."""
    lost: list[Lost] = field(default_factory=list)
    """What came of hops whose messages were lost."""

    def wrong(self) -> list[str]:
        """Everything that must not be."""
        return [
            *(what for each in self.rounds for what in each.verdict.wrong),
            *(what for each in self.rounds for what in each.users),
            *(
                f"{one.fault.kind} {one.fault.victim}: {one.note}"
                for each in self.rounds
                for one in each.happened
                if one.note.startswith("the tool failed")
            ),
            *self.processes,
            *(f"{each.hop}: {what}" for each in self.lost for what in each.wrong),
        ]


def as_json(campaign: Campaign) -> dict[str, Any]:
    """All of it, for programs."""
    by_kind = _by_kind(campaign)
    return {
        **_about(),
        "arguments": dict(campaign.arguments),
        "wrong": campaign.wrong(),
        "totals": totals(campaign),
        "progress": {kind: _percentiles(waits) for kind, waits in by_kind.items()},
        "hops": [each.line() for each in campaign.lost],
        "longest gaps": _gaps(campaign),
        "rounds": [
            {
                "seed": each.seed,
                "settled after": round(each.seconds, 2),
                "runs": each.verdict.runs,
                "wrong": [*each.verdict.wrong, *each.users],
                "faults": [_line(one) for one in each.happened],
            }
            for each in campaign.rounds
        ],
    }


def totals(campaign: Campaign) -> dict[str, int]:
    verdicts = [each.verdict for each in campaign.rounds]
    skipped = [bool(h.skipped) for each in campaign.rounds for h in each.happened]
    return {
        "faults": skipped.count(False),
        "skipped faults": skipped.count(True),
        "executions": sum(v.runs for v in verdicts),
        "sub-workflows": sum(v.children for v in verdicts),
        "actions": sum(v.actions for v in verdicts),
        "calls in the ledger": sum(v.calls for v in verdicts),
        "actions lost with their executors": sum(len(v.lost) for v in verdicts),
        "repeated calls of safe-rerun actions": sum(v.repeated for v in verdicts),
    }


def markdown(campaign: Campaign) -> str:
    """A page."""
    about = _about()
    wrong = campaign.wrong()
    lines = ["# Fault campaign", "", f"**{len(wrong)} things are wrong.**", ""]
    lines += [f"* {what}" for what in wrong[:100]] + [""]
    lines += [f"* {name}: {value}" for name, value in about.items()]
    shown = " ".join(f"{name}={value}" for name, value in campaign.arguments.items())
    lines += [f"* arguments: {shown}"]
    lines += [f"* {name}: {value}" for name, value in totals(campaign).items()]
    longest = max((each.seconds for each in campaign.rounds), default=0.0)
    lines += [f"* longest time from the end of a round's faults until all was over: "
              f"{longest:.1f} s", "", "## From a fault to what happens next", "",
              "Seconds from the beginning of a fault until something happens to a run"
              " that was open then. Runs that wait for timers or people are left out,"
              " and so are times in which another fault took messages away.",
              "", "| fault | what it is | times | runs | p50 | p99 | longest |",
              "| --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    counts = Counter(
        one.fault.kind for each in campaign.rounds for one in each.happened
        if not one.skipped
    )  # fmt: skip
    for kind, waits in _by_kind(campaign).items():
        p = _percentiles(waits)
        about_kind = KINDS[kind].about if kind in KINDS else "all of these together"
        times = counts[kind] or sum(
            number for name, number in counts.items()
            if kind == EVERYTHING or (name in LOSES) == (kind == ALL_LOSE)
        )  # fmt: skip
        lines.append(
            f"| {kind} | {about_kind} | {times} | {len(waits)} | {p['p50']:.2f} |"
            f" {p['p99']:.2f} | {p['longest']:.2f} |"
        )
    lines += ["", "## Longest times without anything", ""]
    lines += [f"* {gap}" for gap in _gaps(campaign)]
    if campaign.lost:
        lines += ["", "## Hops", "", "| hop | what it is | lost | for | executions |"
                  " over after | without loss |",
                  "| --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for lost in campaign.lost:
        lines.append(
            f"| {lost.hop} | {lost.about} | {lost.lost} | {lost.seconds:.1f} s |"
            f" {lost.executions} | {lost.after:.1f} s | {lost.alone:.1f} s |"
        )
    for number, each in enumerate(campaign.rounds, 1):
        lines += ["", f"## Round {number}, seed {each.seed}", ""]
        lines += [f"* {_text(one)}" for one in each.happened]
    return "\n".join(lines) + "\n"


def _by_kind(campaign: Campaign) -> dict[str, list[float]]:
    """Seconds. A time in which another fault took messages away is not counted: what
    is lost is sent again after thirty seconds, whatever else happens then."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for each in campaign.rounds:
        happened = [one for one in each.happened if not one.skipped]
        losses = [one for one in happened if one.fault.kind in LOSES]
        for one in happened:
            others = [loss for loss in losses if loss is not one]
            met = progress(each.verdict.times, one.began)
            found[EVERYTHING] += [wait.seconds for wait in met]
            waits = [
                wait.seconds
                for wait in met
                if not any(
                    loss.began <= wait.after[0] and wait.before[0] <= loss.ended
                    for loss in others
                )
            ]
            found[one.fault.kind] += waits
            found[ALL_LOSE if one.fault.kind in LOSES else NONE_LOSE] += waits
    return {
        kind: found[kind]
        for kind in (*KINDS, NONE_LOSE, ALL_LOSE, EVERYTHING)
        if kind in found
    }


def _gaps(campaign: Campaign) -> list[str]:
    """The longest times in which nothing happened to a run that waited for nothing
    but its actions, whatever faults fell into them."""
    found = []
    for each in campaign.rounds:
        for run_id, steps in each.verdict.times.items():
            for before, after in itertools.pairwise(steps):
                found.append((after[0] - before[0], run_id, before, after))
    return [
        f"{seconds:.1f} s: {run_id}, {_clock(before[0])} {before[1]} to"
        f" {_clock(after[0])} {after[1]}"
        for seconds, run_id, before, after in sorted(found, reverse=True)[:LONGEST]
    ]


def _percentiles(waits: Sequence[float]) -> dict[str, float]:
    return {
        "p50": round(percentile(waits, 50), 3),
        "p99": round(percentile(waits, 99), 3),
        "longest": round(max(waits, default=0.0), 3),
    }


def _line(one: Happened) -> dict[str, Any]:
    return {**asdict(one.fault), "began": one.began, "ended": one.ended,
            "note": one.note, "skipped": one.skipped}  # fmt: skip


def _text(one: Happened) -> str:
    lasted = f" for {one.fault.seconds:.1f} s" if one.fault.seconds else ""
    more = f" ({one.note})" if one.note else ""
    more += f": did not happen, {one.skipped}" if one.skipped else ""
    return f"{_clock(one.began)} {one.fault.kind} {one.fault.victim}{lasted}{more}"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def _about() -> dict[str, Any]:
    done = subprocess.run(
        ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": done.stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores,"
        f" load average {os.getloadavg()[0]:.1f}",
    }
