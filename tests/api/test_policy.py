"""Rules, their defaults, and the operator's file (spec/rest-api.md § 5)."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeClock
from rest import Client

from mistral.api.app import Services, make_app
from mistral.api.policy import Policies
from mistral.api.rest import Resource, Route
from mistral.api.rules import list_rules
from mistral.config import load
from mistral.context import Context
from mistral.errors import Bug, Forbidden, ServiceError

ADMINISTRATIVE = {
    *(f"{kind}:publicize" for kind in (
        "workbooks", "workflows", "actions", "environments", "cron_triggers",
        "event_triggers",
    )),
    *(f"{kind}:list:all_projects" for kind in (
        "workflows", "executions", "cron_triggers", "event_triggers",
    )),
    *(f"{kind}:{verb}" for kind in ("code_sources", "dynamic_actions") for verb in (
        "create", "delete", "get", "list", "update", "publicize",
    )),
    "maintenance:update",
}  # fmt: skip
CRUD = ("create", "delete", "get", "list", "update")
EVERYBODYS = {
    *(f"{kind}:{verb}" for verb in CRUD for kind in (
        "workbooks", "workflows", "actions", "environments", "executions",
        "action_executions", "event_triggers", "members",
    )),
    *(f"tasks:{verb}" for verb in ("get", "list", "update")),
    *(f"cron_triggers:{verb}" for verb in ("create", "delete", "get", "list")),
    "services:list", "executions:send_message", "cron_triggers:operate",
    *(f"event_sources:{verb}" for verb in ("create", "delete", "get", "list")),
}  # fmt: skip


def source(tmp_path: Path, rules: str | None = None, more: str = "") -> Any:
    """An operator's configuration; ``rules`` becomes the policy file beside it."""
    file = tmp_path / "mistral.conf"
    file.write_text(f"[pecan]\nauth_enable = false\n[api]\nhost = 127.0.0.1\n{more}")
    if rules is not None:
        (tmp_path / "policy.yaml").write_text(rules)
    environ = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    return load(["--config-file", str(file)], environ=environ).source


def caller(*roles: str, is_admin: bool = False) -> Context:
    return Context(project_id="red", user_id="u", roles=roles, is_admin=is_admin)


def allowed(policies: Policies, rule: str, context: Context) -> bool:
    try:
        policies.check(rule, context)
    except Forbidden as error:
        assert rule in error.message
        return False
    return True


def test_sec15_names_and_defaults_are_those_of_the_table(tmp_path: Path) -> None:
    """§ 5.2: exactly these names, and who passes each without any role."""
    policies = Policies(source(tmp_path))
    names = {rule.name for rule in list_rules() if ":" in rule.name}
    assert names == ADMINISTRATIVE | EVERYBODYS
    for rule in names:
        assert allowed(policies, rule, caller(is_admin=True)), rule
        assert allowed(policies, rule, caller()) is (rule in EVERYBODYS), rule


@pytest.mark.parametrize(
    ("roles", "is_admin"),
    [(("admin",), True), (("member", "admin"), True), (("Admin",), False),
     (("administrator",), False), ((), False)],
)  # fmt: skip
def test_rest_who_is_an_administrator(
    tmp_path: Path, roles: tuple[str, ...], is_admin: bool
) -> None:
    """§ 4.2: the literal role, case sensitive."""
    assert Policies(source(tmp_path)).is_admin(caller(*roles)) is is_admin


def test_rest_the_file_overrides_rules_by_name(tmp_path: Path) -> None:
    file = (
        "workflows:create: 'role:author'\n"
        "context_is_admin: 'role:cloud_admin'\n"
        "workbooks:get: '!'\n"
    )
    policies = Policies(source(tmp_path, file))
    assert not allowed(policies, "workflows:create", caller("member"))
    assert allowed(policies, "workflows:create", caller("author"))
    assert not allowed(policies, "workbooks:get", caller(is_admin=True))
    assert allowed(policies, "workbooks:list", caller())
    assert policies.is_admin(caller("cloud_admin"))
    assert not policies.is_admin(caller("admin"))


