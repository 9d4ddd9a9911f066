"""Who asks: Keystone, Keycloak, any issuer (spec/rest-api.md § 4)."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from fakes import FakeClock
from identity import SERVICE_TOKEN, FakeIssuer, FakeKeystone, make_key, served
from rest import Client, Response

from mistral.api.app import Services, make_app
from mistral.config import load
from mistral.errors import ServiceError
from mistral.keyring import Keyring

WORKFLOW = "version: '2.0'\n{}:\n  tasks:\n    t: {{action: std.noop}}\n"
KEY = base64.urlsafe_b64encode(b"k" * 32).decode()

Ask = Callable[..., Response]


def client(services: Services, tmp_path: Path, options: str) -> Client:
    """The API as an operator configures it, over the test's database."""
    file = tmp_path / "mistral.conf"
    file.write_text(f"[engine]\nsecret_key = {KEY}\n{options}")
    environ = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    settings = load(["--config-file", str(file)], environ=environ)
    services = replace(services, settings=settings, keyring=Keyring([KEY]))
    return Client(make_app(services), services)


@pytest.fixture
def keystone() -> Iterator[FakeKeystone]:
    fake = FakeKeystone()
    with served(fake.answer) as fake.url:
        yield fake


@pytest.fixture
def by_keystone(services: Services, tmp_path: Path, keystone: FakeKeystone) -> Client:
    return client(services, tmp_path, keystone.options())


def _with(api: Client, token: str, **headers: str) -> Ask:
    given = {"X-Auth-Token": token, **headers}

    def ask(method: str, path: str, body: Any = None) -> Response:
        return api.request(method, path, body, headers=given)

    return ask


def _assert_401(answer: Response, reason: str) -> None:
    assert answer.status == 401
    assert reason in answer.fault
    assert answer.headers["Server-Error-Message"] == answer.fault
    assert reason in answer.headers["WWW-Authenticate"]


# -- Keystone -----------------------------------------------------------------


def test_m10_no_token_is_401(by_keystone: Client) -> None:
    answer = by_keystone.get("/v2/workflows")
    _assert_401(answer, "no token")
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith('Keystone uri="http://keystone.example/v3"')


