"""Triggers where callers have tokens of Keystone: each has a trust, its runs act by
it, and it ends when nothing needs it (spec/engine.md §§ 10.2, 10.3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from house import House
from identity import FakeKeystone, served
from mistral_lib import actions as mistral_lib
from rest import Client, Engine, Response
from sqlalchemy import select

from mistral.api.app import Services, make_app
from mistral.cmd.secrets import make_identities, make_trust_ending, make_trusts
from mistral.config import load
from mistral.db import event_triggers, models, trusts
from mistral.errors import ServiceError
from mistral.executors.runner import Runner
from mistral.keyring import Keyring

KEY = Fernet.generate_key().decode()

WORKFLOWS = """
version: '2.0'
once:
  output: {known: <% $.openstack %>}
  tasks:
    t: {workflow: inner}
inner:
  tasks:
    t: {action: story.look}
slow:
  tasks:
    wait: {action: std.async_noop, on-success: t}
    t: {action: story.look}
strict:
  input: [n]
  tasks:
    t: {action: std.noop}
"""


class Look(mistral_lib.Action):  # type: ignore[misc]
    """Reads who it is, as actions of clouds do."""

    seen: list[Any]

    def run(self, context: Any) -> Any:
        security = context.security
        Look.seen.append(security)
        return {"acts": security.auth_token is not None}


class _Actions:
    """The registry's, and ``story.look``."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def create(self, name: str, *args: Any, **more: Any) -> Any:
        if name == "std.sleep":
            return Look()
        return self._registry.create(name, *args, **more)

    def post_process(self, name: str, result: Any, *args: Any, **more: Any) -> Any:
        return result


@dataclass
class World:
    """The service in one thread, in front of a stand-in of Keystone."""

    house: House
    keystone: FakeKeystone
    client: Client
    token: str

    def ask(self, method: str, path: str, body: Any = None) -> Response:
        headers = {"X-Auth-Token": self.token}
        return self.client.request(method, path, body, headers=headers)

    def cron(self, name: str, workflow: str = "once", **more: Any) -> Response:
        body = {"name": name, "workflow_name": workflow, **more}
        return self.ask("POST", "/v2/cron_triggers", {"pattern": "* * * * *", **body})

    def event(self, **more: Any) -> Response:
        found = self.ask("GET", "/v2/workflows/once").json
        source = {"exchange": "nova", "topic": "notes", "event": "made"}
        body = {"name": "e", "workflow_id": found["id"], **source, **more}
        return self.ask("POST", "/v2/event_triggers", body)

    def executions(self) -> list[dict[str, Any]]:
        listed = self.ask("GET", "/v2/executions").json["executions"]
        return [each for each in listed if each["task_execution_id"] is None]

    def pass_time(self, seconds: float = 61) -> None:
        """What is due meanwhile is found by engines."""
        self.house.clock.advance(seconds)
        self.house.sweep()

    def standing(self) -> list[str]:
        """Trusts, when engines have looked after them."""
        self.house.sweep()
        return sorted(self.keystone.trusts)

    def everything(self) -> str:
        """All rows of all tables."""
        with self.house.database.read() as connection:
            return str(
                [
                    connection.execute(select(table)).all()
                    for table in models.metadata.tables.values()
                ]
            )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    Look.seen = []
    keystone = FakeKeystone()
    with served(keystone.answer) as keystone.url:
        file = tmp_path / "mistral.conf"
        file.write_text(f"[engine]\nsecret_key = {KEY}\n{keystone.options()}")
        environ = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
        settings = load(["--config-file", str(file)], environ=environ)
        house = House(tmp_path, end_trust=make_trust_ending(settings))
        house.runner = Runner(
            _Actions(house.registry), identities=make_identities(settings)
        )
        services = Services(
            database=house.database,
            bus=Engine(house),
            registry=house.registry,
            settings=settings,
            clock=house.clock,
            new_id=house.new_id,
            keyring=Keyring([KEY]),
            delegation=make_trusts(settings),
        )
        client = Client(make_app(services), services)
        token = keystone.issue("canary-token-of-ann", "red", ["member", "reader"])
        world = World(house, keystone, client, token)
        text = WORKFLOWS.replace("story.look", "std.sleep seconds=0")
        assert world.ask("POST", "/v2/workflows", text).status == 201
        yield world
        house.close()


def test_rest_a_cron_trigger_makes_a_trust_of_its_creator(world: World) -> None:
    assert world.cron("c").status == 201
    [trust] = world.keystone.trusts.values()
    assert (trust["trustor_user_id"], trust["project_id"]) == ("u1", "red")
    assert trust["trustee_user_id"] == "the-workflow-service"
    assert trust["roles"] == [{"name": "member"}, {"name": "reader"}]
    assert trust["impersonation"] is True
    assert trust["allow_redelegation"] is False


