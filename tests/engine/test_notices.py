"""Notifications leave the engine: all of them, once taken, in order (§ 10.8)."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from house import CALLER, House

from mistral.db import models
from mistral.engine.core.ports import Rules
from mistral.engine.notices import AGAIN_SECONDS, Notices
from mistral.errors import Unavailable
from mistral.messages import NoticeRefused, Notify, StartWorkflow, encode

TREE = """
version: '2.0'
w:
  tasks:
    a: {action: std.noop, on-success: b}
    b: {workflow: s, wait-before: 1}
s:
  tasks:
    c: {action: std.fail, retry: {count: 1, delay: 1}, on-error: noop}
"""

ALL = [
    ("w", "WORKFLOW_LAUNCHED"),
    ("a", "TASK_LAUNCHED"),
    ("a", "TASK_SUCCEEDED"),
    ("b", "TASK_LAUNCHED"),
    ("b", "TASK_LAUNCHED"),
    ("s", "WORKFLOW_LAUNCHED"),
    ("c", "TASK_LAUNCHED"),
    ("c", "TASK_FAILED"),
    ("c", "TASK_LAUNCHED"),
    ("c", "TASK_FAILED"),
    ("s", "WORKFLOW_SUCCEEDED"),
    ("b", "TASK_SUCCEEDED"),
    ("w", "WORKFLOW_SUCCEEDED"),
]


def start(house: House, notify: Any) -> str:
    id = house.new_id()
    house.ask(
        StartWorkflow(
            run_id=id,
            workflow_name="w",
            params={"notify": notify},
            request_id=house.new_id(),
            context=CALLER.to_dict(),
        )
    )
    house.settle()
    for _ in range(3):
        house.advance(1)
    return id


def test_retries_are_told_to_who_asks_for_them(house: House) -> None:
    house.upload(TREE)
    types = ["TASK_RETRIED", "WORKFLOW_SUCCEEDED"]
    start(house, [{"type": "webhook", "url": "http://x/", "event_types": types}])
    assert told(house) == [
        ("c", "TASK_RETRIED"),
        ("s", "WORKFLOW_SUCCEEDED"),
        ("w", "WORKFLOW_SUCCEEDED"),
    ]
    assert house.post.notices[0].data["state"] == "DELAYED"


def test_what_publishers_never_took_is_kept_and_the_doctor_tells_of_it(
    house: House,
) -> None:
    house.upload(TREE)
    id = start(house, [{"type": "webhook", "url": "http://x/"}])
    notice = next(n for n in house.post.notices if n.run_id == id)
    refused = NoticeRefused(run_id=id, notice=encode(notice), reason="answered 500")
    for _ in range(2):
        house.engine.intake.put(refused)
        house.settle()
    [kept] = house.rows(models.poison)
    assert (kept["kind"], kept["run_id"]) == ("Notify", id)
    assert (kept["payload"]["event"], kept["error"]) == (notice.event, "answered 500")
    [said] = house.examined()
    assert said.startswith("notification-not-taken: Publishers never took")
    assert house.header(id)["state"] == "SUCCESS"


def told(house: House) -> list[tuple[str, str]]:
    return [(n.data["name"], n.event) for n in house.post.notices]


def test_eng_231_233_all_events_of_the_tree(house: House) -> None:
    """Each attempt tells of its failure; waiting is told of by nobody."""
    house.upload(TREE)
    id = start(house, [{"type": "webhook", "url": "http://x/"}, "no mapping"])
    assert house.header(id)["state"] == "SUCCESS"
    assert told(house) == ALL
    assert house.rows(models.outbox) == []
    first = house.post.notices[0]
    assert first.publishers == ({"type": "webhook", "url": "http://x/"},)
    assert set(first.data) == {
        "id", "name", "workflow_name", "workflow_namespace", "workflow_id", "state",
        "state_info", "project_id", "task_execution_id", "root_execution_id",
        "created_at", "updated_at", "event",
    }  # fmt: skip
    assert (first.object_id, first.data["state"]) == (id, "RUNNING")
    second = house.post.notices[1]
    assert set(second.data) == {
        "id", "name", "workflow_execution_id", "workflow_name", "workflow_namespace",
        "workflow_id", "state", "state_info", "type", "project_id", "created_at",
        "updated_at", "started_at", "finished_at", "event",
    }  # fmt: skip
    assert second.data["workflow_execution_id"] == id


def test_eng_231_only_the_events_that_are_listed(house: House) -> None:
    house.upload(TREE)
    some = {"type": "a", "event_types": ["TASK_FAILED", "WORKFLOW_SUCCEEDED"]}
    none = {"type": "b", "event_types": ["WORKFLOW_PAUSED"]}
    start(house, [some, none])
    wanted = [each for each in ALL if each[1] in some["event_types"]]
    assert told(house) == wanted
    assert all(n.publishers == (some,) for n in house.post.notices)


def test_publishers_of_every_run_are_added_once_at_the_root(tmp_path: Path) -> None:
    """§ 10.8 [D]: an event was delivered twice."""
    house = House(tmp_path, rules=Rules(notify=({"type": "global"},)))
    house.upload(TREE)
    id = start(house, [{"type": "own"}])
    assert told(house) == ALL
    for notice in house.post.notices:
        assert [entry["type"] for entry in notice.publishers] == ["own", "global"]
    assert house.header(id)["params"]["notify"] == [{"type": "own"}, {"type": "global"}]
    house.close()


def test_what_is_not_taken_waits_and_holds_back_only_its_own_run(
    house: House,
) -> None:
    house.upload(TREE)
    id = house.new_id()
    refused = house.post.refused
    taken = house.post.notices
    refused.add(id)
    house.ask(
        StartWorkflow(
            run_id=id,
            workflow_name="w",
            params={"notify": [{"type": "x"}]},
            request_id="r",
            context=CALLER.to_dict(),
        )
    )
    house.settle()
    other = start(house, [{"type": "x"}])
    assert {n.run_id for n in taken} >= {other}
    assert not [n for n in taken if n.run_id == id]
    assert house.header(id)["state"] == "SUCCESS", "the workflow is not concerned"
    assert {row["run_id"] for row in house.rows(models.outbox)} == {id}
    refused.clear()
    house.advance(AGAIN_SECONDS)
    numbers = [n.number for n in taken if n.run_id == id]
    assert numbers == sorted(numbers)
    assert len(numbers) == 7
    assert house.rows(models.outbox) == []


def test_what_is_not_taken_goes_out_when_the_broker_is_back(house: House) -> None:
    """Time stands still, so nothing would be tried again by itself."""
    tried: SimpleQueue[Notify] = SimpleQueue()

    def refuse(notice: Notify) -> None:
        tried.put(notice)
        raise Unavailable("The broker is away.")

    notices = Notices(house.database, refuse, house.clock)
    notices.add({"id": "n", "run_id": "r", "payload": encode(Notify(run_id="r"))})
    assert notices.send_waiting() == 0
    assert tried.get(timeout=20)
    thread = threading.Thread(target=notices.run)
    thread.start()
    notices.retry()
    assert tried.get(timeout=20)
    notices.end()
    thread.join(20)


def test_an_engine_that_died_leaves_its_notifications_to_another(
    house: House,
) -> None:
    house.upload(TREE)
    house.post.refused.add("all")
    start(house, [{"type": "x"}])
    assert house.post.notices == []
    house.post.refused.clear()
    house.engine = house.new_engine("two")
    house.clock.advance(3600)
    house.sweep()
    assert [
        number.number for number in house.post.notices if number.data["name"] in "wab"
    ]
    assert sorted(told(house)) == sorted(ALL)
    assert house.rows(models.outbox) == []


@pytest.fixture
def house(tmp_path: Path) -> Any:
    house = House(tmp_path)
    yield house
    house.close()
