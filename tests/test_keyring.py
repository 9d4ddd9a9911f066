"""Secrets of callers: sealed in rows and messages, opened where actions run."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from house import House
from mistral_lib import actions as mistral_lib
from rest import Client, Engine
from sqlalchemy import select

from mistral.api.app import Services, make_app
from mistral.config import Settings
from mistral.context import Context
from mistral.db import models
from mistral.errors import ServiceError
from mistral.executors.identities import Identities
from mistral.executors.runner import Runner
from mistral.keyring import Keyring

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
TOKEN = "canary-token"
CATALOG = [{"type": "canary-catalog"}]


def test_sec_09_the_first_key_seals_all_open() -> None:
    sealed = Keyring([OLD]).seal({"auth_token": TOKEN}, "red")
    assert Keyring([NEW, OLD]).open(sealed, "red") == {"auth_token": TOKEN}
    renewed = Keyring([NEW, OLD]).seal({"auth_token": TOKEN}, "red")
    assert Keyring([NEW]).open(renewed, "red") == {"auth_token": TOKEN}
    with pytest.raises(ServiceError, match="No key") as refused:
        Keyring([NEW]).open(sealed, "red")
    assert "canary" not in str(refused.value)


def test_sec_23_sealed_for_one_project_only() -> None:
    keyring = Keyring([NEW])
    sealed = keyring.seal({"auth_token": TOKEN}, "red")
    with pytest.raises(ServiceError, match="another project"):
        keyring.open(sealed, "blue")


@pytest.mark.parametrize("keys", [(), ("short",), (NEW, "x" * 44)])
def test_malformed_keys_are_refused_without_showing_them(keys: tuple[str, ...]) -> None:
    with pytest.raises(ServiceError, match="secret_key") as refused:
        Keyring(keys)
    assert "x" * 44 not in str(refused.value)


class Spy(mistral_lib.Action):  # type: ignore[misc]
    """Tells the test what it was given."""

    seen: list[Any]

    def run(self, context: Any) -> Any:
        Spy.seen.append(context.security)
        return "done"


class _Actions:
    """Any name is the spy."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def create(self, name: str, *args: Any, **more: Any) -> Any:
        if name == "std.sleep":
            return Spy()
        return self._registry.create(name, *args, **more)

    def post_process(self, name: str, result: Any, *args: Any, **more: Any) -> Any:
        return result


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    Spy.seen = []
    house = House(tmp_path)
    house.runner = Runner(
        _Actions(house.registry), identities=Identities(Keyring([NEW]).open)
    )
    yield house
    house.close()


@pytest.fixture
def api(house: House) -> Client:
    caller = Context(
        project_id="red", user_id="u", auth_token=TOKEN, service_catalog=CATALOG,
        expires_at="2026-11-21T09:00:00Z", region_name="R",
    )  # fmt: skip
    settings = Settings()
    services = Services(
        database=house.database,
        bus=Engine(house),
        registry=house.registry,
        settings=replace(settings, api=replace(settings.api, auth_enable=False)),
        clock=house.clock,
        new_id=house.new_id,
        keyring=Keyring([NEW, OLD]),
    )
    return Client(make_app(services, identify=lambda *_: caller), services)


CHILD = """
version: '2.0'
inner:
  tasks:
    t: {action: std.sleep seconds=0}
outer:
  output:
    known: <% $.openstack %>
  tasks:
    t: {workflow: inner}
"""


def _everything(house: House) -> str:
    """All rows of all tables, as text."""
    with house.database.read() as connection:
        return json.dumps(
            [
                [[str(value) for value in row] for row in connection.execute(select(t))]
                for t in models.metadata.tables.values()
            ]
        )


def test_sec_07_sec_09_actions_get_the_token_and_nothing_stores_it(
    house: House, api: Client, caplog: Any
) -> None:
    """Also in a child of a run; and no row, answer or log line shows it."""
    assert api.post("/v2/workflows", CHILD).status == 201
    made = api.post("/v2/executions", {"workflow_name": "outer"})
    assert made.status == 201, made.body
    done = api.get(f"/v2/executions/{made.json['id']}")
    assert done.json["state"] == "SUCCESS", done.json
    [security] = Spy.seen
    assert (security.project_id, security.auth_token) == ("red", TOKEN)
    assert security.service_catalog == CATALOG
    assert security.region_name == "R"
    known = json.loads(done.json["output"])["known"]
    assert (known["auth_token"], known["service_catalog"]) == ("***", "***")
    assert known["expires_at"] == "2026-11-21T09:00:00Z"
    history = api.get(f"/v2/executions/{made.json['id']}/history")
    for text in (_everything(house), str(done.body), str(history.body), caplog.text):
        assert "canary" not in text
    sealed = [row["body"]["event"].get("context") for row in history.json["history"]]
    assert {each["sealed"] for each in sealed if each} == {"***"}
    assert "sealed" not in str(done.body)


def test_sec_07_stand_alone_actions_get_it_too(house: House, api: Client) -> None:
    made = api.post(
        "/v2/action_executions",
        {"name": "std.sleep", "input": {"seconds": 0}, "params": {"save_result": True}},
    )
    assert made.status == 201, made.body
    house.settle()
    assert [each.auth_token for each in Spy.seen] == [TOKEN]
    assert "canary" not in _everything(house)


def test_q29_target_headers_reach_actions_alone(house: House, api: Client) -> None:
    """§ 4.3: outbound calls are the target's, everything else stays the caller's."""
    headers = {
        "X-Target-Auth-Uri": "http://there/v3", "X-Target-Auth-Token": "canary-there",
        "X-Target-Project-Id": "blue", "X-Target-Insecure": "True",
        "X-Target-Service-Catalog": base64.b64encode(b'["canary"]').decode(),
    }  # fmt: skip
    assert api.post("/v2/workflows", CHILD).status == 201
    made = api.request(
        "POST", "/v2/executions", {"workflow_name": "outer"}, headers=headers
    )
    assert made.json["project_id"] == "red"
    [security] = Spy.seen
    assert (security.auth_uri, security.is_target) == ("http://there/v3", True)
    assert (security.auth_token, security.insecure) == ("canary-there", True)
    assert (security.project_id, security.service_catalog) == ("blue", ["canary"])
    assert security.region_name is None, "the caller's is not the target's"
    done = api.get(f"/v2/executions/{made.json['id']}").json
    known = json.loads(done["output"])["known"]
    assert (known["project_id"], known["auth_token"]) == ("red", "***")
    assert "canary" not in _everything(house)
    rows = api.get("/v2/action_executions").json["action_executions"]
    assert {row["project_id"] for row in rows} == {"red"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Target-Auth-Token": "t", "X-Target-Insecure": "true"},
        {"X-Target-Auth-Token": "t", "X-Target-Service-Catalog": "e30"},
        {"X-Target-Auth-Token": "t", "X-Target-Service-Catalog": "bm8="},
    ],
)
def test_q28_malformed_target_headers_are_400(
    api: Client, headers: dict[str, str]
) -> None:
    given = {"X-Target-Auth-Uri": "http://there/v3", **headers}
    answer = api.get("/v2/workflows", headers=given)
    assert answer.status == 400
    assert "X-Target-" in answer.fault


def test_sec_07_a_context_says_its_token_to_nobody() -> None:
    context = Context(auth_token=TOKEN, service_catalog=CATALOG)
    assert "canary" not in repr(context) + str(context.to_dict())