@pytest.mark.parametrize("path", ["/", "/v2/", "/info", "/v2"])
def test_rest_these_paths_need_no_credentials(
    by_keystone: Client, keystone: FakeKeystone, path: str
) -> None:
    for headers in ({}, {"X-Auth-Token": "wrong"}):
        assert by_keystone.get(path, headers=headers).status not in (401, 403)
    assert not keystone.asked


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v2/unknown", {}, 404),
        ("PATCH", "/v2/workflows", {}, 405),
        ("POST", "/v2/workflows", {"Content-Type": "application/xml"}, 415),
        ("GET", "/maintenance", {}, 401),
        ("POST", "/v2/executions", {"Content-Type": "text/plain"}, 401),
    ],
)
def test_sec14_order_of_checks(
    by_keystone: Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """§ 2.3: route, XML, then who asks, then what they send."""
    body = None if method == "GET" else b"{"
    answer = by_keystone.request(method, path, body, headers=headers)
    assert answer.status == status


def test_rest_a_token_says_project_user_and_roles(
    by_keystone: Client, keystone: FakeKeystone, bus: Any
) -> None:
    member = _with(by_keystone, keystone.issue("t1", "red", ["member", "reader"]))
    made = member("POST", "/v2/workflows", WORKFLOW.format("w"))
    assert made.status == 201
    assert made.json["workflows"][0]["project_id"] == "red"
    bus.answer = lambda message: {"id": message.execution_id}
    member("POST", "/v2/executions", {"workflow_name": "w"})
    context = bus.called[0].context
    assert context["project_id"] == "red"
    assert (context["user_id"], context["user_name"]) == ("u1", "Zoë")
    assert context["project_name"] == "n-red"
    assert context["roles"] == ["member", "reader"]
    assert context["is_admin"] is False


@pytest.mark.parametrize(
    ("is_admin_project", "status"), [(None, 200), (True, 200), (False, 403)]
)
def test_rest_a_policy_may_ask_for_keystones_project_of_administrators(
    services: Services,
    tmp_path: Path,
    keystone: FakeKeystone,
    is_admin_project: bool | None,
    status: int,
) -> None:
    """§ 4.1: ``X-Is-Admin-Project``; true where Keystone knows of no such project.
    Without a policy the role alone counts (§ 4.2), and no client's header does."""
    token = keystone.issue("t1", "red", ["admin"], is_admin_project=is_admin_project)
    said = {"X-Is-Admin-Project": "True"}
    plain = _with(client(services, tmp_path, keystone.options()), token, **said)
    assert plain("GET", "/v2/workflows?all_projects=true").status == 200
    rule = '"context_is_admin": "role:admin and is_admin_project:True"\n'
    (tmp_path / "policy.yaml").write_text(rule)
    strict = _with(client(services, tmp_path, keystone.options()), token, **said)
    assert strict("GET", "/v2/workflows?all_projects=true").status == status


def test_rest_projects_do_not_see_each_other(
    by_keystone: Client, keystone: FakeKeystone
) -> None:
    red = _with(by_keystone, keystone.issue("t1", "red", ["member"]))
    blue = _with(by_keystone, keystone.issue("t2", "blue", ["member"]))
    admin = _with(by_keystone, keystone.issue("t3", "green", ["admin"]))
    made = red("POST", "/v2/workflows", WORKFLOW.format("w")).json["workflows"][0]
    assert blue("GET", f"/v2/workflows/{made['id']}").status == 404
    assert blue("GET", "/v2/workflows").json["workflows"] == []
    assert admin("GET", f"/v2/workflows/{made['id']}").status == 200
    assert (
        blue("POST", "/v2/workflows?scope=public", WORKFLOW.format("p")).status == 403
    )
    assert (
        admin("POST", "/v2/workflows?scope=public", WORKFLOW.format("p")).status == 201
    )


@pytest.mark.parametrize("why", ["unknown", "expired", "no-project", "service-alone"])
def test_q24_who_is_not_let_in(
    by_keystone: Client, keystone: FakeKeystone, why: str, caplog: Any
) -> None:
    keystone.issue("expired-token", "red", ["admin"], hours=-1)
    keystone.issue("no-project-token", None, [])
    headers = {"X-Auth-Token": f"{why}-token"}
    if why == "service-alone":
        headers = {"X-Service-Token": SERVICE_TOKEN}
    with caplog.at_level(logging.DEBUG, logger="mistral"):
        answer = by_keystone.get("/v2/workflows", headers=headers)
    assert answer.status == (403 if why == "no-project" else 401)
    for text in (answer.fault, caplog.text):
        assert "-token" not in text.replace("invalid_token", "")


CLAIMED = {
    "X-Identity-Status": "Confirmed", "X-Project-Id": "blue", "X-Roles": "admin",
    "X-User-Id": "root", "X-Is-Admin-Project": "True", "X-Tenant-Id": "blue",
    "X-Service-Identity-Status": "Confirmed",
}  # fmt: skip


def test_sec26_claimed_identities_are_not_believed(
    by_keystone: Client, keystone: FakeKeystone
) -> None:
    assert by_keystone.get("/v2/workflows", headers=CLAIMED).status == 401
    token = keystone.issue("t1", "red", ["member"])
    liar = _with(by_keystone, token, **CLAIMED)
    made = liar("POST", "/v2/workflows", WORKFLOW.format("w"))
    assert made.json["workflows"][0]["project_id"] == "red"
    assert liar("GET", "/v2/workflows?all_projects=true").status == 403


def test_q29_target_headers_never_change_the_project(
    by_keystone: Client, keystone: FakeKeystone
) -> None:
    target = {
        "X-Target-Auth-Uri": "http://other/v3", "X-Target-Auth-Token": "t",
        "X-Target-Project-Id": "blue", "X-Target-User-Id": "root",
    }  # fmt: skip
    red = _with(by_keystone, keystone.issue("t1", "red", ["member"]), **target)
    made = red("POST", "/v2/workflows", WORKFLOW.format("w"))
    assert made.json["workflows"][0]["project_id"] == "red"
    blue = _with(by_keystone, keystone.issue("t2", "blue", ["member"]))
    assert blue("GET", "/v2/workflows").json["workflows"] == []


def test_q27_maintenance_is_for_administrators(
    by_keystone: Client, keystone: FakeKeystone
) -> None:
    """Anybody identified may read it (§ 7.4)."""
    member = _with(by_keystone, keystone.issue("t1", "red", ["member"]))
    admin = _with(by_keystone, keystone.issue("t2", "ops", ["admin"]))
    assert member("GET", "/maintenance").status == 200
    assert member("PUT", "/maintenance", {"status": "PAUSED"}).status == 403
    assert member("GET", "/maintenance").json == {"status": "RUNNING"}
    assert admin("PUT", "/maintenance", {"status": "RUNNING"}).status == 200


def test_rest_keystone_away_is_503(by_keystone: Client, keystone: FakeKeystone) -> None:
    keystone.broken = True
    answer = _with(by_keystone, "t1")("GET", "/v2/workflows")
    assert answer.status == 503
    assert answer.headers["Retry-After"]


def test_keystone_without_its_options_stops_the_start(
    services: Services, tmp_path: Path
) -> None:
    with pytest.raises(ServiceError, match="keystone_authtoken"):
        client(services, tmp_path, "")


# -- Any issuer, Keycloak -----------------------------------------------------


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    fake = FakeIssuer()
    with served(fake.answer) as fake.url:
        yield fake


@pytest.fixture
def by_keycloak(services: Services, tmp_path: Path, issuer: FakeIssuer) -> Client:
    options = (
        "[DEFAULT]\nauth_type = keycloak-oidc\n"
        f"[keycloak_oidc]\nauth_url = {issuer.url}\naudience = workflow\n"
    )
    return client(services, tmp_path, options)


@pytest.fixture
def by_oidc(services: Services, tmp_path: Path, issuer: FakeIssuer) -> Client:
    options = (
        "[DEFAULT]\nauth_type = oidc\n"
        f"[oidc]\nissuer = {issuer.url}\naudience = workflow,other\n"
        "project_claim = tenant.id\nroles_claim = groups\n"
    )
    return client(services, tmp_path, options)


def test_q25_keycloak_realm_is_the_project(
    by_keycloak: Client, issuer: FakeIssuer, bus: Any
) -> None:
    token = issuer.token(realm_access={"roles": ["member"]})
    red = _with(by_keycloak, token)
    made = red("POST", "/v2/workflows", WORKFLOW.format("w"))
    assert made.json["workflows"][0]["project_id"] == "red"
    bus.answer = lambda message: {"id": message.execution_id}
    red("POST", "/v2/executions", {"workflow_name": "w"})
    context = bus.called[0].context
    assert (context["user_id"], context["user_name"]) == ("u1", "Zoë")
    assert context["roles"] == ["member"]
    blue = _with(by_keycloak, issuer.token(iss=f"{issuer.url}/realms/blue"))
    assert blue("GET", "/v2/workflows").json["workflows"] == []
    assert blue("GET", "/v2/workflows?all_projects=1").status == 403
    admin = issuer.token(realm_access={"roles": ["admin"]})
    assert (
        _with(by_keycloak, admin)("GET", "/v2/workflows?all_projects=1").status == 200
    )


def test_q25_any_issuer_with_claims_by_option(
    by_oidc: Client, issuer: FakeIssuer
) -> None:
    token = issuer.token(
        iss=issuer.url, aud=["x", "other"], tenant={"id": "red"}, groups=["admin"]
    )
    ask = _with(by_oidc, token)
    assert ask("GET", "/v2/workflows?all_projects=1").status == 200
    made = ask("POST", "/v2/workflows", WORKFLOW.format("w"))
    assert made.json["workflows"][0]["project_id"] == "red"
    bearer = {"Authorization": f"Bearer {token}"}
    assert by_oidc.get("/v2/workflows", headers=bearer).status == 200
    nobody = _with(by_oidc, issuer.token(iss=issuer.url))("GET", "/v2/workflows")
    assert nobody.status == 403
    assert "project" in nobody.fault
    assert len(issuer.asked) == 2, "the document, then the keys, once"


@pytest.mark.parametrize(
    ("groups", "roles"),
    [
        (["member", 1, None, ["admin"]], ["member"]),
        ("member reader", ["member", "reader"]),
        ({"admin": True}, []),
        (None, []),
    ],
)
def test_q25_roles_are_a_list_or_words(
    by_oidc: Client, issuer: FakeIssuer, bus: Any, groups: Any, roles: list[str]
) -> None:
    """And the end of the token is known, whatever its issuer thinks a year is."""
    given = {"iss": issuer.url, "tenant": {"id": "red"}, "groups": groups}
    bus.answer = lambda message: {"id": message.execution_id}
    ends = [("2030-01-02T03:04:05.000000Z", 1893553445), (None, 10**17)]
    for told, seconds in ends:
        ask = _with(by_oidc, issuer.token(exp=seconds, **given))
        if told:
            assert ask("POST", "/v2/workflows", WORKFLOW.format("w")).status == 201
        ask("POST", "/v2/executions", {"workflow_name": "w"})
        context = bus.called[-1].context
        assert (context["roles"], context["expires_at"]) == (roles, told)


def _unsigned(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, key="", algorithm="none", headers={"kid": "k1"})


def _now(**delta: float) -> datetime:
    return datetime.now(UTC) + timedelta(**delta)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda i: "canary", "cannot be read"),
        (lambda i: i.token(exp=_now(hours=-1)), "expired"),
        (lambda i: i.token(nbf=_now(hours=1)), "does not hold yet"),
        (lambda i: i.token(exp=None), "claim is missing"),
        (lambda i: i.token(aud="other"), "another service"),
        (lambda i: i.token(aud=None), "claim is missing"),
        (lambda i: i.token(iss="http://evil/realms/red"), "issuer"),
        (lambda i: i.token(iss=None), "issuer"),
        (lambda i: i.token(iss=f"{i.url}/realms/../red"), "issuer"),
        (lambda i: i.token(iss=f"{i.url}/realms/nowhere"), "no such key"),
        (lambda i: i.token(key=make_key()), "signature is wrong"),
        (lambda i: i.token(kid="k2", key=make_key()), "no such key"),
        (
            lambda i: _unsigned(
                {"iss": f"{i.url}/realms/red", "aud": "workflow", "exp": 9e9}
            ),
            "not accepted",
        ),
        (
            lambda i: jwt.encode(
                {"iss": f"{i.url}/realms/red", "aud": "workflow", "exp": 9e9},
                "shared-secret-of-32-bytes-or-more!",
                algorithm="HS256",
                headers={"kid": "k1"},
            ),
            "not accepted",
        ),
        (lambda i: "x" * 70_000, "too long"),
    ],
)
def test_q25_sec18_clear_refusals_without_the_token(
    by_keycloak: Client, issuer: FakeIssuer, make: Any, reason: str, caplog: Any
) -> None:
    token = make(issuer)
    with caplog.at_level(logging.DEBUG, logger="mistral"):
        answer = _with(by_keycloak, token)("GET", "/v2/workflows")
    _assert_401(answer, reason)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer error=")
    for part in filter(None, token.split(".")):
        assert part not in answer.body.decode()
        assert part not in caplog.text