def test_eng_10_3_a_triggered_run_acts_by_the_trust(world: World) -> None:
    """Also in a sub-workflow; with a token of its own, not the creator's."""
    world.cron("c")
    [trust] = world.keystone.trusts
    world.pass_time()
    [run] = world.executions()
    assert run["state"] == "SUCCESS"
    [security] = Look.seen
    assert security.auth_token.endswith(f"-of-{trust}")
    assert security.trust_id == trust
    assert (security.is_trust_scoped, security.project_id) == (True, "red")
    assert security.service_catalog == []
    assert security.auth_uri == "http://keystone.example/v3"
    assert (security.auth_cacert, security.insecure) == (None, False)
    assert security.is_target is False
    output = world.ask("GET", f"/v2/executions/{run['id']}").json["output"]
    known = json.loads(output)["known"]
    assert (known["user_id"], known["is_trust_scoped"]) == ("u1", True)
    assert (known["trust_id"], known["auth_token"]) == ("***", "***")
    assert known["expires_at"] is None


def test_sec_07_sec_09_trusts_and_tokens_are_in_no_row_and_no_log(
    world: World, caplog: Any
) -> None:
    world.cron("c")
    world.event()
    world.pass_time()
    assert Look.seen
    shown = world.ask("GET", "/v2/cron_triggers/c").body.decode()
    for text in (world.everything(), caplog.text, shown):
        assert "canary" not in text
    assert "sealed" not in shown


def test_sec_23_an_action_that_reads_no_token_needs_no_keystone(world: World) -> None:
    body = {"name": "c", "workflow_name": "strict", "workflow_input": {"n": 1}}
    body["pattern"] = "* * * * *"
    assert world.ask("POST", "/v2/cron_triggers", body).status == 201
    world.keystone.broken = True
    world.pass_time()
    world.keystone.broken = False
    [run] = world.executions()
    assert run["state"] == "SUCCESS"


def test_keystone_away_is_an_error_of_the_action_that_reads_a_token(
    world: World,
) -> None:
    world.cron("c", "inner")
    world.keystone.broken = True
    world.pass_time()
    world.keystone.broken = False
    [run] = world.executions()
    assert run["state"] == "ERROR"
    assert "identity service does not answer" in run["state_info"]


def test_eng_10_2_the_trust_ends_with_the_trigger(world: World) -> None:
    assert world.cron("c").status == 201
    made = world.event()
    assert made.status == 201, made.body
    assert len(world.standing()) == 2
    assert world.ask("DELETE", "/v2/cron_triggers/c").status == 204
    assert len(world.standing()) == 1
    path = f"/v2/event_triggers/{made.json['id']}"
    assert world.ask("PUT", path, {"name": "other"}).status == 200
    assert len(world.standing()) == 1
    assert world.ask("DELETE", path).status == 204
    assert world.standing() == []
    assert "canary" not in world.everything()


def test_eng_10_2_the_last_run_keeps_the_trust_until_it_ends(world: World) -> None:
    assert world.cron("c", "slow", remaining_executions=1).status == 201
    world.pass_time()
    assert world.ask("GET", "/v2/cron_triggers/c").status == 404
    [run] = world.executions()
    assert len(world.standing()) == 1
    world.pass_time(3600)
    assert len(world.standing()) == 1
    [wait] = world.ask("GET", "/v2/action_executions").json["action_executions"]
    path = f"/v2/action_executions/{wait['id']}"
    assert world.ask("PUT", path, {"state": "SUCCESS"}).status == 200
    world.house.settle()
    [security] = Look.seen
    assert security.trust_id in security.auth_token
    assert world.ask("GET", f"/v2/executions/{run['id']}").json["state"] == "SUCCESS"
    world.pass_time(31)
    assert world.standing() == []


@pytest.mark.parametrize("how", ["deleted", "refused"])
def test_eng_10_2_the_trust_ends_where_the_last_run_is_no_more(
    world: World, how: str
) -> None:
    assert world.cron("c", "slow", remaining_executions=1).status == 201
    if how == "refused":
        text = "version: '2.0'\nslow: {input: [n], tasks: {t: {action: std.noop}}}"
        assert world.ask("PUT", "/v2/workflows", text).status == 200
    world.pass_time()
    for run in world.executions():
        path = f"/v2/executions/{run['id']}?force=true"
        assert world.ask("DELETE", path).status == 204
    world.pass_time(31)
    assert world.standing() == []


