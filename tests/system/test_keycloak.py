"""The unmodified ``mistral`` with Keycloak: it gets its token itself, and a realm is a
project (spec/rest-api.md § 4.1, Q-25)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from identity import FakeIssuer, served
from system.embedded import Embedded, running_embedded
from system.shells import Said

pytestmark = pytest.mark.system

WORKFLOW = """\
version: '2.0'
w:
  output: {known: <% $.openstack %>}
  tasks:
    t: {action: std.noop}
"""


@dataclass(frozen=True)
class OfRealm(Embedded):
    """Somebody of a realm."""

    issuer: FakeIssuer | None = None
    realm: str = "red"

    def credentials(self) -> dict[str, str]:
        assert self.issuer is not None
        return {"X-Auth-Token": self.issuer.password_token(self.realm)}

    def client(self, *arguments: str) -> Said:
        assert self.issuer is not None
        environment = {
            "MISTRAL_AUTH_TYPE": "keycloak-oidc",
            "OS_MISTRAL_URL": f"{self.root}/v2",
            "OS_AUTH_URL": self.issuer.url,
            "OPENID_CLIENT_ID": "workflow",
            "OS_USERNAME": "somebody",
            "OS_PASSWORD": "canary-password",
            "OS_TENANT_NAME": self.realm,
        }
        return self.shells.say("mistral", arguments, environment, self.home)


@pytest.fixture(scope="module")
def issuer() -> Iterator[FakeIssuer]:
    fake = FakeIssuer()
    with served(fake.answer) as fake.url:
        yield fake


@pytest.fixture(scope="module")
def red(
    issuer: FakeIssuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OfRealm]:
    home = tmp_path_factory.mktemp("keycloak")
    identity = (
        "auth_type = keycloak-oidc\n"
        f"[engine]\nsecret_key = {Fernet.generate_key().decode()}\n"
        f"[keycloak_oidc]\nauth_url = {issuer.url}\naudience = workflow\n"
    )
    identity = f"[DEFAULT]\n{identity}"
    with running_embedded(home, identity=identity) as service:
        yield OfRealm(service.home, service.root, service.shells, issuer)


def save(service: Embedded, text: str) -> str:
    path = service.home / "w.yaml"
    path.write_text(text)
    return str(path)


def test_q25_a_realm_is_a_project(red: OfRealm) -> None:
    [made] = red.ok("workflow-create", save(red, WORKFLOW))
    assert made["Project ID"] == "red"
    blue = replace(red, realm="blue")
    assert made["ID"] in blue.refuses("workflow-get", made["ID"])
    assert "w" not in {row["Name"] for row in blue.ok("workflow-list")}
    run = red.ok("execution-create", "w")["ID"]
    red.reaches(run, "SUCCESS")
    known: dict[str, Any] = json.loads(red.tells("execution-get-output", run))["known"]
    assert (known["project_id"], known["user_name"]) == ("red", "user of red")
    assert (known["roles"], known["auth_token"]) == (["member"], "***")
    assert known["expires_at"].endswith("Z")


def test_q25_realm_roles_are_roles(red: OfRealm, issuer: FakeIssuer) -> None:
    file = save(red, WORKFLOW.replace("w:", "p:"))
    assert "publicize" in red.refuses("workflow-create", file, "--public")
    issuer.roles = ("admin",)
    [made] = red.ok("workflow-create", file, "--public")
    issuer.roles = ("member",)
    assert made["Scope"] == "public"
    assert replace(red, realm="blue").ok("workflow-get", "p")["ID"] == made["ID"]


def test_triggers_need_no_trust_where_there_are_none(red: OfRealm) -> None:
    given = ("yearly", "w", "--pattern", "0 0 1 1 *")
    assert red.ok("cron-trigger-create", *given)["Name"] == "yearly"
    red.tells("cron-trigger-delete", "yearly")


def test_nothing_of_it_surprised_the_service(red: OfRealm) -> None:
    log = red.log()
    assert "Traceback" not in log, log
    assert " ERROR " not in log, log
    assert "canary" not in log
