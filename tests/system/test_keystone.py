"""The service behind a real Keystone (spec/rest-api.md § 4): tokens, roles, the
catalogue, trusts, and who may reach what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from system.cloud import Cloud, Person
from system.keystone import CAST, SERVICE_USER
from system.processes import until

pytestmark = pytest.mark.system

WORKFLOW = """\
version: '2.0'
{name}:
  output: {{who: <% task(t).result %>, known: <% $.openstack %>}}
  tasks:
    t: {{action: test.who_am_i user_id=<% $.openstack.user_id %>}}
"""


def ask(
    person: Person, method: str, path: str, body: Any = None, kind: str = "text/plain"
) -> tuple[int, Any]:
    kind = kind if isinstance(body, str) else "application/json"
    return person.request(method, f"/v2/{path}", body, kind)


def made(person: Person, path: str, body: Any) -> Any:
    status, answer = ask(person, "POST", path, body)
    assert status == 201, answer
    return answer


def ended(person: Person, execution: str) -> dict[str, Any]:
    """The execution, when it has succeeded."""

    def over() -> Any:
        found = ask(person, "GET", f"executions/{execution}")[1]
        return found if found["state"] != "RUNNING" else None

    found: dict[str, Any] = until(over, 60, f"{execution} has ended")
    assert found["state"] == "SUCCESS", found["state_info"]
    return found


@pytest.fixture(scope="module")
def ann(cloud: Cloud) -> Iterator[Person]:
    """A member of red, with a workflow that says who it runs as."""
    ann = cloud.be("ann")
    made(ann, "workflows", WORKFLOW.format(name="whoami"))
    yield ann


# -- Tokens -------------------------------------------------------------------


def test_rest_tokens_that_do_not_hold(cloud: Cloud, ann: Person) -> None:
    """§ 4.1: expired, revoked, altered, made up; and none that is for a project."""
    keystone = cloud.keystone
    revoked = keystone.token("ann")
    keystone.revoke(revoked)
    fresh = keystone.token("ann")
    altered = fresh[:-4] + ("AAAA" if fresh[-4:] != "AAAA" else "BBBB")
    for token in (keystone.expired("ann"), revoked, altered, "made-up"):
        liar = replace(ann, token=token)
        status, answer = ask(liar, "GET", "workflows")
        assert status == 401, answer
        assert token not in json.dumps(answer)
    unscoped = replace(ann, token=keystone.unscoped("ann"))
    assert ask(unscoped, "GET", "workflows")[0] == 403
    log = cloud.service.log()
    for secret in (revoked, fresh, "canary-password"):
        assert secret not in log


def test_rest_a_token_is_the_caller_and_actions_have_it(
    cloud: Cloud, ann: Person
) -> None:
    """§ 4.2, spec/engine.md § 8.4; what implies a role has it, too."""
    run = made(ann, "executions", {"workflow_name": "whoami"})
    output = json.loads(ended(ann, run["id"])["output"])
    assert output["who"] == {
        "user": "ann",
        "projects": ["red"],
        "trust": None,
        "known": ["ann", "red", None],
        "services": ["identity", "workflow", "workflowv2"],
    }
    known = output["known"]
    assert known["project_id"] == run["project_id"] == cloud.keystone.ids["red"]
    assert (known["user_id"], known["user_name"]) == (cloud.keystone.ids["ann"], "ann")
    assert sorted(known["roles"]) == ["member", "reader"]
    assert (known["is_admin"], known["is_trust_scoped"]) == (False, False)
    assert known["expires_at"].endswith("Z")
    assert (known["auth_token"], known["service_catalog"]) == ("***", "***")


def test_rest_a_user_in_two_projects_is_two_callers(cloud: Cloud, ann: Person) -> None:
    cloud.keystone.grant("ann", "blue", "member")
    token = cloud.keystone.token("ann", "blue")
    there = replace(ann, token=token)
    assert ask(there, "GET", "workflows/whoami")[0] == 404
    cloud.keystone.withdraw("ann", "blue", "member")


def test_q24_the_token_of_a_service_alone_is_nobody(cloud: Cloud) -> None:
    headers = {"X-Service-Token": cloud.keystone.token(SERVICE_USER)}
    answer = requests.get(f"{cloud.service.root}/v2/workflows", headers=headers)
    assert answer.status_code == 401


def test_rest_roles_of_keystone_are_those_of_policies(
    cloud: Cloud, ann: Person
) -> None:
    """§ 5.2: administrators alone publish and ask for all projects; by default a
    reader may do what a member may (Q-30)."""
    root, rita = cloud.be("root"), cloud.be("rita")
    for person, expected in ((ann, 403), (rita, 403), (root, 200)):
        path = "workflows?all_projects=true"
        assert ask(person, "GET", path)[0] == expected
        text = WORKFLOW.format(name=f"pub_{person.name}")
        status = ask(person, "POST", "workflows?scope=public", text)[0]
        assert status == (201 if expected == 200 else 403)
    assert ask(root, "DELETE", "workflows/pub_root")[0] == 204
    assert ask(rita, "POST", "workflows", WORKFLOW.format(name="of_rita"))[0] == 201
    assert ask(ann, "DELETE", "workflows/of_rita")[0] == 204


# -- Trusts -------------------------------------------------------------------


def test_eng_10_2_eng_10_3_a_cron_trigger_acts_by_a_trust(
    cloud: Cloud, ann: Person
) -> None:
    """Twice, each second; then it is used up, and its trust has ended."""
    body = {
        "name": "twice", "workflow_name": "whoami", "pattern": "* * * * * *",
        "remaining_executions": 2,
    }  # fmt: skip
    trigger = made(ann, "cron_triggers", body)["id"]
    [trust] = cloud.keystone.trusts()
    assert trust["trustor_user_id"] == cloud.keystone.ids["ann"]
    assert trust["trustee_user_id"] == cloud.keystone.ids[SERVICE_USER]
    assert trust["project_id"] == cloud.keystone.ids["red"]
    assert trust["impersonation"] is True

    def both() -> list[str]:
        rows = ask(ann, "GET", "executions")[1]["executions"]
        found = [row["id"] for row in rows if trigger in (row["description"] or "")]
        return found if len(found) == 2 else []

    for execution in until(both, 60, "it has fired twice"):
        output = json.loads(ended(ann, execution)["output"])
        assert output["who"]["user"] == "ann"
        assert output["who"]["projects"] == ["red"]
        assert output["who"]["trust"] == trust["id"]
        assert output["known"]["trust_id"] == "***"
    until(lambda: not cloud.keystone.trusts(), 90, "the trust has ended")


def test_eng_10_2_a_trust_ends_with_its_trigger(cloud: Cloud, ann: Person) -> None:
    cron = {"name": "yearly", "workflow_name": "whoami", "pattern": "0 0 1 1 *"}
    workflow = ask(ann, "GET", "workflows/whoami")[1]["id"]
    event = {"workflow_id": workflow, "exchange": "x", "topic": "t", "event": "e"}
    for path, body in (("cron_triggers", cron), ("event_triggers", event)):
        trigger = made(ann, path, body)["id"]
        assert len(cloud.keystone.trusts()) == 1
        assert ask(ann, "POST", path, body)[0] == 409
        assert ask(ann, "DELETE", f"{path}/{trigger}")[0] == 204
        until(lambda: not cloud.keystone.trusts(), 60, "trusts have ended")


def test_rest_application_credentials_make_no_triggers(
    cloud: Cloud, ann: Person
) -> None:
    token = cloud.keystone.by_application_credential("ann")
    robot = replace(ann, token=token)
    assert ask(robot, "GET", "workflows/whoami")[0] == 200
    body = {"name": "robot", "workflow_name": "whoami", "pattern": "0 0 1 1 *"}
    status, answer = ask(robot, "POST", "cron_triggers", body)
    assert status == 403
    assert "application credentials" in answer["faultstring"]
    assert cloud.keystone.trusts() == []
    assert ask(ann, "GET", "cron_triggers/robot")[0] == 404


def test_nothing_of_it_surprised_the_service(cloud: Cloud) -> None:
    """The last of the module: after all of the above."""
    log = cloud.service.log()
    assert "Traceback" not in log, log
    assert " ERROR " not in log, log
    for name in CAST:
        assert f"canary-password-of-{name}" not in log