def test_q25_a_changed_claim_breaks_the_signature(
    by_keycloak: Client, issuer: FakeIssuer
) -> None:
    head, claims, signature = issuer.token().split(".")
    changed = json.loads(base64.urlsafe_b64decode(claims + "=="))
    changed["realm_access"] = {"roles": ["admin"]}
    claims = base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().strip("=")
    answer = _with(by_keycloak, f"{head}.{claims}.{signature}")("GET", "/v2/workflows")
    _assert_401(answer, "signature is wrong")


def test_keys_are_remembered_and_asked_for_when_one_is_new(
    by_keycloak: Client, issuer: FakeIssuer, clock: FakeClock
) -> None:
    def status(**given: Any) -> int:
        return _with(by_keycloak, issuer.token(**given))("GET", "/v2/workflows").status

    assert [status(), status()] == [200, 200]
    assert len(issuer.asked) == 1
    issuer.keys["k2"] = make_key()
    assert status(kid="k2") == 401, "asked a moment ago"
    clock.advance(11)
    assert status(kid="k2") == 200
    assert len(issuer.asked) == 2
    issuer.broken = True
    assert status() == 200
    clock.advance(301)
    assert status() == 503


def test_user_info_is_asked_where_it_has_a_url_of_its_own(
    services: Services, tmp_path: Path, issuer: FakeIssuer
) -> None:
    options = (
        "[DEFAULT]\nauth_type = keycloak-oidc\n"
        f"[keycloak_oidc]\nauth_url = {issuer.url}\naudience = workflow\n"
        f"user_info_endpoint_url = {issuer.url}/realms/%s/userinfo\n"
    )
    ask = _with(client(services, tmp_path, options), issuer.token())
    assert ask("GET", "/v2/workflows").status == 200
    assert issuer.asked[-1] == "/realms/red/userinfo"
    issuer.revoked = True
    _assert_401(ask("GET", "/v2/workflows"), "revoked")


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ("[DEFAULT]\nauth_type = keycloak-oidc\n", "auth_url, audience"),
        ("[DEFAULT]\nauth_type = oidc\n[oidc]\nissuer = http://x\n", "audience"),
        (
            "[DEFAULT]\nauth_type = oidc\n[oidc]\nissuer = http://x\n"
            "audience = a\nalgorithms = HS256\n",
            "HS256",
        ),
    ],
)
def test_q25_incomplete_options_stop_the_start(
    services: Services, tmp_path: Path, options: str, missing: str
) -> None:
    with pytest.raises(ServiceError, match=missing):
        client(services, tmp_path, options)
