"""A real Keystone (``tools/keystone``) as a process: SQLite, Fernet tokens.

``with running_keystone(directory) as keystone`` starts one that has a cast of
projects and people; ``keystone.token("ann")`` is one of theirs.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import requests
from servers import NoServer
from system.processes import until

PROJECT = Path(__file__).parents[2]
INSTALL_SECONDS = 600
START_SECONDS = 60

_BEGIN = """
import sys
given = sys.argv[1:]
del sys.argv[1:]  # Keystone reads its own options there
from keystone.server.wsgi import initialize_public_application
application = initialize_public_application()
"""
SERVE = f"""{_BEGIN}
import waitress
waitress.serve(application, host="127.0.0.1", port=int(given[0]), threads=8)
"""
EXPIRED = f"""{_BEGIN}
from keystone.token.token_formatters import ProjectScopedPayload, TokenFormatter
user, project = given
token = TokenFormatter().create_token(
    user, "2020-01-01T00:00:00.000000Z", ["AAAAAAAAAAAAAAAAAAAAAA"],
    ProjectScopedPayload, ["password"], project_id=project,
)
print(token)
"""

REGION = "RegionOne"
SERVICE_USER = "mistral"
PASSWORD = "canary-password-of-{}"


@dataclass(frozen=True)
class Person:
    """Who has a role on a project."""

    project: str
    role: str


CAST: Mapping[str, Person] = {
    "ann": Person("red", "member"),
    "rita": Person("red", "reader"),
    "bob": Person("blue", "member"),
    "root": Person("ops", "admin"),
    "ruth": Person("lab", "admin"),
    SERVICE_USER: Person("services", "service"),
}


@cache
def _installed() -> Path:
    """:raises NoServer: Keystone cannot be installed here."""
    done = subprocess.run(
        [str(PROJECT / "tools" / "keystone")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise NoServer(f"Keystone cannot be installed: {' '.join(last)[:200]}")
    return Path(done.stdout.strip())


@dataclass
class Keystone:
    """A running Keystone.

    :param url: with ``/v3``.
    :param ids: of projects, users and roles, by name.
    """

    home: Path
    programs: Path
    url: str
    ids: dict[str, str] = field(default_factory=dict)
    _admin: str = ""

    # -- Asking ---------------------------------------------------------------

    def ask(
        self, method: str, path: str, body: Any = None, token: str | None = None
    ) -> Any:
        """JSON of an answer; asked by the administrator, unless a token is given.

        :raises AssertionError: it was refused.
        """
        answer = requests.request(
            method,
            self.url + path,
            json=body,
            headers={"X-Auth-Token": token or self._admin},
            timeout=30,
        )
        assert answer.ok, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def token(self, name: str, project: str | None = None) -> str:
        """A fresh token of a person, for a project; default: the person's own."""
        return self._token(name, PASSWORD.format(name), project or CAST[name].project)

    def unscoped(self, name: str) -> str:
        """A token of a person that is for no project."""
        return self._authenticated(_by_password(name, PASSWORD.format(name)))

    def for_the_system(self, name: str) -> str:
        """A token of a person for the whole system, not for a project of it."""
        return self._scoped(name, {"system": {"all": True}})

    def for_the_domain(self, name: str) -> str:
        """A token of a person for the domain, not for a project in it."""
        return self._scoped(name, {"domain": _DOMAIN})

    def _scoped(self, name: str, scope: Any) -> str:
        return self._authenticated(_by_password(name, PASSWORD.format(name)), scope)

    def by_application_credential(self, name: str) -> str:
        """A token of a person's robot, for the person's project."""
        path = f"/users/{self.ids[name]}/application_credentials"
        body = {"application_credential": {"name": "robot", "secret": "canary"}}
        made = self.ask("POST", path, body, self.token(name))["application_credential"]
        used = {"id": made["id"], "secret": "canary"}
        method = "application_credential"
        return self._authenticated({"methods": [method], method: used})

    def _token(self, user: str, password: str, project: str) -> str:
        scope = {"project": {"name": project, "domain": _DOMAIN}}
        return self._authenticated(_by_password(user, password), scope)

    def _authenticated(self, identity: Any, scope: Any = None) -> str:
        body = {"auth": {"identity": identity} | ({"scope": scope} if scope else {})}
        answer = requests.post(f"{self.url}/auth/tokens", json=body, timeout=30)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["X-Subject-Token"])

    def expired(self, name: str) -> str:
        """A token of a person that ended years ago, signed by this Keystone."""
        given = [self.ids[name], self.ids[CAST[name].project]]
        done = self._python(EXPIRED, *given, stdout=subprocess.PIPE)
        out, _ = done.communicate(timeout=START_SECONDS)
        assert done.returncode == 0
        return str(out.decode().split()[-1])

    def revoke(self, token: str) -> None:
        answer = requests.delete(
            f"{self.url}/auth/tokens",
            headers={"X-Auth-Token": self._admin, "X-Subject-Token": token},
            timeout=30,
        )
        assert answer.status_code == 204, answer.text

    def trusts(self) -> list[dict[str, Any]]:
        """All trusts that there are."""
        return list(self.ask("GET", "/OS-TRUST/trusts")["trusts"])

    def catalogue(self, url: str, *types: str) -> None:
        """Put a service into the catalogue, under each of these types."""
        for kind in types:
            body = {"service": {"type": kind, "name": f"mistral-{kind}"}}
            service = self.ask("POST", "/services", body)["service"]["id"]
            for interface in ("public", "internal", "admin"):
                endpoint = {
                    "service_id": service, "interface": interface, "url": url,
                    "region_id": REGION,
                }  # fmt: skip
                self.ask("POST", "/endpoints", {"endpoint": endpoint})

    # -- Options --------------------------------------------------------------

    def options(self) -> str:
        """``[keystone_authtoken]`` of a service that asks here."""
        return (
            "[keystone_authtoken]\n"
            f"www_authenticate_uri = {self.url}\n"
            f"auth_url = {self.url}\n"
            "auth_type = password\n"
            f"username = {SERVICE_USER}\n"
            f"password = {PASSWORD.format(SERVICE_USER)}\n"
            f"project_name = {CAST[SERVICE_USER].project}\n"
            "user_domain_name = Default\n"
            "project_domain_name = Default\n"
        )

    def environment(self, name: str) -> dict[str, str]:
        """``OS_*`` variables of a person's client."""
        return {
            "OS_AUTH_URL": self.url,
            "OS_IDENTITY_API_VERSION": "3",
            "OS_USERNAME": name,
            "OS_PASSWORD": PASSWORD.format(name),
            "OS_PROJECT_NAME": CAST[name].project,
            "OS_TENANT_NAME": CAST[name].project,
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": REGION,
        }

    # -- Making ---------------------------------------------------------------

    def _begin(self) -> None:
        """The cast, and the identity service's own endpoints."""
        self._admin = self._token("admin", "root", "admin")
        self.ask("POST", "/regions", {"region": {"id": REGION}})
        self.catalogue(self.url, "identity")
        roles = self.ask("GET", "/roles")["roles"]
        self.ids |= {role["name"]: role["id"] for role in roles}
        for project in {person.project for person in CAST.values()}:
            made = self.ask("POST", "/projects", {"project": {"name": project}})
            self.ids[project] = made["project"]["id"]
        for name, person in CAST.items():
            self.add(name)
            self.grant(name, person.project, person.role)

    def add(self, name: str) -> None:
        user = {"name": name, "password": PASSWORD.format(name)}
        self.ids[name] = self.ask("POST", "/users", {"user": user})["user"]["id"]

    def grant(self, name: str, project: str, role: str) -> None:
        self.ask("PUT", self._grant(name, project, role))

    def grant_all(self, name: str, role: str) -> None:
        """A role on the system and on the domain."""
        for place in ("/system", "/domains/default"):
            path = f"{place}/users/{self.ids[name]}/roles/{self.ids[role]}"
            self.ask("PUT", path)

    def withdraw(self, name: str, project: str, role: str) -> None:
        self.ask("DELETE", self._grant(name, project, role))

    def _grant(self, name: str, project: str, role: str) -> str:
        ids = self.ids
        return f"/projects/{ids[project]}/users/{ids[name]}/roles/{ids[role]}"

    def _python(self, code: str, *arguments: str, **more: Any) -> Any:
        return subprocess.Popen(
            [str(self.programs / "python"), "-W", "ignore", "-c", code, *arguments],
            env=os.environ | {"OS_KEYSTONE_CONFIG_DIR": str(self.home)},
            stdin=subprocess.DEVNULL,
            **more,
        )


_DOMAIN = {"id": "default"}


def _by_password(user: str, password: str) -> dict[str, Any]:
    account = {"name": user, "password": password, "domain": _DOMAIN}
    return {"methods": ["password"], "password": {"user": account}}


@contextmanager
def running_keystone(directory: Path) -> Iterator[Keystone]:
    """:raises NoServer: Keystone cannot be installed here."""
    where = _installed()
    home = directory / "keystone"
    shutil.copytree(where / "empty", home)
    configuration = (home / "keystone.conf").read_text()
    configuration = configuration.replace(str(where / "empty"), str(home))
    (home / "keystone.conf").write_text(configuration)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    keystone = Keystone(home, where / "bin", f"http://127.0.0.1:{port}/v3")
    with (home / "log").open("wb") as log:
        process = keystone._python(SERVE, str(port), stdout=log, stderr=log)

    def answers() -> bool:
        assert process.poll() is None, (home / "log").read_text()[-2000:]
        try:
            return requests.get(keystone.url, timeout=30).ok
        except requests.ConnectionError:
            return False

    try:
        until(answers, START_SECONDS, "Keystone answers")
        keystone._begin()
        yield keystone
    finally:
        process.kill()
        process.wait()
