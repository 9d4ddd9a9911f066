"""What ``tools/quickstart`` does once everything is installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from orders_service import EXPECTED_TOTAL, REFUSALS, STUBBORN

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / ".quickstart"
EXAMPLE = PROJECT / "examples" / "fan_out_http.yaml"
WORKFLOW = "fan_out_http"
PROGRAMS = Path(sys.executable).parent
FIRST_PORT = 8989

#: Far more than a start takes on a busy machine.
START_SECONDS = 60.0
STOP_SECONDS = 15.0

CONFIGURATION = """\
# Written by tools/quickstart.
[DEFAULT]
transport_url = memory://

[api]
host = 127.0.0.1
port = {port}

[pecan]
auth_enable = false

[database]
connection = sqlite:///{home}/mistral.sqlite

[action_std_http]
# The example calls a service on this machine, which is refused by default.
denied_cidrs = 169.254.0.0/16,fe80::/10
"""

_open = build_opener(ProxyHandler({})).open


class Failed(Exception):
    """The quickstart cannot go on."""


@dataclass
class Processes:
    """What this run has started, the last one first to be stopped."""

    home: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str], **options: Any) -> Any:
        with (self.home / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stderr=log,
                text=True,
                start_new_session=True,
                **({"stdout": log} | options),
            )
        self.started.append(process)
        return process

    def remember(self) -> None:
        """So that ``--stop`` finds them: process ids and what they run."""
        lines = [f"{process.pid} {_birth(process.pid)}" for process in self.started]
        (self.home / "pids").write_text("\n".join(lines) + "\n")

    def stop(self) -> None:
        for process in reversed(self.started):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _birth(pid: int) -> str:
    """When the process was started, in ticks: a pid alone may be reused."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def stop_earlier() -> bool:
    """Ends what an earlier quickstart has left up; False if nothing was."""
    notes = HOME / "pids"
    if not notes.exists():
        return False
    running = []
    for line in notes.read_text().splitlines():
        number, _, birth = line.partition(" ")
        if birth and _birth(int(number)) == birth:
            running.append((int(number), birth))
    for pid, _ in reversed(running):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while any(_birth(pid) == birth for pid, birth in running):
        if time.monotonic() > deadline:
            for pid, birth in running:
                if _birth(pid) == birth:
                    os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.1)
    notes.unlink()
    return bool(running)


def free_port(first: int) -> int:
    for port in range(first, first + 100):
        with socket.socket() as probe:
            # As the service binds: a port that only lingers is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failed(f"no free port from {first} on")


def start_orders(processes: Processes) -> str:
    process = processes.start(
        "orders",
        [sys.executable, str(PROJECT / "tools" / "orders_service.py")],
        stdout=subprocess.PIPE,
    )
    port = process.stdout.readline().strip()
    process.stdout.close()
    if not port:
        raise Failed(f"the small HTTP service did not start: {processes.home}")
    return f"http://127.0.0.1:{port}"


def start_service(processes: Processes) -> str:
    home = processes.home
    port = free_port(FIRST_PORT)
    configuration = home / "mistral.conf"
    configuration.write_text(CONFIGURATION.format(port=port, home=home))
    given = ("--config-file", str(configuration))
    schema = [str(PROGRAMS / "mistral-db-manage"), *given, "upgrade", "head"]
    if processes.start("mistral-db-manage", schema).wait(START_SECONDS):
        log = (home / "mistral-db-manage.log").read_text()[-3000:]
        raise Failed(f"the database could not be prepared:\n{log}")
    process = processes.start(
        "mistral-server", [str(PROGRAMS / "mistral-server"), *given]
    )
    url = f"http://127.0.0.1:{port}/v2"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with _open(f"{url}/workflows", timeout=5):
                return url
        except (URLError, OSError):
            time.sleep(0.1)
    log = (home / "mistral-server.log").read_text()[-3000:]
    raise Failed(f"mistral-server did not start:\n{log}")


def control(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(PROGRAMS / "mistralctl"), *arguments, "--url", url]
    print(f"\n$ mistralctl {' '.join(arguments)}", flush=True)
    return subprocess.run(command, stdin=subprocess.DEVNULL, text=True, check=False)


def run_example(url: str, orders: str) -> str:
    """Uploads and runs the example; the execution's id if all is as it must be."""
    execution = str(uuid.uuid4())
    example = str(EXAMPLE.relative_to(PROJECT))
    if control(url, "upload", example).returncode:
        raise Failed("the example could not be uploaded")
    given = f"service={orders}"
    command = ("run", WORKFLOW, "--id", execution, "--input", given, "--watch")
    if control(url, *command).returncode:
        raise Failed("the example did not succeed")
    with _open(f"{url}/executions/{execution}", timeout=10) as answer:
        output = json.loads(json.load(answer)["output"])
    with _open(f"{orders}/seen", timeout=10) as answer:
        asked = json.load(answer)[STUBBORN]
    if output["total"] != EXPECTED_TOTAL:
        raise Failed(f"expected a total of {EXPECTED_TOTAL}, found {output['total']}")
    if asked < REFUSALS + 1:
        raise Failed(f"expected {REFUSALS} retries of {STUBBORN}, found {asked - 1}")
    print(
        f"\nAs it must be: a total of {EXPECTED_TOTAL}, though"
        f" {STUBBORN} was refused {REFUSALS} times."
    )
    return execution


@contextmanager
def place(once: bool) -> Iterator[Path]:
    """A directory for the service's files; that of ``--once`` does not stay."""
    if not once:
        shutil.rmtree(HOME, ignore_errors=True)
        HOME.mkdir()
        yield HOME
        return
    with tempfile.TemporaryDirectory(prefix="mistral-quickstart-") as directory:
        yield Path(directory)


def run(once: bool) -> None:
    if not once and stop_earlier():
        print("Stopped what an earlier quickstart had left up.")
    with place(once) as home:
        processes = Processes(home)
        up = False
        try:
            orders = start_orders(processes)
            url = start_service(processes)
            print(f"The service is up: {url}")
            execution = run_example(url, orders)
            up = not once
        finally:
            if up:
                processes.remember()
            else:
                processes.stop()
    if up:
        say_how_to_go_on(url, orders, execution)


def say_how_to_go_on(url: str, orders: str, execution: str) -> None:
    shown = PROGRAMS.relative_to(PROJECT) if PROGRAMS.is_relative_to(PROJECT) else None
    print(
        f"""
The service stays up. To look around:

  export PATH=$PWD/{shown}:$PATH MISTRAL_URL={url}
  mistralctl executions
  mistralctl show {execution}
  mistralctl run examples/saga.yaml --input traveller=Ada --watch
  mistralctl run {WORKFLOW} --input service={orders} --watch

Its files and logs are in .quickstart/; tools/quickstart --stop ends it."""
        if shown
        else f"\nThe service stays up at {url}; tools/quickstart --stop ends it."
    )


def end(signum: int, frame: Any) -> NoReturn:
    raise Failed(f"interrupted by signal {signum}")


def main(arguments: Sequence[str]) -> int:
    if "--stop" in arguments:
        print("Stopped." if stop_earlier() else "Nothing was up.")
        return 0
    signal.signal(signal.SIGTERM, end)
    try:
        run(once="--once" in arguments)
    except Failed as failure:
        print(f"quickstart: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("quickstart: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
