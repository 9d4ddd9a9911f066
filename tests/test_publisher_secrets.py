"""What ``params.notify`` says to publishers alone: sealed in rows, masked wherever it
is shown, used as it was given (SEC-09)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.fernet import Fernet
from house import House
from rest import Client, Engine
from sqlalchemy import select

from mistral.api.app import Services, make_app
from mistral.cmd.engine_role import notified_always
from mistral.config import HttpSettings, Settings
from mistral.context import Context
from mistral.db import models, trusts
from mistral.engine.core.ports import Rules
from mistral.errors import ServiceError
from mistral.keyring import Keyring
from mistral.messages import Notify
from mistral.notifier.publishers import GROUP, Publishers, PublishingFailed
from mistral.publisher_entries import shown

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
HOOK = {
    "type": "told",
    "url": "https://user:canary-word@there.example/hook?key=canary-query",
    "headers": {"Authorization": "Bearer canary-token"},
    "event_types": ["WORKFLOW_SUCCEEDED"],
}
MASKED = {
    "type": "told",
    "url": "https://***@there.example/hook?***",
    "headers": {"Authorization": "***"},
    "event_types": ["WORKFLOW_SUCCEEDED"],
}
TREE = """
version: '2.0'
inner:
  tasks:
    t: {action: std.noop}
outer:
  output:
    seen: <% execution().params.notify %>
    others: <% executions().select($.params.notify) %>
  tasks:
    t: {workflow: inner}