def test_sec_09_trusts_are_sealed_anew_when_keys_rotate(world: World) -> None:
    world.cron("c")
    world.event()
    new = Fernet.generate_key().decode()
    with world.house.database.begin() as connection:
        assert trusts.reseal(connection, Keyring([new, KEY]).renew) == 2
    rows = [models.trusts.c.sealed, models.cron_triggers.c.context]
    with world.house.database.read() as connection:
        (first, *_), (context, *_) = (
            connection.execute(select(column)).scalars().all() for column in rows
        )
    for sealed in (first, context["sealed"]):
        assert Keyring([new]).open(sealed, "red")["trust_id"] in world.keystone.trusts
        with pytest.raises(ServiceError):
            Keyring([KEY]).renew(sealed)


def test_rest_no_trust_is_left_where_no_trigger_comes_of_it(world: World) -> None:
    """Refused at once: Keystone is not asked; as a duplicate: given back."""
    assert world.cron("c", "nowhere").status == 404
    assert world.cron("c", "strict").status == 400
    assert world.cron("c", pattern="nonsense").status == 400
    assert world.event(workflow_input={"x": 1}).status == 400
    assert not world.keystone.trusts
    assert world.cron("c").status == 201
    assert world.event().status == 201
    before = world.standing()
    assert world.cron("c").status == 409
    assert world.event().status == 409
    assert len(world.keystone.trusts) == 4
    assert world.standing() == before


DECLARED = """
version: '2.0'
mine:
  triggers:
    a: {type: cron, pattern: '* * * * *'}
    b: {type: event, exchange: nova, topic: notes, event: made}
  tasks:
    t: {workflow: inner}
"""


def test_triggers_of_a_text_have_a_trust_each(world: World) -> None:
    """Made with them and for them alone, and it ends with them."""
    assert world.ask("POST", "/v2/workflows", DECLARED).status == 201
    assert len(world.keystone.trusts) == 2
    world.pass_time()
    [security] = Look.seen
    assert security.trust_id in world.keystone.trusts
    before = world.standing()
    # what is there needs no other trust
    changed = DECLARED.replace("'* * * * *'", "'0 * * * *'")
    assert world.ask("PUT", "/v2/workflows", changed).status == 200
    assert world.standing() == before
    fewer = changed.replace("    b: {", "    c: {")
    assert world.ask("PUT", "/v2/workflows", fewer).status == 200
    after = world.standing()
    assert len(after) == 2 and len(set(after) & set(before)) == 1
    assert world.ask("DELETE", "/v2/workflows/mine").status == 204
    assert world.standing() == []
    assert "canary" not in world.everything()


def test_no_trust_is_asked_for_where_a_text_is_refused(world: World) -> None:
    assert world.cron("mine.a").status == 201
    assert world.ask("POST", "/v2/workflows", DECLARED).status == 409
    assert len(world.keystone.trusts) == 1
    world.keystone.broken = True
    other = DECLARED.replace("mine:", "yours:")
    assert world.ask("POST", "/v2/workflows", other).status == 503
    world.keystone.broken = False
    assert world.ask("GET", "/v2/workflows/yours").status == 404


def test_rest_who_cannot_make_a_trust_makes_no_trigger(world: World) -> None:
    """Application credentials cannot, and tokens of trusts."""
    world.token = world.keystone.issue("t", "red", ["member"])
    world.keystone._tokens["t"]["OS-TRUST:trust"] = {"id": "one"}
    for answer in (world.cron("c"), world.event()):
        assert answer.status == 403
        assert "trust" in answer.fault
    assert world.ask("GET", "/v2/cron_triggers").json["cron_triggers"] == []


def test_a_trust_is_given_back_when_keystone_answers_again(world: World) -> None:
    assert world.cron("c").status == 201
    assert world.ask("DELETE", "/v2/cron_triggers/c").status == 204
    world.keystone.broken = True
    assert len(world.standing()) == 1
    world.keystone.broken = False
    assert len(world.standing()) == 1, "asked again after a minute"
    world.house.clock.advance(61)
    assert world.standing() == []


def test_eng_10_3_an_event_trigger_acts_by_its_trust(world: World) -> None:
    assert world.event().status == 201
    [trust] = world.keystone.trusts
    database = world.house.database
    with database.begin() as connection:
        found = event_triggers.of_event(connection, "nova", "notes", "made")
        now = database.now(connection)
        assert (
            event_triggers.fire(connection, found, ("nova", "notes"), "n1", {}, {}, now)
            == 1
        )
    world.house.sweep()
    [security] = Look.seen
    assert (security.trust_id, security.project_id) == (trust, "red")
