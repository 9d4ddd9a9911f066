"""The cluster size with real processes: 1 API, 2 engines, 2 executors, a broker,
on PostgreSQL and on MariaDB; and what is promised when one is killed
(design page, § 6)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from servers import NoServer
from system.processes import Cluster, Ledger, running_cluster, until

pytestmark = [pytest.mark.services, pytest.mark.system]

RUNS = 50

WORKFLOWS = """
version: '2.0'

child:
  input: [n]
  output:
    double: <% $.double %>
  tasks:
    twice:
      action: std.test_dict size=1 key_prefix='k' val='v'
      publish:
        double: <% $.n * 2 %>

everything:
  input: [url]
  output:
    items: <% $.items %>
    doubles: <% $.doubles %>
    flaky: <% $.flaky %>
    met: <% $.met %>
  tasks:
    begin:
      action: std.echo output='go'
      on-success: [fan, children, flaky, rest]
    fan:
      with-items: i in <% range(12) %>
      concurrency: 4
      action: std.sleep seconds=0.01
      publish:
        items: <% task().result.len() %>
      on-success: meet
    children:
      with-items: n in [1, 2, 3, 4]
      workflow: child n=<% $.n %>
      publish:
        doubles: <% task().result.double %>
      on-success: meet
    flaky:
      action: std.http url=<% $.url %>
      retry:
        count: 3
        delay: 1
      publish:
        flaky: <% task().result.content.times %>
      on-success: meet
    rest:
      action: std.sleep seconds=0.1
      wait-before: 1
      wait-after: 1
      on-success: meet
    meet:
      join: all
      action: std.test_dict size=2 key_prefix='k' val='v'
      publish:
        met: <% task().result.len() %>

counted:
  input: [url]
  tasks:
    first:
      action: std.http url='<% $.url %>/first'
      on-success: items
    items:
      with-items: i in [1, 2, 3]
      action: std.http url='<% $.url %>/item<% $.i %>'
      on-success: last
    last:
      action: std.http url='<% $.url %>/last'
"""
CALLS = ("first", "item1", "item2", "item3", "last")


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp(request.param)
    try:
        with running_cluster(request.param, directory) as cluster:
            cluster.upload(WORKFLOWS)
            yield cluster
            assert set(cluster.stop().values()) == {0}, "SIGTERM drains and ends"
            assert cluster.tracebacks() == []
    except NoServer as missing:
        pytest.skip(str(missing))


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger()
    yield ledger
    ledger.close()


def test_all_kinds_of_tasks_end(cluster: Cluster, ledger: Ledger) -> None:
    """Items, joins, sub-workflows, retries and timers over the broker."""
    ids = [
        cluster.run("everything", input={"url": f"{ledger.url}/flaky/{number}"})
        for number in range(5)
    ]
    for id, row in cluster.ended(ids, 60).items():
        assert row["state"] == "SUCCESS", row["state_info"]
        _, found = cluster.get(f"/v2/executions/{id}")
        output = found["output"]
        assert '"items": 12' in output
        assert '"flaky": 2' in output
        assert '"met": 2' in output
        assert sorted(ledger.calls.values()) == [2] * 5
    assert cluster.tracebacks() == []


@pytest.mark.parametrize("victim", ["engine-1", "executor-1", "api"])
def test_killed_process_loses_and_repeats_nothing(
    cluster: Cluster, ledger: Ledger, victim: str
) -> None:
    """ENG-235, ENG-238: all end, none is stuck, no action ran twice."""
    ledger.hold = 0.3
    with ThreadPoolExecutor(8) as starters:
        starts = [
            starters.submit(_counted, cluster, ledger, number) for number in range(RUNS)
        ]
        until(lambda: len(ledger.calls) >= RUNS // 2, 60, "many calls")
        cluster.kill(victim)
        calls_then = len(ledger.calls)
        cluster.start(victim)
        ids = [start.result(60) for start in starts]
    found = cluster.ended(ids, 90)
    assert calls_then < RUNS * len(CALLS), "all had ended before the kill"
    repeated = {path: times for path, times in ledger.calls.items() if times != 1}
    assert repeated == {}
    failed = [row for row in found.values() if row["state"] != "SUCCESS"]
    if victim.startswith("executor"):
        # what it ran is not safe to rerun: an error that says why (§ 6)
        assert len(failed) <= 8
        assert all("Heartbeat wasn't received" in row["state_info"] for row in failed)
    else:
        assert [row["state_info"] for row in failed] == []
        assert len(ledger.calls) == RUNS * len(CALLS)
    assert cluster.tracebacks() == []


def test_cut_connections_to_the_broker_delay_only(
    cluster: Cluster, ledger: Ledger
) -> None:
    """ENG-237: offers and results are sent again."""
    ledger.hold = 0.3
    with ThreadPoolExecutor(8) as starters:
        starts = [
            starters.submit(_counted, cluster, ledger, number) for number in range(20)
        ]
        until(lambda: len(ledger.calls) >= 20, 60, "many calls")
        cluster.cut_connections()
        ids = [start.result(90) for start in starts]
    for row in cluster.ended(ids, 90).values():
        assert row["state"] == "SUCCESS", row["state_info"]
    assert set(ledger.calls.values()) == {1}
    assert len(ledger.calls) == 20 * len(CALLS)
    assert cluster.tracebacks() == []


def test_reads_work_while_every_engine_is_down(
    cluster: Cluster, ledger: Ledger
) -> None:
    """The API reads the database; changes wait for an engine."""
    ledger.hold = 0.1
    ids = [_counted(cluster, ledger, number) for number in range(5)]
    cluster.kill("engine-1", "engine-2")
    for path in _paths(cluster, ids[0]):
        status, answer = cluster.get(path)
        assert status == 200, (path, answer)
    status, answer = cluster.ask(
        "POST",
        "/v2/executions",
        b'{"workflow_name": "child", "input": {"n": 1}}',
        "application/json",
    )
    assert status == 503, answer
    cluster.start("engine-1", "engine-2")
    for row in cluster.ended(ids, 60).values():
        assert row["state"] == "SUCCESS", row["state_info"]
    assert set(ledger.calls.values()) == {1}
    assert len(ledger.calls) == 5 * len(CALLS)
    assert cluster.tracebacks() == []


def _counted(cluster: Cluster, ledger: Ledger, number: int) -> str:
    return cluster.run("counted", input={"url": f"{ledger.url}/{number}"})


def _paths(cluster: Cluster, run_id: str) -> list[str]:
    paths = [
        f"/v2/{name}"
        for name in (
            "workflows", "workflows/counted", "workbooks", "actions", "environments",
            "executions", "tasks", "action_executions",
            f"executions/{run_id}", f"executions/{run_id}/tasks",
            f"executions/{run_id}/report", f"executions/{run_id}/history",
            f"executions/{run_id}/executions",
        )
    ]  # fmt: skip
    _, tasks = cluster.get(f"/v2/executions/{run_id}/tasks")
    paths += [f"/v2/tasks/{row['id']}" for row in tasks["tasks"]]
    _, actions = cluster.get("/v2/action_executions?limit=3")
    paths += [
        f"/v2/action_executions/{row['id']}" for row in actions["action_executions"]
    ]
    return paths
