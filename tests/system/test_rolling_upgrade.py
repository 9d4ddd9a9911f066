"""The newest release and this code, side by side on one database and one broker.

As ``doc/operator.rst``, "Upgrade", says: the release runs, the database is brought to
the new version under it, new processes are started, the old ones are stopped. Nothing
that was accepted is lost, and nothing runs twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from servers import NoServer, fresh_database
from system.client import Client
from system.processes import ENDS, Cluster, Ledger, virtual_host
from system.releases import install, newest_tag

TAG = newest_tag()

pytestmark = (
    [pytest.mark.skip("there is no tag of a release in this clone")]
    if TAG is None
    else [pytest.mark.services, pytest.mark.system]
)

OLD = ("engine-1", "executor-1", "api-1")
NEW = ("engine-2", "executor-2", "api-2")

WORKFLOWS = """
version: '2.0'

mixed:
  input: [url]
  output: {items: <% $.items %>, asked: <% $.asked %>, inner: <% $.inner %>}
  tasks:
    begin: {action: std.noop, on-success: [many, ask, sub, late]}
    many:
      with-items: i in <% range(5) %>
      concurrency: 2
      action: std.http url="<% $.url %>/<% $.i %>"
      publish: {items: <% task().result.len() %>}
      on-success: end
    ask:
      action: std.async_noop
      publish: {asked: <% task().result %>}
      on-success: end
    sub: {workflow: inner, publish: {inner: <% task().result.v %>}, on-success: end}
    late: {wait-before: 2, action: std.http url="<% $.url %>/late", on-success: end}
    end: {join: all, action: std.http url="<% $.url %>/end"}
inner:
  output: {v: <% $.v %>}
  tasks:
    flaky: {action: std.fail, retry: {count: 2, delay: 1}, on-error: done}
    done: {action: std.echo output=7, publish: {v: <% task().result %>}}
"""


@pytest.fixture(params=["postgresql", "mariadb"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    assert TAG is not None
    release = install(TAG, tmp_path)
    try:
        with ExitStack() as stack:
            database = stack.enter_context(fresh_database(request.param, tmp_path))
            transport = stack.enter_context(virtual_host())
            made = Cluster(
                tmp_path,
                database,
                transport,
                (*OLD, *NEW),
                releases=dict.fromkeys(OLD, release),
            )
            stack.callback(made.stop)
            yield made
            assert made.tracebacks() == []
    except NoServer as missing:
        pytest.skip(str(missing))


def test_nothing_is_lost_while_releases_change(cluster: Cluster) -> None:
    ledger = Ledger()
    cluster.upgrade(OLD[0])
    cluster.start(*OLD)
    before = Client(cluster, OLD[2])
    status, answer = before("POST", "/v2/workflows", WORKFLOWS)
    assert status == 201, answer

    def begin(client: Client, name: str) -> list[str]:
        return [
            client.start("mixed", input={"url": f"{ledger.url}/{name}{number}"})
            for number in range(5)
        ]

    runs = begin(before, "old")
    cluster.upgrade(NEW[0])
    cluster.start(*NEW)
    after = Client(cluster, NEW[2])
    for client, name in ((before, "old-beside"), (after, "new-beside")):
        runs += begin(client, name)
    cluster.end(*OLD)
    runs += begin(after, "new")
    for run in runs:
        [action] = after.running(run, "ask")
        assert after.answer(action, output={"n": 1}) == 200
    for run in runs:
        ended = after.run(run, *ENDS)
        assert ended["state"] == "SUCCESS", ended["state_info"]
        assert '"items": 5' in ended["output"]
    assert len(ledger.calls) == len(runs) * 7
    assert set(ledger.calls.values()) == {1}
    ledger.close()
