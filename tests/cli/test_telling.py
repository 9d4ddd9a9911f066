"""``mistralctl send``, ``messages``, ``sources``, ``tell``, ``complete`` and ``events``
against a service that answers as told."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import pytest

ID = "0a1e5017-f4b0-4036-9098-66917812566e"
ACTION = "74f201dc-66d3-445b-879e-303c627f8022"
SOURCE = "5f8f8d0b-9b52-4b2a-8a0e-3b7d2c0c2f11"
PATH = f"/executions/{ID}/messages"
FORGE = {
    "id": SOURCE,
    "name": "forge",
    "kind": "hmac",
    "signature_header": "X-Signed",
    "project_id": "p",
    "created_at": "2026-11-21 01:00:00",
}
TAKEN = {"id": "e1", "event": "push"}


# -- Messages -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "payload"),
    [
        ('{"sum": 12}', {"sum": 12}),
        ("[1]", [1]),
        ("12", 12),
        ("no JSON", "no JSON"),
        ('"12"', "12"),
        ("null", None),
    ],
)
def test_a_message_is_sent(service, control, given, payload):
    answer = {"id": "m", "name": "paid", "key": "17", "taken_by": None}
    service.on("POST", PATH, (200, answer))
    result = control("send", ID, "paid", given, "--key", "17", "--id", "m")
    assert result.exit_code == 0
    assert result.stdout == "kept until a task waits for it\n"
    sent = {"name": "paid", "key": "17", "id": "m", "payload": payload}
    assert service.requests[0].json == sent


def test_a_message_without_anything_else(service, control):
    service.on("POST", PATH, (200, {"id": "m", "name": "go", "taken_by": ACTION}))
    result = control("send", ID, "go")
    assert result.stdout == f"taken by the action execution {ACTION}\n"
    assert service.requests[0].json == {"name": "go", "payload": None}
    result = control("send", ID, "go", "-o", "json")
    assert json.loads(result.stdout)["taken_by"] == ACTION


def test_a_payload_from_a_file(service, control, tmp_path: Path):
    service.on("POST", PATH, (200, {"id": "m", "taken_by": None}))
    file = tmp_path / "payload.json"
    file.write_text('{"a": [1, 2]}')
    assert control("send", ID, "go", f"@{file}").exit_code == 0
    assert service.requests[0].json["payload"] == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"a": ', "PAYLOAD: this is not JSON"),
        ("@absent.json", "PAYLOAD: cannot read 'absent.json'"),
    ],
)
def test_a_payload_that_cannot_be_read(service, control, given, said):
    result = control("send", ID, "go", given)
    assert result.exit_code == 1
    assert said in result.stderr
    assert service.requests == []


def test_messages_that_are_kept(service, control):
    row = {
        "id": "m",
        "name": "paid",
        "key": None,
        "payload": {"who": "[Ada]"},
        "created_at": "2026-11-21 01:00:00",
    }
    service.on("GET", PATH, (200, {"messages": [row]}))
    assert '{"who": "[Ada]"}' in control("messages", ID).stdout
    assert json.loads(control("messages", ID, "-o", "json").stdout) == [row]
    service.on("GET", PATH, (200, {"messages": []}))
    assert control("messages", ID).stdout == "no messages are kept\n"


@pytest.mark.parametrize("words", [("send", ID, "go"), ("messages", ID)])
def test_a_refused_message_is_said(service, control, words):
    refusal = (409, {"faultstring": "The execution is over."})
    service.on("POST", PATH, refusal)
    service.on("GET", PATH, refusal)
    result = control(*words)
    assert result.exit_code == 1
    assert result.stderr == "mistralctl: The execution is over.\n"


# -- Sources ------------------------------------------------------------------


def test_all_sources_and_one(service, control):
    service.on("GET", "/event_sources", (200, {"event_sources": [FORGE]}))
    service.on("GET", "/event_sources/forge", (200, FORGE))
    assert "X-Signed" in control("sources").stdout
    assert "X-Signed" in control("sources", "forge").stdout
    assert json.loads(control("sources", "-o", "json").stdout) == [FORGE]
    assert json.loads(control("sources", "forge", "-o", "json").stdout) == FORGE
    service.on("GET", "/event_sources", (200, {"event_sources": []}))
    assert control("sources").stdout == "no event sources\n"


def test_a_source_is_made_and_its_secret_shown(service, control, tmp_path: Path):
    made = {**FORGE, "secret": "s[3]cret", "path": f"/v2/events/{SOURCE}"}
    service.on("POST", "/event_sources", (201, made))
    result = control("sources", "forge", "--create", "hmac")
    assert result.exit_code == 0
    assert "s[3]cret  (not shown again)" in result.stdout
    assert f"{service.url.removesuffix('/v2')}/v2/events/{SOURCE}\n" in result.stdout
    assert service.requests[0].json == {"name": "forge", "kind": "hmac"}
    file = tmp_path / "key"
    file.write_text("0123456789abcdef\n")
    words = ("--secret", f"@{file}", "--signature-header", "X-Signed", "-o", "json")
    result = control("sources", "forge", "--create", "hmac", *words)
    assert json.loads(result.stdout) == made
    assert service.requests[1].json == {
        "name": "forge",
        "kind": "hmac",
        "secret": "0123456789abcdef",
        "signature_header": "X-Signed",
    }


def test_a_source_is_deleted(service, control):
    service.on("DELETE", "/event_sources/forge", (204, b""))
    assert control("sources", "forge", "--delete").stdout == "forge is deleted\n"
    result = control("sources", "forge", "--delete", "-o", "json")
    assert json.loads(result.stdout) == {"deleted": "forge"}
    result = control("sources", "absent", "--delete")
    assert result.exit_code == 1
    assert "There is no" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--delete",), "--delete needs the name of a SOURCE"),
        (("--create", "token"), "--create needs the name of a SOURCE"),
        (("f", "--create", "hmac", "--delete"), "--create and --delete exclude"),
        (("f", "--secret", "x"), "--secret is for --create hmac"),
        (
            ("f", "--create", "token", "--signature-header", "X"),
            "--signature-header is for --create hmac",
        ),
        (("f", "--create", "hmac", "--secret", ""), "--secret: expected a text"),
    ],
)
def test_what_makes_no_sense_of_a_source(service, control, arguments, said):
    result = control("sources", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert service.requests == []


# -- Events -------------------------------------------------------------------


def signature(key: str, body: str) -> str:
    return "sha256=" + hmac.new(key.encode(), body.encode(), hashlib.sha256).hexdigest()


def test_an_event_is_signed_as_its_source_wants_it(service, control):
    service.on("GET", "/event_sources/forge", (200, FORGE))
    service.on("POST", f"/events/{SOURCE}", (202, TAKEN))
    words = ("--secret", "key", "--event", "push", "--id", "e1")
    result = control("tell", "forge", '{"ref": "mäin"}', *words)
    assert result.exit_code == 0
    assert result.stdout == "taken: push  e1\n"
    [asked] = service.asked("POST", f"/events/{SOURCE}")
    assert asked.json == {"ref": "mäin"}
    assert asked.query == {"event": "push"}
    assert asked.headers["X-Signed"] == signature("key", asked.body)
    assert asked.headers["Idempotency-Key"] == "e1"
    assert asked.headers["Content-Type"] == "application/json"


def test_who_sees_no_sources_gives_the_id(service, control):
    service.on("POST", f"/events/{SOURCE}", (202, TAKEN))
    result = control("tell", SOURCE, "--secret", "key", "-o", "json")
    assert json.loads(result.stdout) == TAKEN
    result = control("tell", SOURCE, "--secret", "k", "--signature-header", "X-Mine")
    assert result.exit_code == 0
    first, second = service.requests
    assert first.body == ""
    assert first.headers["X-Hub-Signature-256"] == signature("key", "")
    assert second.headers["X-Mine"] == signature("k", "")


def test_an_event_with_a_token(service, control, tmp_path: Path):
    service.on("GET", "/event_sources/bell", (200, {**FORGE, "kind": "token"}))
    service.on("POST", f"/events/{SOURCE}", (202, TAKEN))
    file = tmp_path / "token"
    file.write_text("t0ken\n")
    assert control("tell", "bell", "1", "--token", f"@{file}").exit_code == 0
    [asked] = service.asked("POST", f"/events/{SOURCE}")
    assert asked.headers["X-Event-Token"] == "t0ken"
    assert "t0ken" not in asked.path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "one of --secret (which signs) and --token is needed"),
        (("--secret", "a", "--token", "b"), "and no more than one"),
        (("--token", "a"), "the source forge is of kind hmac: give its --secret"),
        (("--token", "a", "--signature-header", "X"), "--signature-header is for"),
        (("--secret", "a", "--id", "a\nb"), "only hold printable ASCII"),
    ],
)
def test_what_makes_no_sense_of_an_event(service, control, arguments, said):
    service.on("GET", "/event_sources/forge", (200, FORGE))
    result = control("tell", "forge", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert service.asked("POST", f"/events/{SOURCE}") == []


def test_an_event_that_is_not_taken(service, control):
    words = {"faultstring": "The event was not taken: …"}
    service.on("POST", f"/events/{SOURCE}", (403, words))
    result = control("tell", SOURCE, "--secret", "wrong")
    assert result.exit_code == 1
    assert result.stderr == "mistralctl: The event was not taken: …\n"


TRIGGER = {"id": ID, "name": "hears.built", "exchange": "http", "topic": "forge"}
FIRING = {
    "id": ACTION,
    "event_id": "e1",
    "outcome": "refused",
    "reason": "Execution x: it is [over].",
    "execution_id": None,
    "reached": 2,
    "state": None,
    "state_info": None,
    "created_at": "2026-11-21 01:00:00",
    "updated_at": None,
}


def test_what_came_of_events(service, control):
    service.on("GET", "/event_triggers", (200, {"event_triggers": [TRIGGER]}))
    service.on("GET", f"/event_triggers/{ID}/firings", (200, {"firings": [FIRING]}))
    assert "hears.built" in control("events").stdout
    for named in (ID, "hears.built"):
        result = control("events", named, "-n", "3")
        assert "Execution x: it is [over]." in result.stdout
        assert "None" not in result.stdout
        result = control("events", named, "-o", "json")
        assert json.loads(result.stdout) == [FIRING]
    assert service.asked("GET", "/event_triggers")[-1].query["name"] == "hears.built"
    service.on("GET", f"/event_triggers/{ID}/firings", (200, {"firings": []}))
    assert control("events", ID).stdout == "it has heard nothing yet\n"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "there is no event trigger with the name t"),
        ([TRIGGER, {**TRIGGER, "id": ACTION}], f"give an id: {ID}, {ACTION}"),
    ],
)
def test_a_name_of_no_trigger_or_several(service, control, found, said):
    service.on("GET", "/event_triggers", (200, {"event_triggers": found}))
    result = control("events", "t")
    assert result.exit_code == 1
    assert said in result.stderr


# -- Callbacks ----------------------------------------------------------------


ADDRESS = f"/v2/callbacks/{ACTION}?expires=17&signature=ab"


def test_an_action_is_completed_by_its_address(service, control):
    service.on("POST", f"/callbacks/{ACTION}", (204, b""))
    root = service.url.removesuffix("/v2")
    # the address alone says where: nothing listens at --url
    words = ("--url", "http://127.0.0.1:1/v2")
    result = control("complete", root + ADDRESS, '{"n": 1}', *words)
    assert result.exit_code == 0
    assert result.stdout == f"{ACTION} is told: SUCCESS\n"
    assert service.requests[0].json == {"n": 1}
    assert service.requests[0].query == {"expires": "17", "signature": "ab"}


def test_an_address_that_is_a_path_is_of_the_service(service, control):
    service.on("POST", f"/callbacks/{ACTION}", (204, b""))
    result = control("complete", ADDRESS, "no space left", "--state", "error")
    assert result.stdout == f"{ACTION} is told: ERROR\n"
    assert service.requests[0].json == "no space left"
    assert service.requests[0].query["state"] == "ERROR"
    result = control("complete", f"{ADDRESS}&state=CANCELLED", "-o", "json")
    assert json.loads(result.stdout) == {"id": ACTION, "state": "CANCELLED"}
    assert service.requests[1].body == ""


@pytest.mark.parametrize(
    "address",
    [
        "x",
        f"http://h/v2/callbacks/{ACTION}?expires=17",
        "/v2/callbacks/?expires=1&signature=a",
    ],
)
def test_an_address_that_is_none(control, address):
    result = control("complete", address)
    assert result.exit_code == 1
    assert "put it in quotes" in result.stderr


def test_an_address_that_is_used(service, control):
    words = {"faultstring": "This address is not valid, or not any more."}
    service.on("POST", f"/callbacks/{ACTION}", (403, words))
    result = control("complete", ADDRESS)
    assert result.exit_code == 1
    assert "not valid, or not any more" in result.stderr
