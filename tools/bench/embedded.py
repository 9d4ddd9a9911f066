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
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

PROGRAMS = Path(sys.executable).parent
CONFIGURATION = """\
[DEFAULT]
transport_url = memory://
[api]
host = 127.0.0.1
port = {port}
[pecan]
auth_enable = false
[database]
connection = sqlite:///{home}/mistral.sqlite
[engine]
inline_actions = {inline}
"""


class Server:
    """A running service and what it has used."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process = process
        self.url = url
        self.session = requests.Session()

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def upload(self, text: str) -> None:
        answer = self.session.post(
            f"{self.url}/workflows", data=text, headers={"Content-Type": "text/plain"}
        )
        answer.raise_for_status()

    def run(self, name: str, input: dict[str, object] | None = None) -> float:
        """Seconds from POST to SUCCESS.

        :raises SystemExit: it ended otherwise.
        """
        begun = time.perf_counter()
        answer = self.session.post(
            f"{self.url}/executions", json={"workflow_name": name, "input": input or {}}
        )
        answer.raise_for_status()
        row = answer.json()
        while row["state"] not in ("SUCCESS", "ERROR", "CANCELLED"):
            time.sleep(0.01)
            row = self.session.get(
                f"{self.url}/executions/{row['id']}?fields=state,id,state_info"
            ).json()
        if row["state"] != "SUCCESS":
            raise SystemExit(f"{name}: {row['state']}: {row['state_info']}")
        return time.perf_counter() - begun


@contextmanager
def serving(inline: bool) -> Iterator[tuple[Server, float]]:
    with tempfile.TemporaryDirectory() as home, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        configuration = Path(home, "mistral.conf")
        configuration.write_text(
            CONFIGURATION.format(port=port, home=home, inline=str(inline).lower())
        )
        upgrade = ["--config-file", configuration, "upgrade", "head"]
        subprocess.run(
            [PROGRAMS / "mistral-db-manage", *upgrade], check=True, capture_output=True
        )
        begun = time.perf_counter()
        with Path(home, "log").open("wb") as log:
            process = subprocess.Popen(
                [PROGRAMS / "mistral-server", "--config-file", configuration],
                stdout=log,
                stderr=log,
            )
        server = Server(process, f"http://127.0.0.1:{port}/v2")
        try:
            while True:
                try:
                    server.session.get(f"{server.url}/", timeout=1)
                    break
                except requests.ConnectionError:
                    if process.poll() is not None:
                        raise SystemExit(Path(home, "log").read_text()) from None
                    time.sleep(0.02)
            yield server, time.perf_counter() - begun
        finally:
            process.terminate()
            process.wait(30)


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


def measure(server: Server, label: str, units: int, name: str, **input: object) -> None:
    walls, cpus = [], []
    for _ in range(3):
        before = server.cpu()
        walls.append(server.run(name, input))
        cpus.append(server.cpu() - before)
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
    load = os.getloadavg()[0]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {load:.2f}, "
        f"Python {platform.python_version()}; medians of 3"
    )
    large = [] if arguments.quick else [10_000]
    for inline in (True, False):
        with serving(inline) as (server, started):
            print(f"-- inline_actions = {inline}: up in {started:.2f} s, "
                  f"{server.memory():.0f} MB")  # fmt: skip
            server.upload(chain(100))
            server.upload(ITEMS)
            measure(server, "chain of 100 std.noop", 100, "chain_100")
            for n in (100, 1_000, *large):
                measure(server, f"with-items of {n} std.echo", n, "items", n=n)
            for n in (10, 100, 1_000):
                server.upload(join(n))
                measure(server, f"join of {n}", n, f"join_{n}")
            before = server.cpu()
            time.sleep(arguments.idle)
            used = 100 * (server.cpu() - before) / arguments.idle
            memory = server.memory()
            print(f"idle {used:.2f} % of a core, {memory:.0f} MB after the load")


if __name__ == "__main__":
    main()
