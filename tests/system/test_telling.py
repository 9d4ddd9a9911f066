"""What comes from outside, told by the command line to a real service: messages, events
over HTTP, and the end of an action by its signed address."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from system.embedded import COMMAND_SECONDS, PROGRAMS, Embedded
from system.processes import until

pytestmark = pytest.mark.system

TEXT = """\
version: '2.0'
telling_waits:
  output: {sum: <% task(t).result.sum %>}
  tasks:
    t: {action: std.wait_for, input: {name: paid, key: 17}}
telling_hears:
  input: [ref]
  output: {ref: <% $.ref %>}
  triggers:
    push:
      type: event
      exchange: http
      topic: telling
      event: push
      input: {ref: <% $.payload.ref %>}
  tasks:
    t: {action: std.noop}
"""


def _said(service: Embedded, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAMS / "mistralctl"), *words, "-o", "json"],
        env=os.environ | {"MISTRAL_URL": f"{service.root}/v2"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )


def _control(service: Embedded, *words: str) -> Any:
    done = _said(service, *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", autouse=True)
def _texts(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory) -> None:
    file: Path = tmp_path_factory.mktemp("texts") / "telling.yaml"
    file.write_text(TEXT)
    _control(embedded, "upload", str(file))


def test_messages(embedded: Embedded) -> None:
    run = _control(embedded, "run", "telling_waits")["id"]
    _control(embedded, "send", run, "paid", '{"sum": 1}', "--key", "18", "--id", "m1")
    [kept] = _control(embedded, "messages", run)
    assert (kept["id"], kept["key"], kept["payload"]) == ("m1", "18", {"sum": 1})
    _control(embedded, "send", run, "paid", '{"sum": 12}', "--key", "17")
    embedded.reaches(run, "SUCCESS")
    assert _control(embedded, "show", run)["output"] == {"sum": 12}
    late = _said(embedded, "send", run, "paid")
    assert late.returncode == 1 and "Traceback" not in late.stderr


def test_events(embedded: Embedded, tmp_path: Path) -> None:
    made = _control(embedded, "sources", "telling", "--create", "hmac")
    key = tmp_path / "key"
    key.write_text(made["secret"] + "\n")
    words = ("--event", "push", "--secret", f"@{key}", "--id", "e1")
    for _ in range(2):
        told = _control(embedded, "tell", "telling", '{"ref": "mäin"}', *words)
        assert told == {"id": "e1", "event": "push"}
    _control(embedded, "tell", made["id"], '{"ref": "b"}', *words[:-1], "e2")

    def outputs() -> list[str]:
        path = "/v2/executions?workflow_name=telling_hears&include_output=true"
        rows = embedded.request("GET", path)[1]["executions"]
        return sorted(json.loads(r["output"])["ref"] for r in rows if r["output"])

    until(lambda: outputs() == ["b", "mäin"], 30, "both runs")
    forged = _said(embedded, "tell", "telling", "{}", "--secret", "0" * 16)
    assert forged.returncode == 1
    assert "there is no such source, or the signature" in forged.stderr
    [listed] = _control(embedded, "sources")
    assert listed["name"] == "telling" and "secret" not in listed
    assert _control(embedded, "sources", "telling", "--delete")
    assert _control(embedded, "sources") == []


def test_an_event_with_a_token(embedded: Embedded) -> None:
    made = _control(embedded, "sources", "telling", "--create", "token")
    words = ("--event", "push", "--token", made["secret"])
    assert _control(embedded, "tell", "telling", '{"ref": "c"}', *words)["id"]
    assert _control(embedded, "tell", made["id"], *words)["event"] == "push"
    _control(embedded, "sources", "telling", "--delete")


def test_an_address_that_nobody_signed(embedded: Embedded) -> None:
    address = f"{embedded.root}/v2/callbacks/0?expires=9999999999&signature=ab"
    refused = _said(embedded, "complete", address, '{"n": 1}')
    assert refused.returncode == 1
    assert "This address is not valid, or not any more." in refused.stderr
