"""Writes ``doc/clients.rst`` from what ``tools/client-commands`` has noted."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from system.shells import commands  # noqa: E402

SPEAKERS = {
    "plain": "no authentication",
    "mistral": "Keystone",
    "openstack": "Keystone, openstack",
}

HEAD = """\
Clients
=======

.. Written by tools/client-commands; the next run overwrites it.

Every command of python-mistralclient {client}, unmodified, said to a running service:
by ``mistral`` without authentication, by ``mistral`` behind Keystone {keystone}, and
by the plug-in of python-openstackclient {openstack} behind the same. Behind Keystone
two members of two projects and an administrator speak, with tokens that the clients
get themselves and the service's address from the catalogue.

*works* counts calls that had to succeed and did, *refused* those that had to fail with
a message and did; a dash: the plug-in has no such command.

.. list-table::
   :header-rows: 1

   * - ``mistral``
     - ``openstack``
     - {columns}
"""


def main(path: str) -> None:
    said: dict[tuple[str, str], list[int]] = defaultdict(list)
    for line in Path(path).read_text().splitlines():
        speaker, command, status = json.loads(line)
        said[speaker, command].append(status)
    pinned = (PROJECT / "tools" / "keystone").read_text()
    print(
        HEAD.rstrip().format(
            client=version("python-mistralclient"),
            openstack=version("python-openstackclient"),
            keystone=pinned.partition("keystone==")[2].split()[0],
            columns="\n     - ".join(SPEAKERS.values()),
        )
    )
    for command, other in commands().items():
        cells = [f"``{command}``", f"``{other}``" if other else "—"]
        cells += [result(said.get((each, command))) for each in SPEAKERS]
        print("   * - " + "\n     - ".join(cells))


def result(statuses: list[int] | None) -> str:
    if not statuses:
        return "—"
    works = statuses.count(0)
    refused = len(statuses) - works
    parts = [f"works ({works})"] if works else []
    parts += [f"refused ({refused})"] if refused else []
    return ", ".join(parts)


if __name__ == "__main__":
    main(sys.argv[1])
