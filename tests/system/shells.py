"""The unmodified command lines of python-mistralclient: ``mistral``, and its plug-in
of ``openstack``.

One process for each person says one command after the other; a fresh interpreter for
each command would spend most of its time on imports. Commands are named as ``mistral``
names them; ``openstack`` is told its own name for the same class.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

SECONDS = 60

SAID: dict[str, dict[str, list[int]]] = {}
"""How commands ended: speaker → command → statuses."""

PROGRAM = """
import contextlib, io, json, logging, os, sys, traceback

def said(program, words):
    if program == "openstack":
        from openstackclient.shell import OpenStackShell as Shell
    else:
        from mistralclient.shell import MistralShell as Shell
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = Shell().run(words)
        except SystemExit as ended:
            status = ended.code
        except BaseException:
            traceback.print_exc()
            status = 99
    # each shell adds its own, which write to where its output went
    logging.getLogger().handlers.clear()
    return {"status": int(status or 0), "out": out.getvalue(), "err": err.getvalue()}

plain = dict(os.environ)
for line in sys.stdin:
    asked = json.loads(line)
    os.environ.clear()
    os.environ.update(plain, **asked["environment"])
    os.chdir(asked["home"])
    answer = said(asked["program"], asked["words"])
    print(json.dumps(answer), file=sys.__stdout__, flush=True)
"""


@dataclass(frozen=True)
class Said:
    """What a command wrote, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shells:
    """Processes that say commands, started with the first one of a person: the
    library behind ``openstack`` keeps who speaks for as long as a process lives."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def say(
        self,
        program: str,
        words: Sequence[str],
        environment: Mapping[str, str],
        home: Path,
    ) -> Said:
        """:param environment: over a plain one without ``OS_*``."""
        process = self._of(environment.get("OS_USERNAME", ""))
        assert process.stdin is not None and process.stdout is not None
        asked = {
            "program": program, "words": words, "environment": environment,
            "home": str(home),
        }  # fmt: skip
        print(json.dumps(asked), file=process.stdin, flush=True)
        line = process.stdout.readline()
        assert line, f"{program} {' '.join(words)}: ended the process"
        return Said(**json.loads(line))

    def _of(self, person: str) -> subprocess.Popen[str]:
        if person not in self._processes:
            plain = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
            here = "127.0.0.1"
            self._processes[person] = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", "-c", PROGRAM],
                env=plain | {"NO_PROXY": here, "no_proxy": here},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._processes[person]

    def close(self) -> None:
        for process in self._processes.values():
            process.communicate(timeout=SECONDS)


def note(speaker: str, command: str, said: Said) -> Said:
    """Keep how a command ended; answers what was said.

    Also in the file that ``CLIENT_COMMANDS`` names, for ``tools/client-commands``.
    """
    SAID.setdefault(speaker, {}).setdefault(command, []).append(said.status)
    if path := os.environ.get("CLIENT_COMMANDS"):
        with open(path, "a") as file:
            print(json.dumps([speaker, command, said.status]), file=file)
    return said


@cache
def commands() -> dict[str, str | None]:
    """Every command of ``mistral``, and its name in ``openstack``, if it has one."""
    from mistralclient.shell import MistralShell

    found = entry_points(group="openstack.workflow_engine.v2")
    names = {entry.load(): entry.name.replace("_", " ") for entry in found}
    known = MistralShell._get_commands_v2()
    return {name: names.get(known[name]) for name in sorted(known)}
