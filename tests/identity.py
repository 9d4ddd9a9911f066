"""Stand-ins for those who know callers: a Keystone and an OpenID Connect issuer,
spoken to over HTTP on loopback."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

SERVICE_TOKEN = "token-of-the-workflow-service"
SERVICE_USER = "the-workflow-service"
SERVICE_PASSWORD = "canary-password"


@contextmanager
def served(answer: Any) -> Iterator[str]:
    """The URL of a server.

    :param answer: (method, path, headers, JSON) → (status, headers, JSON).
    """

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            json_sent = sent if self.headers.get_content_subtype() == "json" else b""
            status, headers, body = answer(
                self.command, self.path, self.headers, json.loads(json_sent or b"null")
            )
            text = b"" if status == 204 else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _answer

        def log_message(self, format: str, *args: Any) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class FakeKeystone:
    """Knows the tokens that a test issues, and trusts made by them; ``url`` while it
    is being served. Of users there is one, who has every role on every project;
    ``tests/test_trusts.py`` compares it with a real one.
    """

    def __init__(self) -> None:
        self.url = ""
        self.broken = False
        self.asked: list[str | None] = []
        self.trusts: dict[str, dict[str, Any]] = {}
        self._tokens: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self.issue(SERVICE_TOKEN, "service", ["service"], user=SERVICE_USER)

    def issue(
        self,
        token: str,
        project: str | None,
        roles: list[str],
        *,
        hours: float = 1,
        user: str = "u1",
        is_admin_project: bool | None = None,
    ) -> str:
        """:param is_admin_project: None: Keystone knows of no such project."""
        ends = datetime.now(UTC) + timedelta(hours=hours)
        body: dict[str, Any] = {
            "methods": ["password"],
            "user": {"id": user, "name": "Zoë", "domain": {"id": "d", "name": "Dom"}},
            "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
            "issued_at": "2020-01-01T00:00:00.000000Z",
            "audit_ids": ["audit"],
        }
        if project is not None:
            domain = {"id": "d", "name": "Dom"}
            body["project"] = {"id": project, "name": f"n-{project}", "domain": domain}
            body["roles"] = [{"id": role, "name": role} for role in roles]
            body["catalog"] = []
        if is_admin_project is not None:
            body["is_admin_project"] = is_admin_project
        self._tokens[token] = body
        return token

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], sent: Any
    ) -> tuple[int, dict[str, str], Any]:
        if self.broken:
            return 500, {}, {}
        if path.startswith("/v3/OS-TRUST/trusts"):
            return self._delegated(method, path, headers["X-Auth-Token"], sent)
        if not path.startswith("/v3/auth/tokens"):
            link = {"rel": "self", "href": f"{self.url}/v3/"}
            version = {"id": "v3.14", "status": "stable", "links": [link]}
            if path.startswith("/v3"):
                return 200, {}, {"version": version}
            return 300, {}, {"versions": {"values": [version]}}
        if method == "POST":
            return self._entered(sent["auth"])
        assert headers["X-Auth-Token"] == SERVICE_TOKEN
        self.asked.append(headers["X-Subject-Token"])
        known = self._tokens.get(headers["X-Subject-Token"])
        if known is None:
            return _refused(404)
        return 200, {"X-Subject-Token": headers["X-Subject-Token"]}, {"token": known}

    def _entered(self, asked: Any) -> tuple[int, dict[str, str], Any]:
        """A token of the service: its own, or by a trust."""
        if asked["identity"]["password"]["user"]["password"] != SERVICE_PASSWORD:
            return _refused(401)
        scope = asked["scope"].get("OS-TRUST:trust")
        if scope is not None:
            trust = self.trusts.get(scope["id"])
            if trust is None:
                return _refused(401)
            roles = [role["name"] for role in trust["roles"]]
            token = self.issue(
                f"token-{next(self._numbers)}-of-{trust['id']}",
                trust["project_id"],
                roles,
                user=trust["trustor_user_id"],
            )
            self._tokens[token]["OS-TRUST:trust"] = {"id": trust["id"]}
            headers = {"X-Subject-Token": token}
            return 201, headers, {"token": self._tokens[token]}
        body = dict(self._tokens[SERVICE_TOKEN])
        here = {
            "id": "e", "interface": "internal", "region": "R", "region_id": "R",
            "url": f"{self.url}/v3",
        }  # fmt: skip
        service = {"id": "k", "type": "identity", "name": "k", "endpoints": [here]}
        body["catalog"] = [service]
        return 201, {"X-Subject-Token": SERVICE_TOKEN}, {"token": body}

    def _delegated(
        self, method: str, path: str, token: str, sent: Any
    ) -> tuple[int, dict[str, str], Any]:
        known = self._tokens.get(token)
        if known is None:
            return _refused(401)
        if method == "DELETE":
            trust = self.trusts.get(path.rpartition("/")[2])
            if trust is None:
                return _refused(404)
            if trust["trustor_user_id"] != known["user"]["id"]:
                return _refused(403)
            del self.trusts[trust["id"]]
            return 204, {}, {}
        trust = sent["trust"]
        mine = trust["trustor_user_id"] == known["user"]["id"]
        if not mine or "OS-TRUST:trust" in known:
            return _refused(403)
        if not {r["name"] for r in trust["roles"]} <= {
            r["name"] for r in known["roles"]
        }:
            return _refused(404)
        trust = {**trust, "id": f"canary-trust-{next(self._numbers)}"}
        self.trusts[trust["id"]] = trust
        return 201, {}, {"trust": trust}

    def options(self) -> str:
        """``[keystone_authtoken]`` of a service that asks here."""
        return (
            "[keystone_authtoken]\n"
            "www_authenticate_uri = http://keystone.example/v3\n"
            f"auth_url = {self.url}\n"
            f"auth_type = password\nusername = mistral\npassword = {SERVICE_PASSWORD}\n"
            "project_name = service\nuser_domain_name = Dom\n"
            "project_domain_name = Dom\nhttp_request_max_retries = 0\n"
        )


class FakeIssuer:
    """Signs tokens; serves its keys below any path that ends in ``certs``."""

    def __init__(self) -> None:
        self.url = ""
        self.broken = False
        self.revoked = False
        self.asked: list[str] = []
        self.keys = {"k1": make_key()}
        self.roles: tuple[str, ...] = ("member",)

    def token(self, *, kid: str | None = "k1", key: Any = None, **claims: Any) -> str:
        """:param claims: over those of a good token; None leaves one out."""
        given = {
            "iss": f"{self.url}/realms/red",
            "aud": "workflow",
            "exp": datetime.now(UTC) + timedelta(hours=1),
            "sub": "u1",
            "preferred_username": "Zoë",
            **claims,
        }
        given = {name: value for name, value in given.items() if value is not None}
        headers = {"kid": kid} if kid else {}
        signer = key or self.keys[kid or "k1"]
        return jwt.encode(given, signer, algorithm="RS256", headers=headers)

    def password_token(self, realm: str) -> str:
        """For whoever asks with a password; no two are of one person."""
        name = f"user of {realm}"
        roles = {"roles": [*self.roles]}
        issuer = f"{self.url}/realms/{realm}"
        return self.token(iss=issuer, preferred_username=name, realm_access=roles)

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], sent: Any
    ) -> tuple[int, dict[str, str], Any]:
        self.asked.append(path)
        if self.broken:
            return 500, {}, {}
        if path.endswith("/token"):
            realm = path.split("/realms/")[1].split("/")[0]
            return 200, {}, {"access_token": self.password_token(realm)}
        if path.endswith("/userinfo"):
            assert headers["Authorization"].startswith("Bearer ")
            return (401 if self.revoked else 200), {}, {}
        if path.endswith("/.well-known/openid-configuration"):
            return 200, {}, {"jwks_uri": f"{self.url}/certs"}
        if path.endswith("certs") and "nowhere" not in path:
            return 200, {}, {"keys": [_public(n, k) for n, k in self.keys.items()]}
        return 404, {}, {}


def _refused(status: int) -> tuple[int, dict[str, str], Any]:
    return status, {}, {"error": {"code": status, "title": "No", "message": "No."}}


def make_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _public(name: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
    found = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**found, "kid": name, "use": "sig", "alg": "RS256"}
