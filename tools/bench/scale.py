"""How the cost of a step and the memory grow with the size of one execution.

``python tools/bench/scale.py`` measures the embedded service;
``--database URL --transport URL`` (an empty database, a virtual host of its own)
one API, one engine and one executor on those. Each shape is run at several sizes,
three times each: the median of the wall time per step, the processor time of all
processes per step, and the peak of the resident memory of each process so far. A
flat column means that a step costs the same in a large execution. A benchmark,
never a test.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import requests
from sqlalchemy import create_engine, text

PROGRAMS = Path(sys.executable).parent
CONFIGURATION = """\
[DEFAULT]
transport_url = {transport}
[api]
host = 127.0.0.1
port = {port}
api_workers = 1
[pecan]
auth_enable = false
[database]
connection = {database}
[engine]
host = bench
workers = 1
inline_actions = {inline}
execution_field_size_limit_kb = -1
[executor]
host = bench
[yaql]
memory_quota = -1
[expressions]
max_output_bytes = 67108864
"""
ENDS = ("SUCCESS", "ERROR", "CANCELLED")


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


def _family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            found.extend(map(int, children.read_text().split()))
    return found


def _peak(pid: int) -> float:
    """Megabytes of resident memory, the most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Service:
    """Running processes by role, and a way to ask them."""

    url: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    session: requests.Session = field(default_factory=requests.Session)

    def cpu(self) -> float:
        pids = [p for top in self.processes.values() for p in _family(top.pid)]
        return sum(map(_seconds, pids))

    def peaks(self) -> str:
        return ", ".join(
            f"{role} {max(map(_peak, _family(process.pid))):.0f}"
            for role, process in self.processes.items()
        )

    def run(self, definition: str) -> tuple[float, float]:
        """Seconds from POST to the end, and of processor time.

        :raises SystemExit: it did not end in SUCCESS.
        """
        space = uuid.uuid4().hex
        answer = self.session.post(
            f"{self.url}/workflows?namespace={space}",
            definition,
            headers={"Content-Type": "text/plain"},
        )
        if not answer.ok:
            raise SystemExit(answer.text)
        cpu, begun = self.cpu(), time.perf_counter()
        answer = self.session.post(
            f"{self.url}/executions",
            json={"workflow_name": "w", "workflow_namespace": space},
            timeout=600,
        )
        answer.raise_for_status()
        row = {"id": answer.json()["id"], "state": "RUNNING"}
        while row["state"] not in ENDS:
            time.sleep(0.02)
            found = self.session.get(
                f"{self.url}/executions/{row['id']}?fields=id,state,state_info"
            )
            found.raise_for_status()
            row = found.json()
        if row["state"] != "SUCCESS":
            raise SystemExit(f"{row['state']}: {row['state_info']}")
        return time.perf_counter() - begun, self.cpu() - cpu


@contextmanager
def serving(arguments: argparse.Namespace) -> Iterator[Service]:
    """A fresh service; what it wrote to a server's database is left there."""
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        configuration = Path(home, "mistral.conf")
        configuration.write_text(
            CONFIGURATION.format(
                transport=arguments.transport or "memory://",
                database=arguments.database or f"sqlite:///{home}/mistral.sqlite",
                port=port,
                inline=str(not arguments.offered).lower(),
            )
        )
        given = ["--config-file", str(configuration)]
        subprocess.run(
            [PROGRAMS / "mistral-db-manage", *given, "upgrade", "head"],
            check=True,
            capture_output=True,
        )
        service = Service(f"http://127.0.0.1:{port}/v2")
        roles = ("api", "engine", "executor") if arguments.database else ("all",)
        log = stack.enter_context(Path(home, "log").open("wb"))
        try:
            for role in roles:
                service.processes[role] = subprocess.Popen(
                    [PROGRAMS / "mistral-server", *given, "--server", role],
                    stdout=log,
                    stderr=log,
                )
            _wait_until_up(service, Path(home, "log"))
            yield service
        finally:
            for process in service.processes.values():
                process.terminate()
            for process in service.processes.values():
                process.wait(60)


def _wait_until_up(service: Service, log: Path) -> None:
    while True:
        try:
            service.session.get(f"{service.url}/", timeout=1)
            break
        except requests.ConnectionError:
            if any(p.poll() is not None for p in service.processes.values()):
                raise SystemExit(log.read_text()) from None
            time.sleep(0.05)
    service.run("version: '2.0'\nw:\n  tasks:\n    t: {action: std.noop}\n")


def _server_version(url: str | None) -> str:
    if url is None:
        return f"SQLite {sqlite3.sqlite_version}"
    engine = create_engine(url)
    with engine.connect() as connection:
        shown = connection.execute(text("SELECT version()")).scalar_one()
    engine.dispose()
    return str(shown).split(",")[0].split(" (")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", help=f"of: {', '.join(SHAPES)}")
    parser.add_argument("--database", help="URL of an empty database of a server")
    parser.add_argument("--transport", help="URL of the broker, with --database")
    parser.add_argument("--offered", action="store_true", help="no inline actions")
    parser.add_argument("--full", action="store_true", help="200,000 tasks, too")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    unknown = set(arguments.shapes) - set(SHAPES)
    if unknown or (arguments.database is None) != (arguments.transport is None):
        parser.error(f"unknown: {unknown}" if unknown else "give both URLs or none")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, "
        f"Python {platform.python_version()}, SQLAlchemy {version('sqlalchemy')}, "
        f"{_server_version(arguments.database)}; "
        f"actions {'offered' if arguments.offered else 'inline'}; "
        f"medians of {arguments.runs}"
    )
    print(f"{'shape':<8}{'size':>7}{'steps':>8}{'wall s':>9}{'ms/step':>9}"
          f"{'ms CPU/step':>13}  peak MB")  # fmt: skip
    for shape in arguments.shapes or SHAPES:
        make, sizes = SHAPES[shape]
        with serving(arguments) as service:
            for size in FULL.get(shape, sizes) if arguments.full else sizes:
                definition, steps = make(size)
                found = [service.run(definition) for _ in range(arguments.runs)]
                wall = statistics.median(seconds for seconds, _ in found)
                cpu = statistics.median(seconds for _, seconds in found)
                print(
                    f"{shape:<8}{size:>7}{steps:>8}{wall:>9.2f}"
                    f"{1000 * wall / steps:>9.3f}{1000 * cpu / steps:>13.3f}"
                    f"  {service.peaks()}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
