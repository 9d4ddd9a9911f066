"""What the embedded service costs: ``python tools/bench/embedded.py``.

Starts ``mistral-server`` on SQLite and the in-memory transport, drives it over
REST and prints a table: chains, with-items, joins, start-up, memory, idle CPU.
Wall time of a run is from POST to the terminal state, seen by polling; engine
CPU is the process's own (``/proc``). A benchmark, never a test.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from contextlib import ExitStack

import ending
from client import Client
from stack import Servers, Target


def chain(length: int) -> str:
    lines = ["version: '2.0'", f"chain_{length}:", "  tasks:"]
    for n in range(length):
        following = f", on-success: t{n + 1}" if n + 1 < length else ""
        lines.append(f"    t{n}: {{action: std.noop{following}}}")
    return "\n".join(lines)


ITEMS = """version: '2.0'
items:
  input: [n]
  tasks:
    t: {with-items: "i in <% range($.n) %>", action: std.echo output=<% $.i %>}
"""


def join(branches: int) -> str:
    lines = ["version: '2.0'", f"join_{branches}:", "  tasks:"]
    lines += [f"    b{n}: {{on-success: j}}" for n in range(branches)]
    lines.append("    j: {join: all}")
    return "\n".join(lines)


def measure(
    target: Target, client: Client, label: str, units: int, name: str, **input: object
) -> None:
    walls, cpus = [], []
    for _ in range(3):
        before = sum(target.cpu().values())
        walls.append(client.succeed(name, input))
        cpus.append(sum(target.cpu().values()) - before)
    wall, cpu = statistics.median(walls), statistics.median(cpus)
    print(
        f"{label:<34}{wall:>9.3f} s {1000 * wall / units:>9.3f} ms/unit"
        f" {1000 * cpu / units:>9.3f} ms CPU/unit",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle", type=float, default=20.0, help="seconds to watch")
    parser.add_argument("--quick", action="store_true", help="leave out the largest")
    arguments = parser.parse_args()
    ending.unwind_when_told()
    load = os.getloadavg()[0]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {load:.2f}, "
        f"Python {platform.python_version()}; medians of 3"
    )
    large = [] if arguments.quick else [10_000]
    for topology in ("embedded", "embedded-executors"):
        with ExitStack() as stack:
            target = Servers(stack, None, "").start(topology)
            client = Client(target.url)
            print(f"-- {topology}: up in {target.up_after:.2f} s, "
                  f"{target.memory()['all']:.0f} MB")  # fmt: skip
            client.upload(chain(100))
            client.upload(ITEMS)
            measure(target, client, "chain of 100 std.noop", 100, "chain_100")
            for n in (100, 1_000, *large):
                measure(target, client, f"with-items of {n} std.echo", n, "items", n=n)
            for n in (10, 100, 1_000):
                client.upload(join(n))
                measure(target, client, f"join of {n}", n, f"join_{n}")
            before = target.cpu()["all"]
            time.sleep(arguments.idle)
            used = 100 * (target.cpu()["all"] - before) / arguments.idle
            memory = target.memory()["all"]
            print(f"idle {used:.2f} % of a core, {memory:.0f} MB after the load")


if __name__ == "__main__":
    main()
