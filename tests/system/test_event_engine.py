"""The role event-engine as a process of its own, killed and started again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import oslo_messaging
import pytest
from servers import NoServer, fresh_database
from system.processes import EVENTS, Cluster, until, virtual_host

from mistral.bus import Bus

pytestmark = pytest.mark.system

WORKFLOW = """\
version: '2.0'
react:
  tasks: {t: {action: std.noop}}
"""


class Nova:
    """Another service: tells what it likes, as often as it likes."""

    def __init__(self, url: str) -> None:
        self._transport = oslo_messaging.get_notification_transport(
            Bus(url)._transports.conf, url=url
        )

    def tell(self, id: str) -> None:
        message = {
            "message_id": id,
            "publisher_id": "nova",
            "timestamp": "t",
            "event_type": "made",
            "priority": "INFO",
            "payload": {},
        }
        place = oslo_messaging.Target(exchange="nova", topic="notes.info")
        self._transport._send_notification(place, {}, message, version=2.0, retry=3)

    def close(self) -> None:
        self._transport.cleanup()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[Cluster, Nova]]:
    with ExitStack() as stack:
        try:
            database = stack.enter_context(fresh_database("postgresql", tmp_path))
            transport = stack.enter_context(virtual_host())
        except NoServer as missing:
            pytest.skip(str(missing))
        cluster = Cluster(tmp_path, database, transport)
        stack.callback(cluster.stop)
        cluster.upgrade()
        cluster.start("api", "engine-1", "executor-1", EVENTS)
        nova = Nova(transport)
        stack.callback(nova.close)
        yield cluster, nova


def executions(cluster: Cluster) -> list[Any]:
    status, answer = cluster.get("/v2/executions")
    assert status == 200
    found: list[Any] = answer["executions"]
    return found


def test_eng_235_an_event_engine_is_killed_and_nothing_is_lost(
    stage: tuple[Cluster, Nova],
) -> None:
    """ENG-236, too: each event is told several times and starts one workflow."""
    cluster, nova = stage
    cluster.upload(WORKFLOW)
    [workflow] = cluster.get("/v2/workflows?name=react")[1]["workflows"]
    trigger = {
        "workflow_id": workflow["id"],
        "exchange": "nova",
        "topic": "notes",
        "event": "made",
    }
    body = json.dumps(trigger).encode()
    status, made = cluster.ask("POST", "/v2/event_triggers", body, "application/json")
    assert status == 201, made

    def heard() -> bool:
        nova.tell("first")
        return len(executions(cluster)) == 1

    until(heard, 60, "the new trigger is listened to")
    cluster.kill(EVENTS)
    for _ in range(2):
        nova.tell("second")
    cluster.start(EVENTS)
    until(lambda: len(executions(cluster)) >= 2, 60, "what waited is heard")
    nova.tell("last")
    until(lambda: len(executions(cluster)) >= 3, 60, "the last one is heard")
    found = cluster.ended([row["id"] for row in executions(cluster)], 60)
    assert [row["state"] for row in found.values()] == ["SUCCESS"] * 3
    about = {"type": "event_trigger", "id": made["id"], "name": ""}
    for row in found.values():
        assert json.loads(row["description"])["triggered_by"] == about
    assert cluster.tracebacks() == []