"""


class Told:
    """A publisher that remembers."""

    calls: ClassVar[list[Any]] = []

    def publish(self, *_: Any, **parameters: Any) -> None:
        self.calls.append(parameters)


POINT = EntryPoint("told", f"{__name__}:Told", GROUP)


def tell(notice: Notify, keyring: Keyring | None) -> None:
    unseal = keyring.open if keyring else None
    publishers = Publishers(HttpSettings(), [POINT], unseal)
    for entry in notice.publishers:
        publishers.publish(notice, entry)


def client(house: House, project: str, keyring: Keyring | None) -> Client:
    settings = Settings()
    admin = project.startswith("admin:")
    caller = Context(
        project_id=project.removeprefix("admin:"), user_id="u", is_admin=admin
    )
    services = Services(
        database=house.database,
        bus=Engine(house),
        registry=house.registry,
        settings=replace(settings, api=replace(settings.api, auth_enable=False)),
        clock=house.clock,
        new_id=house.new_id,
        keyring=keyring,
    )
    return Client(make_app(services, identify=lambda *_: caller), services)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    Told.calls.clear()
    house = House(tmp_path)
    yield house
    house.close()


@pytest.fixture
def api(house: House) -> Client:
    api = client(house, "red", Keyring([OLD]))
    assert api.post("/v2/workflows", TREE).status == 201
    return api


def everything(house: House) -> str:
    """All rows of all tables, as text."""
    with house.database.read() as connection:
        return json.dumps(
            [
                [[str(value) for value in row] for row in connection.execute(select(t))]
                for t in models.metadata.tables.values()
            ]
        )


def start(api: Client, *entries: Any, **more: Any) -> str:
    body = {"workflow_name": "outer", "params": {"notify": list(entries)}, **more}
    made = api.post("/v2/executions", body)
    assert made.status == 201, made.body
    return str(made.json["id"])


def notify_of(api: Client, id: str) -> Any:
    return json.loads(api.get(f"/v2/executions/{id}").json["params"])["notify"]


def cron(api: Client, name: str = "c") -> Any:
    return api.post(
        "/v2/cron_triggers",
        {
            "name": name,
            "workflow_name": "outer",
            "first_execution_time": "2099-01-02 03:04",
            "workflow_params": {"notify": [HOOK]},
        },
    )


def event(api: Client) -> Any:
    workflow = api.get("/v2/workflows/outer").json["id"]
    source = {"exchange": "e", "topic": "t", "event": "v", "workflow_id": workflow}
    return api.post(
        "/v2/event_triggers", {**source, "workflow_params": {"notify": [HOOK]}}
    )


def test_sec_09_no_row_answer_history_or_log_shows_it_and_publishers_get_it(
    house: House, api: Client, caplog: Any
) -> None:
    id = start(api, HOOK)
    texts = [
        api.get(path).body.decode()
        for path in (
            f"/v2/executions/{id}",
            "/v2/executions?fields=params,output",
            f"/v2/executions/{id}/executions?include_output=true",
            f"/v2/executions/{id}/history",
            f"/v2/executions/{id}/report",
            "/v2/tasks",
        )
    ]
    for text in (*texts, everything(house), caplog.text):
        assert "canary" not in text
    assert all("sealed" not in text for text in texts), "not even sealed"
    assert notify_of(api, id) == [MASKED]
    notices = house.post.notices
    assert sorted(notice.data["name"] for notice in notices) == ["inner", "outer"]
    for notice in notices:
        tell(notice, Keyring([NEW, OLD]))
    given = {name: HOOK[name] for name in ("url", "headers", "event_types")}
    assert Told.calls == [given, given]


def test_sec_09_what_holds_no_secret_stays_as_it_was_written(
    house: House, api: Client
) -> None:
    plain = {"type": "noop", "url": "http://there.example/hook", "colour": "red"}
    id = start(api, plain, "no mapping")
    assert notify_of(api, id) == [plain, "no mapping"]
    [row] = [r for r in house.rows(models.workflow_executions) if r["id"] == id]
    assert '"sealed"' not in str(row["params"])


@pytest.mark.parametrize("make", [cron, event])
def test_sec_09_triggers_keep_it_sealed_and_their_runs_use_it(
    house: House, api: Client, make: Any
) -> None:
    made = make(api)
    assert made.status == 201, made.body
    assert "canary" not in made.body.decode() + everything(house)
    assert json.loads(made.json["workflow_params"]) == {"notify": [MASKED]}
    table = models.cron_triggers if make is cron else models.event_triggers
    [row] = house.rows(table)
    [entry] = row["workflow_params"]["notify"]
    notice = Notify(data={"project_id": "red"}, publishers=(entry,))
    tell(notice, Keyring([OLD]))
    assert Told.calls[0]["headers"] == HOOK["headers"]
    # the old key may go once all is sealed anew
    with house.database.begin() as connection:
        trusts.reseal(connection, Keyring([NEW, OLD]).renew)
    [row] = house.rows(table)
    tell(replace(notice, publishers=(row["workflow_params"]["notify"][0],)),
         Keyring([NEW]))  # fmt: skip
    assert Told.calls[1] == Told.calls[0]


def test_sec_09_equal_cron_triggers_are_still_found_equal(api: Client) -> None:
    assert cron(api).status == 201
    assert cron(api, "other").status == 409


def test_sec_09_what_was_shown_can_be_sent_back(house: House, api: Client) -> None:
    """Who changes an event trigger sends all of ``workflow_params``."""
    made = event(api).json
    params = json.loads(made["workflow_params"])
    path = f"/v2/event_triggers/{made['id']}"
    put = api.put(path, {"workflow_params": {**params, "env": {"k": 1}}})
    assert put.status == 200, put.body
    [row] = house.rows(models.event_triggers)
    assert row["workflow_params"]["env"] == {"k": 1}
    [entry] = row["workflow_params"]["notify"]
    tell(Notify(data={"project_id": "red"}, publishers=(entry,)), Keyring([OLD]))
    assert Told.calls[0]["headers"] == HOOK["headers"]


@pytest.mark.parametrize("with_key", [True, False])
@pytest.mark.parametrize(
    ("entry", "place"),
    [
        (MASKED, "headers.Authorization"),
        ({"type": "told", "secret": "***"}, "secret"),
        ({"type": "told", "headers": "***"}, "headers"),
        ({"type": "told", "more": [{"apiKey": "***"}]}, "more.0.apiKey"),
        ({"type": "told", "url": "***"}, "url"),
        ({"type": "told", "url": "https://***@there.example/"}, "url"),
        ({"type": "told", "url": "https://there.example/?***"}, "url"),
        ({"type": "told", "url": "https://there.example/#***"}, "url"),
    ],
)
def test_sec_09_the_mask_is_no_secret_of_anything_new(
    house: House, entry: Any, place: str, with_key: bool
) -> None:
    api = client(house, "red", Keyring([OLD]) if with_key else None)
    assert api.post("/v2/workflows", TREE).status == 201
    params = {"notify": [{"type": "noop"}, entry]}
    bodies = {
        "executions": {"params": params},
        "cron_triggers": {
            "name": "c", "pattern": "@daily", "workflow_params": params,
        },
        "event_triggers": {
            "exchange": "e", "topic": "t", "event": "v", "workflow_params": params,
            "workflow_id": api.get("/v2/workflows/outer").json["id"],
        },
    }  # fmt: skip
    for path, body in bodies.items():
        named = {} if path == "event_triggers" else {"workflow_name": "outer"}
        answer = api.post(f"/v2/{path}", {**named, **body})
        assert answer.status == 400, (path, answer.body)
        assert "'***' at notify.1." in answer.fault
        assert f"notify.1.{place}" in answer.fault
    assert house.post.notices == []


def test_sec_09_three_stars_elsewhere_are_what_they_are(
    house: House, api: Client
) -> None:
    plain = {"type": "told", "prefix": "***", "url": "https://there.example/***?a=***"}
    start(api, plain)
    tell(house.post.notices[-1], Keyring([OLD]))
    assert Told.calls[0] == {"prefix": "***", "url": plain["url"]}


def test_sec_09_the_mask_goes_to_the_same_entry_alone(
    house: House, api: Client
) -> None:
    made = event(api).json
    path = f"/v2/event_triggers/{made['id']}"
    moved = {**MASKED, "url": "https://***@elsewhere.example/hook?***"}
    answer = api.put(path, {"workflow_params": {"notify": [moved]}})
    assert answer.status == 400
    assert "'***' at notify.0.url, notify.0.headers.Authorization" in answer.fault
    source = start(api, HOOK)
    body = {"source_execution_id": source, "params": {"notify": [MASKED]}}
    assert api.post("/v2/executions", body).status == 201
    tell(house.post.notices[-1], Keyring([OLD]))
    assert Told.calls[-1]["url"] == HOOK["url"]


def test_sec_09_a_sealed_entry_names_its_own_address(house: House, api: Client) -> None:
    """Nobody makes the service tell a secret to an address of theirs."""
    start(api, HOOK)
    [entry] = house.post.notices[0].publishers
    tell(
        replace(
            house.post.notices[0],
            publishers=({**entry, "url": "http://evil.example/", "headers": {}},),
        ),
        Keyring([OLD]),
    )
    assert Told.calls[0]["url"] == HOOK["url"]
    body = {"workflow_name": "outer", "params": {"notify": [entry]}}
    answer = api.post("/v2/executions", body)
    assert answer.status == 400
    assert "sealed" in answer.fault


def test_sec_23_what_was_sealed_for_one_project_is_of_no_use_to_another(
    house: House, api: Client
) -> None:
    start(api, HOOK)
    first = house.post.notices[0]
    foreign = replace(first, data={**first.data, "project_id": "blue"})
    with pytest.raises((PublishingFailed, ServiceError)) as refused:
        tell(foreign, Keyring([OLD]))
    assert "canary" not in str(refused.value)
    with pytest.raises(PublishingFailed, match="secret_key"):
        tell(first, None)


def test_sec_23_a_start_after_a_source_takes_publishers_of_the_own_project_only(
    house: House, api: Client
) -> None:
    source = start(api, HOOK)
    again = api.post("/v2/executions", {"source_execution_id": source}).json
    assert notify_of(api, again["id"]) == [MASKED]
    tell(house.post.notices[-1], Keyring([OLD]))
    assert Told.calls[0]["url"] == HOOK["url"]
    admin = client(house, "admin:blue", Keyring([OLD]))
    assert admin.post("/v2/workflows", TREE).status == 201
    body = {"source_execution_id": source, "workflow_name": "outer"}
    mine = admin.post("/v2/executions", body)
    assert mine.status == 201, mine.body
    assert "notify" not in json.loads(mine.json["params"])


def test_sec_09_without_a_key_answers_and_expressions_mask_it_too(house: House) -> None:
    api = client(house, "red", None)
    assert api.post("/v2/workflows", TREE).status == 201
    id = start(api, HOOK)
    for path in ("", "/history"):
        assert "canary" not in api.get(f"/v2/executions/{id}{path}").body.decode()
    output = json.loads(api.get(f"/v2/executions/{id}").json["output"])
    assert output["seen"] == [MASKED]
    tell(house.post.notices[-1], None)
    assert Told.calls[0]["headers"] == HOOK["headers"]


def test_sec_09_the_operators_publishers_are_sealed_in_all_runs(
    tmp_path: Path,
) -> None:
    keyring = Keyring([OLD])
    rules = Rules(notify=notified_always(json.dumps([HOOK]), keyring))
    house = House(tmp_path, rules=rules)
    api = client(house, "red", keyring)
    assert api.post("/v2/workflows", TREE).status == 201
    id = start(api)
    assert "canary" not in everything(house)
    assert notify_of(api, id) == [MASKED]
    tell(house.post.notices[-1], keyring)
    assert Told.calls[-1]["url"] == HOOK["url"]
    again = api.post("/v2/executions", {"source_execution_id": id}).json
    assert notify_of(api, again["id"]) == [MASKED], "once, as in every run"
    body = {"source_execution_id": id, "params": {"notify": [MASKED]}}
    back = api.post("/v2/executions", body)
    assert back.status == 201, back.body
    assert notify_of(api, back.json["id"]) == [MASKED], "also when it is sent back"
    tell(house.post.notices[-1], keyring)
    assert Told.calls[-1]["url"] == HOOK["url"]
    house.close()


def test_entries_that_are_no_objects_are_ignored(api: Client) -> None:
    """§ 10.8; they stay as they are, also where another run is begun as this one."""
    odd = [3, None, "text", [1], HOOK]
    id = start(api, *odd)
    assert notify_of(api, id) == [*odd[:-1], MASKED]
    again = api.post("/v2/executions", {"source_execution_id": id})
    assert again.status == 201, again.body
    assert notify_of(api, again.json["id"]) == [*odd[:-1], MASKED]


@pytest.mark.parametrize(
    ("entry", "masked"),
    [
        ({"url": "http://[broken"}, {"url": "***"}),
        ({"url": 7}, {"url": 7}),
        ({"headers": "X: canary"}, {"headers": "***"}),
        ({"headers": {}}, {"headers": {}}),
        ({"apiKey": "canary", "room": "r"}, {"apiKey": "***", "room": "r"}),
        ({"more": [{"password": {"a": 1}}]}, {"more": [{"password": "***"}]}),
    ],
)
def test_sec_09_what_is_masked(entry: Any, masked: Any) -> None:
    entry, masked = {"type": "x", **entry}, {"type": "x", **masked}
    assert shown({"notify": [entry]}) == {"notify": [masked]}


@pytest.mark.parametrize("params", [None, {}, {"notify": "text"}, {"env": {"a": 1}}])
def test_params_without_publishers_are_shown_as_they_are(params: Any) -> None:
    assert shown(params) is params
