"""How the cost of a step and the memory grow with the size of one execution.

``python tools/bench/scale.py`` measures the embedded service; ``--topology`` names
another one (``stack.py``), on a database and in a virtual host of its own. Each shape
is run at several sizes, three times each: the median of the wall time per step, the
processor time of all processes per step, and the peak of the resident memory of each
process so far. A flat column means that a step costs the same in a large execution.
A benchmark, never a test.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version

import ending
from client import Client
from stack import PROBE, TOPOLOGIES, Servers, Target

UNLIMITED = """\
[engine]
execution_field_size_limit_kb = -1
[yaql]
memory_quota = -1
[expressions]
max_output_bytes = 67108864
"""


# -- shapes ----------------------------------------------------------------------------


def tasks(lines: list[str], head: str = "") -> str:
    return "\n".join(["version: '2.0'", "w:", *head.splitlines(), "  tasks:", *lines])


def items(n: int) -> tuple[str, int]:
    """with-items over n numbers; a step is an item."""
    over = f"with-items: i in <% range({n}) %>"
    return tasks([f"    t:\n      {over}\n      action: std.echo output=<% $.i %>"]), n


def join(n: int) -> tuple[str, int]:
    """n branches that publish meet; a step is a branch."""
    lines = [
        f"    b{k}: {{action: std.noop, publish: {{v{k}: {k}}}, on-success: j}}"
        for k in range(n)
    ]
    return tasks([*lines, "    j: {join: all, action: std.noop}"]), n


def joins(n: int) -> tuple[str, int]:
    """n joins of two, one after the other; a step is a task."""
    lines = ["    s0: {action: std.noop, on-success: [l0, r0]}"]
    for k in range(n):
        then = f"on-success: [l{k + 1}, r{k + 1}]" if k + 1 < n else "tags: [last]"
        lines += [
            f"    l{k}: {{action: std.noop, on-success: s{k + 1}}}",
            f"    r{k}: {{action: std.noop, on-success: s{k + 1}}}",
            f"    s{k + 1}: {{join: all, action: std.noop, {then}}}",
        ]
    return tasks(lines), 3 * n


def _loop(levels: int, passes: int) -> tuple[str, int]:
    lines = [
        "    start: {action: std.noop, on-success: t0}",
        "    t0: {action: std.noop, publish: {i: <% $.i + 1 %>}, on-success: t1}",
    ]
    lines += [
        f"    t{k}: {{action: std.noop, on-success: t{k + 1}}}"
        for k in range(1, levels)
    ]
    again = f"{{t0: <% $.i < {passes} %>}}"
    lines.append(f"    t{levels}: {{action: std.noop, on-success: [{again}]}}")
    return tasks(lines, "  vars: {i: 0}"), (levels + 1) * passes


def loop(n: int) -> tuple[str, int]:
    """n passes of a loop of two tasks; a step is a task."""
    return _loop(1, n)


def chain(n: int) -> tuple[str, int]:
    """n passes of a loop through 200 tasks; a step is a task."""
    return _loop(200, n)


def nested(n: int) -> tuple[str, int]:
    """Sub-workflows n deep; a step is a level."""
    found = ["version: '2.0'"]
    for k in range(n):
        found.append(f"w{k or ''}:\n  tasks:\n    t: {{workflow: w{k + 1}}}")
    found.append(f"w{n}:\n  tasks:\n    t: {{action: std.noop}}")
    return "\n".join(found), n


def data(n: int) -> tuple[str, int]:
    """A text of n MB is published once, 50 tasks read it; a step is a task."""
    lines = [
        f"    t0: {{action: std.noop, publish: {{big: '<% \"x\" * {n}000000 %>'}},"
        " on-success: t1}"
    ]
    lines += [
        f"    t{k}: {{action: std.noop, publish: {{n: <% $.big.len() %>}},"
        f" on-success: t{k + 1}}}"
        for k in range(1, 50)
    ]
    done = "  output: {n: <% $.n %>}"
    return tasks([*lines, "    t50: {action: std.noop}"], done), 51


SHAPES: dict[str, tuple[Callable[[int], tuple[str, int]], tuple[int, ...]]] = {
    "items": (items, (1_000, 3_000, 10_000)),
    "join": (join, (200, 600, 2_000)),
    "joins": (joins, (100, 300, 1_000)),
    "loop": (loop, (100, 300, 1_000)),
    "chain": (chain, (1, 5, 25)),
    "nested": (nested, (10, 25, 50)),
    "data": (data, (1, 3, 10)),
}
FULL = {"chain": (1, 10, 100, 1_000)}


# -- the service -----------------------------------------------------------------------


def run(target: Target, client: Client, definition: str) -> tuple[float, float]:
    """Seconds from POST to the end, and of processor time."""
    space = uuid.uuid4().hex
    client.upload(definition, space)
    before = sum(target.cpu().values())
    wall = client.succeed("w", {}, space)
    return wall, sum(target.cpu().values()) - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", help=f"of: {', '.join(SHAPES)}")
    parser.add_argument("--topology", default="embedded", choices=TOPOLOGIES)
    parser.add_argument("--postgresql", help="URL of an administrator; default: own")
    parser.add_argument(
        "--mariadb", default="mariadb+pymysql://root@127.0.0.1:3306/mysql"
    )
    parser.add_argument("--full", action="store_true", help="200,000 tasks, too")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    ending.unwind_when_told()
    if unknown := set(arguments.shapes) - set(SHAPES):
        parser.error(f"unknown: {unknown}")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, "
        f"Python {platform.python_version()}, SQLAlchemy {version('sqlalchemy')}; "
        f"{arguments.topology}; medians of {arguments.runs}"
    )
    print(f"{'shape':<8}{'size':>7}{'steps':>8}{'wall s':>9}{'ms/step':>9}"
          f"{'ms CPU/step':>13}  peak MB")  # fmt: skip
    for shape in arguments.shapes or SHAPES:
        make, sizes = SHAPES[shape]
        with ExitStack() as stack:
            servers = Servers(stack, arguments.postgresql, arguments.mariadb)
            target = servers.start(arguments.topology, more=UNLIMITED)
            client = Client(target.url)
            client.until_it_works(PROBE, "probe")
            for size in FULL.get(shape, sizes) if arguments.full else sizes:
                definition, steps = make(size)
                found = [run(target, client, definition) for _ in range(arguments.runs)]
                wall = statistics.median(seconds for seconds, _ in found)
                cpu = statistics.median(seconds for _, seconds in found)
                peaks = ", ".join(f"{r} {m:.0f}" for r, m in target.peaks().items())
                print(
                    f"{shape:<8}{size:>7}{steps:>8}{wall:>9.2f}"
                    f"{1000 * wall / steps:>9.3f}{1000 * cpu / steps:>13.3f}"
                    f"  {peaks}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
