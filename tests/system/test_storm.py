"""Requests that come fast, from several hands at once, at a whole cluster.

What they ask makes no sense together (pause, answer, rerun, skip, cancel and
delete the same executions). It must be refused or done, and leave nothing
behind: no run that hangs, no outbox row, no traceback (ENG-236, ENG-239).
"""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from servers import NoServer
from sqlalchemy import create_engine, text
from system.processes import ENDS, Cluster, running_cluster, until

pytestmark = [pytest.mark.services, pytest.mark.system]

ACTIONS = """version: '2.0'
ask:
  base: std.async_noop
  input: [x]
  output: {got: <% $ %>}
"""

WORKFLOWS = """version: '2.0'
approval:
  tasks:
    a: {action: ask x=1, on-success: c, on-error: c}
    b:
      with-items: i in <% [1, 2, 3] %>
      concurrency: 2
      action: ask x=<% $.i %>
      retry: {count: 1, delay: 0}
      on-complete: c
    c: {join: all, action: std.async_noop, on-complete: d}
    d: {workflow: inner, on-error: e}
    e: {description: x}
inner:
  tasks:
    i1: {action: ask x=3, on-success: i2}
    i2: {pause-before: true, action: std.noop}
fan:
  tasks:
    s: {on-success: [a, b, c]}
    a: {action: std.sleep seconds=0, on-complete: j}
    b: {workflow: leaf, on-complete: j}
    c: {with-items: 'i in <% range(4) %>', workflow: leaf, on-complete: j}
    j: {join: all, wait-before: 1, on-complete: [again, pause]}
    again: {action: std.fail, retry: {count: 2, delay: 0}, on-error: k}
    k: {join: one}
leaf:
  tasks:
    l: {action: std.sleep seconds=0, on-success: m}
    m: {action: std.fail}
"""

HANDS = 4
REQUESTS = 80


class Hand:
    """Somebody who clicks faster than he thinks."""

    def __init__(self, cluster: Cluster, seed: int, ids: list[str]) -> None:
        self.cluster = cluster
        self.rng = random.Random(seed)
        self.ids = ids
        self.refused: list[Any] = []

    def work(self) -> None:
        for _ in range(REQUESTS):
            if self.rng.random() < 0.08 or not self.ids:
                self.start()
            else:
                self.meddle(self.rng.choice(self.ids[-25:]))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The body of the answer, None if it was refused."""
        data = None if body is None else json.dumps(body).encode()
        status, answer = self.cluster.ask(method, path, data, "application/json")
        if status >= 500:
            self.refused.append((method, path, status, answer))
        return answer if status < 400 else None

    def start(self) -> None:
        id = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        name = self.rng.choice(["approval", "fan"])
        space = self.rng.choice(["", "n"])
        body = {"id": id, "workflow_name": name, "workflow_namespace": space}
        if self.ask("POST", "/v2/executions", body):
            self.ids.append(id)

    def meddle(self, id: str) -> None:
        rng = self.rng
        below = self.ask("GET", f"/v2/executions/{id}/executions") or {}
        tree = [id, *(row["id"] for row in below.get("executions", ()))]
        run = rng.choice(tree)
        kind = rng.choices(
            ["PAUSED", "RUNNING", "end", "delete", "action", "task"],
            [10, 20, 3, 2, 45, 20],
        )[0]
        if kind in ("PAUSED", "RUNNING"):
            self.ask("PUT", f"/v2/executions/{run}", {"state": kind})
        elif kind == "end":
            state = {"state": rng.choice(ENDS)}
            self.ask("PUT", f"/v2/executions/{run}", state)
        elif kind == "delete":
            force = rng.choice(["", "?force=true"])
            self.ask("DELETE", f"/v2/executions/{id}{force}")
        else:
            self.touch(run, kind)

    def touch(self, run: str, kind: str) -> None:
        rng = self.rng
        found = self.ask("GET", f"/v2/executions/{run}/tasks") or {"tasks": []}
        tasks = found["tasks"]
        failed = [task for task in tasks if task["state"] == "ERROR"]
        if kind == "task" and failed:
            change: dict[str, Any] = {"state": rng.choice(["RUNNING", "SKIPPED"])}
            if change["state"] == "RUNNING":
                change["reset"] = rng.random() < 0.8
            self.ask("PUT", f"/v2/tasks/{rng.choice(failed)['id']}", change)
        elif tasks:
            path = f"/v2/tasks/{rng.choice(tasks)['id']}/action_executions"
            found = self.ask("GET", path) or {"action_executions": []}
            for action in found["action_executions"][:1]:
                states = ["SUCCESS"] * 5 + ["ERROR", "CANCELLED", "PAUSED", "RUNNING"]
                change = {"state": rng.choice(states), "output": '{"k": 1}'}
                self.ask("PUT", f"/v2/action_executions/{action['id']}", change)

    def all_ended(self) -> bool:
        """Resume what is paused, answer what is asked; whether all is over."""
        runs = self.ask("GET", "/v2/executions?limit=2000")["executions"]
        open_ = [row for row in runs if row["state"] not in ENDS]
        for row in open_:
            if row["state"] == "PAUSED":
                self.ask("PUT", f"/v2/executions/{row['id']}", {"state": "RUNNING"})
        query = "/v2/action_executions?limit=2000&state=in:RUNNING,PAUSED"
        for action in self.ask("GET", query)["action_executions"]:
            if action["name"] in ("ask", "std.async_noop"):
                path = f"/v2/action_executions/{action['id']}"
                self.ask("PUT", path, {"state": "SUCCESS"})
        return not open_


@pytest.fixture(params=["postgresql", "mariadb"])
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("storm")
    try:
        with running_cluster(request.param, directory) as cluster:
            yield cluster
    except NoServer as missing:
        pytest.skip(str(missing))


def test_eng_236_239_nothing_hangs_after_a_storm(cluster: Cluster) -> None:
    for space in ("", "n"):
        for kind, content in (("actions", ACTIONS), ("workflows", WORKFLOWS)):
            path = f"/v2/{kind}?namespace={space}"
            status, answer = cluster.ask("POST", path, content.encode(), "text/plain")
            assert status == 201, answer
    ids: list[str] = []
    hands = [Hand(cluster, seed, ids) for seed in range(HANDS)]
    threads = [threading.Thread(target=hand.work) for hand in hands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    until(hands[0].all_ended, 120, "every execution ends")
    assert [answer for hand in hands for answer in hand.refused] == []
    query = "/v2/tasks?limit=5000&state=in:RUNNING,IDLE,WAITING,DELAYED,PAUSED"
    assert hands[0].ask("GET", query)["tasks"] == []
    engine = create_engine(cluster.database)
    with engine.connect() as connection:
        for table in ("outbox", "poison"):
            count = text(f"SELECT count(*) FROM {table}")
            assert connection.execute(count).scalar() == 0, table
    engine.dispose()
    assert cluster.tracebacks() == []
