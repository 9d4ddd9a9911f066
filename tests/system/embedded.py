"""The embedded size as a real process, and two ways to speak with it: REST, and
the unmodified command line of python-mistralclient."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from system.processes import until
from system.shells import Said, Shells, note

PROGRAMS = Path(sys.executable).parent
START_SECONDS = 60
COMMAND_SECONDS = 60

CONFIG = """
[DEFAULT]
transport_url = memory://
[api]
host = 127.0.0.1
port = {port}
allow_action_execution_deletion = true
[dynamic_actions]
enabled = true
[database]
connection = sqlite:///{home}/mistral.sqlite
"""

NOBODY = """
[pecan]
auth_enable = false
"""

_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass(frozen=True)
class Embedded:
    """A running service.

    :param home: its files: the log, the database.
    """

    home: Path
    root: str
    shells: Shells = field(default_factory=Shells)

    @property
    def speaker(self) -> str:
        """Who speaks, in the notes about commands."""
        return "plain"

    def credentials(self) -> dict[str, str]:
        """Headers that say who asks."""
        return {}

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
    ) -> tuple[int, Any]:
        """Status and JSON of an answer.

        :param body: bytes and text are sent as they are, the rest as JSON.
        """
        if not isinstance(body, bytes | str | None):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        request = urllib.request.Request(
            self.root + path,
            data=body,
            method=method,
            headers={"Content-Type": content_type} | self.credentials(),
        )
        try:
            with _open(request, timeout=COMMAND_SECONDS) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.loads(refused.read())

    def client(self, *arguments: str) -> Said:
        """Run ``mistral`` with these arguments; authentication is off."""
        here = ("--os-mistral-url", f"{self.root}/v2")
        said = self.shells.say("mistral", [*here, *arguments], {}, self.home)
        return note(self.speaker, arguments[0], said)

    def ok(self, *arguments: str) -> Any:
        """The JSON that a command shows; it has to succeed."""
        said = self.client(*arguments, "-f", "json")
        assert said.status == 0, (arguments, said)
        return said.json

    def tells(self, *arguments: str) -> str:
        """The text that a command writes; it has to succeed."""
        said = self.client(*arguments)
        assert said.status == 0, (arguments, said)
        return said.out

    def refuses(self, *arguments: str) -> str:
        """The message of a command that has to fail, without a traceback."""
        said = self.client(*arguments)
        assert said.status != 0, (arguments, said)
        assert "Traceback" not in said.err
        return said.out + said.err

    def reaches(self, execution: str, state: str) -> None:
        """Wait until an execution is in the state."""

        def there() -> bool:
            return bool(
                self.request("GET", f"/v2/executions/{execution}")[1]["state"] == state
            )

        until(there, 30, f"{execution} in {state}")

    def log(self) -> str:
        return (self.home / "server.log").read_text()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_embedded(
    home: Path, *, identity: str = NOBODY, environment: Mapping[str, str] | None = None
) -> Iterator[Embedded]:
    """Start a service, wait until its root answers, end it by SIGTERM.

    :param identity: sections of its configuration that say who may call.
    :param environment: over this process's.
    """
    port = _free_port()
    configuration = home / "mistral.conf"
    configuration.write_text(CONFIG.format(port=port, home=home) + identity)
    given = ["--config-file", str(configuration)]
    environ = os.environ | {"XDG_DATA_HOME": str(home / "data")}
    environ |= environment or {}
    subprocess.run(
        [str(PROGRAMS / "mistral-db-manage"), *given, "upgrade", "head"],
        env=environ,
        check=True,
        capture_output=True,
        timeout=START_SECONDS,
    )
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [str(PROGRAMS / "mistral-server"), *given],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    service = Embedded(home, f"http://127.0.0.1:{port}")

    def answers() -> bool:
        assert process.poll() is None, service.log()
        try:
            return service.request("GET", "/")[0] == 200
        except OSError:
            return False

    try:
        until(answers, START_SECONDS, "the root of the API answers")
        yield service
        service.shells.close()
        process.terminate()
        assert process.wait(START_SECONDS) == 0, service.log()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
