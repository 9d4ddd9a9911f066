"""Tokens of a real Keystone that are for no project, and roles that count
(spec/rest-api.md §§ 4.1, 5.1; SEC-26, Q-30)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from servers import NoServer
from system.cloud import Cloud, Person, running_cloud

pytestmark = pytest.mark.system

WORKFLOW = "version: '2.0'\n{}:\n  tasks:\n    t: {{action: std.noop}}\n"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud where readers read and members write."""
    options = "[api]\nenforce_roles = true\n"
    try:
        with running_cloud(tmp_path_factory.mktemp("strict"), options) as cloud:
            cloud.keystone.grant_all("root", "admin")
            yield cloud
    except NoServer as missing:
        pytest.skip(str(missing))


def _ask(person: Person, method: str, path: str, body: Any = None) -> int:
    kind = "text/plain" if isinstance(body, str) else "application/json"
    return person.request(method, f"/v2/{path}", body, kind)[0]


CLAIMS = (
    "X-Project-Id", "X-Tenant-Id", "X-Domain-Id", "X-Project-Domain-Id",
    "X-User-Domain-Id",
)  # fmt: skip


def test_sec_26_a_token_needs_a_project_whatever_headers_say(strict: Cloud) -> None:
    """Of the system, of a domain, of nothing; Keystone's own administrator's, too."""
    keystone = strict.keystone
    red = keystone.ids["red"]
    headers = dict.fromkeys(CLAIMS, red) | {
        "X-Identity-Status": "Confirmed",
        "X-Roles": "admin,member,reader",
        "X-Is-Admin-Project": "True",
        "OpenStack-System-Scope": "all",
    }
    for token in (
        keystone.for_the_system("root"),
        keystone.for_the_domain("root"),
        keystone.unscoped("root"),
    ):
        for method, path in (
            ("GET", "workflows"), ("POST", "workflows"), ("GET", "executions"),
            ("POST", "executions"), ("DELETE", "workflows/x"),
        ):  # fmt: skip
            answer = requests.request(
                method,
                f"{strict.service.root}/v2/{path}",
                json={"workflow_name": "x"} if path == "executions" else None,
                headers=headers | {"X-Auth-Token": token},
                timeout=60,
            )
            assert answer.status_code == 403, answer.text
            assert "for no project" in answer.json()["faultstring"]


def test_sec_26_headers_change_nothing_about_a_token(strict: Cloud) -> None:
    """Who asks for red is in red, whatever project, domain or role is claimed."""
    ann, bob = strict.be("ann"), strict.be("bob")
    assert _ask(bob, "POST", "workflows", WORKFLOW.format("of_blue")) == 201
    blue = strict.keystone.ids["blue"]
    headers = dict.fromkeys(CLAIMS, blue) | ann.credentials() | {"X-Roles": "admin"}

    def get(path: str) -> requests.Response:
        url = f"{strict.service.root}/v2/{path}"
        return requests.get(url, headers=headers, timeout=60)

    assert get("workflows/of_blue").status_code == 404
    assert get("workflows").json()["workflows"] == []
    assert get("workflows?all_projects=true").status_code == 403
    assert _ask(strict.be("root"), "GET", "workflows?all_projects=true") == 200


def test_q30_readers_read_and_members_write(strict: Cloud) -> None:
    """By roles as Keystone tells them: an administrator's and a member's imply what is
    below; a service has none of them."""
    ann, rita, service = (strict.be(name) for name in ("ann", "rita", "mistral"))
    text = WORKFLOW.format("shared")
    run = {"workflow_name": "shared"}
    environment = {"name": "e", "variables": {}}
    trigger = {"name": "c", "workflow_name": "shared", "pattern": "0 0 1 1 *"}
    writes = (
        ("POST", "workflows", text), ("PUT", "workflows", text),
        ("POST", "environments", environment), ("POST", "executions", run),
        ("POST", "cron_triggers", trigger), ("DELETE", "cron_triggers/c", None),
        ("DELETE", "environments/e", None),
    )  # fmt: skip
    reads = ("workflows", "workflows/shared", "executions", "tasks", "actions")
    for method, path, body in writes:
        assert _ask(rita, method, path, body) == 403, path
        assert _ask(service, method, path, body) == 403, path
        assert _ask(ann, method, path, body) in (200, 201, 204), path
    for path in reads:
        assert _ask(rita, "GET", path) == 200
        assert _ask(service, "GET", path) == 403
    root = strict.be("root")
    assert _ask(root, "POST", "workflows", WORKFLOW.format("of_ops")) == 201
    assert _ask(root, "GET", "workflows") == 200


def test_rest_an_administrator_is_one_in_every_project(strict: Cloud) -> None:
    """§ 4.2: the role alone counts, not the project that it is held in."""
    ruth = strict.be("ruth")
    assert _ask(ruth, "GET", "workflows?all_projects=true") == 200
    plain = replace(ruth, token=strict.keystone.token("ann"))
    assert _ask(plain, "GET", "workflows?all_projects=true") == 403
