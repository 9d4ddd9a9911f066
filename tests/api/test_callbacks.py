"""Addresses by which an application completes one action, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cells import CELLS, Cell
from rest import Service

from mistral.callbacks import Callbacks
from mistral.db import models
from mistral.executors.identities import Identities
from mistral.messages import CallAction

KEY, OLD = "current-key", "old-key"
FLOW = """
w:
  output: {said: <% $.said %>}
  tasks:
    t:
      action: std.async_noop
      publish: {said: <% task().result %>}
ask:
  input: [url]
  tasks:
    first: {action: std.echo output=<% callback_url() %>, publish: {a: <% task().result %>}}
items:
  tasks:
    t: {with-items: i in <% range(2) %>, action: given url=<% callback_url() %>}
wrong:
  tasks:
    t: {action: std.noop, publish: {a: <% callback_url() %>}}
jinja:
  tasks:
    t: {action: given, input: {url: "{{ callback_url() }}"}}
"""  # noqa: E501
GIVEN = "version: '2.0'\ngiven: {input: [url], base: std.async_noop}\n"


def callbacks(**more: Any) -> Callbacks:
    return Callbacks([KEY, OLD], lifetime=timedelta(seconds=100), **more)


class Signing(Service):
    def __init__(self, directory: Path, **more: Any) -> None:
        super().__init__(directory, callbacks=callbacks(), **more)


@pytest.fixture(params=CELLS)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    cell: Cell = request.param
    with cell.world(Signing, tmp_path) as service:
        service.upload(FLOW)
        yield service


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path, callbacks=callbacks())
    service.upload(GIVEN, "actions")
    service.upload(FLOW)
    yield service
    service.close()


def address(service: Service, action_id: str) -> str:
    return callbacks().url(action_id, service.house.clock.now())


def call(service: Service, url: str, body: Any = None) -> int:
    given = {"Content-Type": "application/json"}
    text = None if body is None else json.dumps(body)
    return service.api.post(url, text, headers=given).status


def test_it_completes_the_action_and_a_repeat_is_harmless(service: Service) -> None:
    run = service.start("w")
    url = address(service, service.action(run, "t")["id"])
    assert call(service, url, {"by": ["Ada"]}) == 204
    assert service.execution(run)["output"] == {"said": {"by": ["Ada"]}}
    assert call(service, url, {"by": ["Ada"]}) == 204, "its answer was lost"
    assert call(service, url, {"by": ["Eve"]}) == 403
    assert call(service, f"{url}&state=ERROR", {"by": ["Ada"]}) == 403
    assert service.execution(run)["output"] == {"said": {"by": ["Ada"]}}


@pytest.mark.parametrize(("more", "body", "state", "result"), [
    ("", None, "SUCCESS", None), ("", 7, "SUCCESS", 7),
    ("&state=ERROR", "broken", "ERROR", "broken"),
    ("&state=ERROR", None, "ERROR", "Unknown error"),
    ("&state=CANCELLED", 1, "CANCELLED", None),
])  # fmt: skip
def test_what_can_be_said(
    local: Service, more: str, body: Any, state: str, result: Any
) -> None:
    run = local.start("w")
    action = local.action(run, "t")
    assert call(local, address(local, action["id"]) + more, body) == 204
    [found] = local.house.rows(models.action_executions, id=action["id"])
    assert (found["state"], found["output"]) == (state, {"result": result})


def test_whatever_is_wrong_is_refused_in_the_same_words(local: Service) -> None:
    run = local.start("w")
    mine = local.action(run, "t")["id"]
    other = local.action(local.start("w"), "t")["id"]
    url = address(local, mine)
    local.house.clock.advance(101)
    late = url
    url = address(local, mine)
    expires = url.partition("expires=")[2].partition("&")[0]
    wrong = [
        late,
        url.replace(mine, other),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace(f"expires={expires}", f"expires={int(expires) + 1}"),
        url.partition("&signature")[0],
        f"/v2/callbacks/{mine}",
        address(local, "no-such-action"),
        Callbacks(["another key"]).url(mine, local.house.clock.now()),
    ]
    answers = [local.api.post(each) for each in wrong]
    assert {answer.status for answer in answers} == {403}
    assert len({answer.body for answer in answers}) == 1
    assert local.action(run, "t")["state"] == "RUNNING"
    assert call(local, url) == 204


def test_keys_rotate_and_lifetimes_end() -> None:
    now = datetime(2026, 1, 1)
    old = Callbacks([OLD], lifetime=timedelta(seconds=10)).url("a", now)
    query = dict(part.split("=") for part in old.partition("?")[2].split("&"))
    both, new = Callbacks([KEY, OLD]), Callbacks([KEY])
    assert both.allows("a", **query, now=now + timedelta(seconds=9))
    assert not both.allows("a", **query, now=now + timedelta(seconds=10))
    assert not new.allows("a", **query, now=now)
    assert not both.allows("a", query["expires"], "\udc80é", now)


def test_it_stands_in_inputs_of_its_own_action(local: Service) -> None:
    for workflow in ("items", "jinja"):
        run = local.start(workflow)
        for action in local.actions(local.task(run, "t")["id"]):
            url = json.loads(action["input"])["url"]
            assert action["id"] in url
            assert call(local, url, "said") == 204
        assert local.execution(run)["state"] == "SUCCESS"
    refused = local.run("wrong")
    assert "callback_url() is for the input of an action" in refused["state_info"]


def test_without_a_key_there_is_none(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.upload(FLOW)
    refused = service.run("ask", {"url": 1})
    assert "[engine] secret_key is not set" in refused["state_info"]
    assert service.api.post("/v2/callbacks/a?expires=1&signature=x").status == 403
    service.close()


def test_actions_have_it_in_their_context() -> None:
    """ENG-208: the path of before stays; nothing of the address is in the call."""
    made = Identities(callbacks=callbacks(base="https://x.org/"))
    given = CallAction(action_id="a1", run_id="r", name="n")
    found = made.context(given).execution
    assert found.callback_url == "/v2/action_executions/a1"
    assert found.signed_callback_url.startswith("https://x.org/v2/callbacks/a1?expires")
    assert Identities().context(given).execution.signed_callback_url is None
