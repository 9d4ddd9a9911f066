"""The service behind a real Keystone, and the people who call it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.fernet import Fernet
from system.embedded import Embedded, running_embedded
from system.keystone import Keystone, running_keystone
from system.shells import Said, commands, note

PLUG_IN = Path(__file__).parent / "plug_in"
"""What ``pip`` would have installed of a package with actions of its own."""


@dataclass(frozen=True)
class Person(Embedded):
    """Somebody with an account, who speaks with the service.

    :param program: ``mistral`` or ``openstack``.
    """

    keystone: Keystone | None = None
    name: str = ""
    program: str = "mistral"
    token: str = ""

    @property
    def speaker(self) -> str:
        return self.program

    def be(self, name: str) -> Person:
        """Somebody else, with the same program."""
        assert self.keystone is not None
        return replace(self, name=name, token=self.keystone.token(name))

    @property
    def other(self) -> Person:
        """The member of another project."""
        return self.be("bob" if self.name == "ann" else "ann")

    def credentials(self) -> dict[str, str]:
        return {"X-Auth-Token": self.token}

    def client(self, *arguments: str) -> Said:
        """The command as this person's program names it; found by the catalogue."""
        assert self.keystone is not None
        environment = self.keystone.environment(self.name)
        words = [*arguments]
        if self.program == "openstack":
            known = commands()[words[0]]
            if known is None:
                # the plug-in of openstack has none for it
                return replace(self, program="mistral").client(*arguments)
            words[:1] = known.split()
        said = self.shells.say(self.program, words, environment, self.home)
        return note(self.program, arguments[0], said)


@dataclass(frozen=True)
class Cloud:
    """A Keystone, and the service that asks it."""

    keystone: Keystone
    service: Embedded

    def be(self, name: str, program: str = "mistral") -> Person:
        """:param name: of ``keystone.CAST``."""
        service = self.service
        token = self.keystone.token(name)
        return Person(
            service.home, service.root, service.shells, self.keystone, name, program,
            token,
        )  # fmt: skip


@contextmanager
def running_cloud(home: Path, options: str = "") -> Iterator[Cloud]:
    """
    :param options: more of the service's configuration.
    :raises NoServer: Keystone cannot be installed here.
    """
    with running_keystone(home) as keystone:
        key = Fernet.generate_key().decode()
        identity = f"[engine]\nsecret_key = {key}\n{keystone.options()}{options}"
        path = os.pathsep.join(
            filter(None, [os.environ.get("PYTHONPATH"), str(PLUG_IN)])
        )
        with running_embedded(
            home, identity=identity, environment={"PYTHONPATH": path}
        ) as service:
            keystone.catalogue(f"{service.root}/v2", "workflowv2", "workflow")
            yield Cloud(keystone, service)