def test_a_changed_file_counts_within_a_second(tmp_path: Path) -> None:
    """It is looked for then: nobody else has to."""
    clock = FakeClock()
    policies = Policies(source(tmp_path, "workflows:create: '@'\n"), clock=clock)
    clock.advance(1)
    assert allowed(policies, "workflows:create", caller())
    file = tmp_path / "policy.yaml"
    file.write_text("workflows:create: '!'\n")
    os.utime(file, (1, file.stat().st_mtime + 10))
    clock.advance(0.9)
    assert allowed(policies, "workflows:create", caller())
    clock.advance(0.1)
    assert not allowed(policies, "workflows:create", caller())


@pytest.mark.parametrize(
    ("file", "more"),
    [
        (None, "[oslo_policy]\npolicy_file = nowhere.yaml\n"),
        ("workflows:create: [", ""),
        ("workflows:create: 'rule:nothing'", ""),
        ("a: 'rule:b'\nb: 'rule:a'", ""),
    ],
)
def test_sec15_a_file_that_cannot_be_used_stops_the_start(
    tmp_path: Path, file: str | None, more: str
) -> None:
    with pytest.raises(ServiceError, match="policy_file"):
        Policies(source(tmp_path, file, more))


def test_sec15_a_route_without_a_policy_stops_the_start(services: Services) -> None:
    class Things(Resource):
        routes = (Route("GET", "", "get_all", ""),)

    with pytest.raises(Bug, match="not declared"):
        make_app(services, resources={"things": Things()})


@pytest.mark.parametrize(
    ("roles", "reads", "writes"),
    [((), False, False), (("reader",), True, False), (("member",), True, True),
     (("reader", "member"), True, True)],
)  # fmt: skip
def test_q30_readers_may_be_held_to_reading(
    tmp_path: Path, roles: tuple[str, ...], reads: bool, writes: bool
) -> None:
    policies = Policies(source(tmp_path), enforce_roles=True)
    assert allowed(policies, "workflows:list", caller(*roles)) is reads
    assert allowed(policies, "workflows:update", caller(*roles)) is writes
    assert not allowed(policies, "workflows:publicize", caller(*roles))
    assert allowed(policies, "workflows:update", caller(is_admin=True))


def test_rest_denial_is_403_and_names_the_rule(
    services: Services, tmp_path: Path
) -> None:
    settings = replace(
        services.settings, source=source(tmp_path, "workbooks:list: '!'\n")
    )
    services = replace(services, settings=settings)
    answer = Client(make_app(services), services).get("/v2/workbooks")
    assert answer.status == 403
    assert answer.fault == "Policy doesn't allow workbooks:list to be performed."


BOX = "version: '2.0'\nname: box\n"
MEMBER = "workflows: {run: {tasks: {t: {action: std.noop}}}}\n"


@pytest.mark.parametrize("rule", ["workflows:delete", "actions:delete"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/v2/workbooks?prune=true"), ("DELETE", "/v2/workbooks/box?cascade=true")],
    ids=["prune", "cascade"],
)
def test_sec_15_members_of_a_workbook_go_with_it_for_who_may_delete_them(
    services: Services, tmp_path: Path, rule: str, method: str, path: str
) -> None:
    settings = replace(services.settings, source=source(tmp_path, f"{rule}: '!'\n"))
    services = replace(services, settings=settings)
    api = Client(make_app(services), services)
    assert api.post("/v2/workbooks", BOX + MEMBER).status == 201
    answer = api.request(method, path, BOX if method == "PUT" else None)
    assert answer.status == 403
    assert rule in answer.fault
    assert api.get("/v2/workflows/box.run").status == 200


def test_the_sample_generator_knows_every_rule() -> None:
    found = subprocess.run(
        [Path(sys.executable).parent / "oslopolicy-sample-generator",
         "--namespace", "mistral"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for rule in ADMINISTRATIVE | EVERYBODYS:
        assert f'"{rule}"' in found
