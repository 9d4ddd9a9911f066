"""Acceptance over REST: the language, the answers, and clients in a hurry.

One API, two engines and two executors on PostgreSQL and RabbitMQ. The cases of
``acceptance/language.yaml`` are all started before the first one is looked at;
nobody waits between one request and the next.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from servers import NoServer
from system.client import SECONDS, Client
from system.processes import ENDS, Cluster, running_cluster, until

pytestmark = [pytest.mark.services, pytest.mark.system]

DATA = Path(__file__).parent / "acceptance"
CASES = yaml.safe_load((DATA / "language.yaml").read_text())
REQUESTS = yaml.safe_load((DATA / "requests.yaml").read_text())
NOBODY = "00000000-0000-4000-8000-000000000000"
V = "version: '2.0'\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        with running_cluster("postgresql", tmp_path_factory.mktemp("accept")) as made:
            yield made
            assert made.tracebacks() == []
    except NoServer as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> Client:
    cluster.upload((DATA / "workflows.yaml").read_text())
    return Client(cluster)


# -- The language --------------------------------------------------------------


def _begin(client: Client, case: dict[str, Any]) -> tuple[int, Any]:
    """Upload and start; the first answer that is no 201, or the last one."""
    space = uuid.uuid4().hex
    uploads = [("actions", case.get("actions")), ("workflows", case["text"])]
    for kind, text in uploads:
        if text is not None:
            made = client("POST", f"/v2/{kind}?namespace={space}", V + text)
            if made[0] != 201:
                return made
            assert "refused" not in case or kind == "actions"
    body = {"workflow_name": "w", "workflow_namespace": space}
    more = {key: case[key] for key in ("input", "params") if key in case}
    return client("POST", "/v2/executions", {**body, **more})


@pytest.fixture(scope="module")
def begun(
    client: Client, pool: ThreadPoolExecutor
) -> dict[str, Future[tuple[int, Any]]]:
    return {case["case"]: pool.submit(_begin, client, case) for case in CASES}


def alike(wanted: Any, found: Any) -> bool:
    """Equal with types; text that begins with ``~`` is a regular expression."""
    if isinstance(wanted, str) and wanted.startswith("~"):
        return isinstance(found, str) and re.search(wanted[1:], found) is not None
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(
            alike(value, found[key]) for key, value in wanted.items()
        )
    return type(wanted) is type(found) and wanted == found


def _by_name(tasks: list[dict[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for task in tasks:
        found.setdefault(task["name"], []).append(task["state"])
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_language(client: Client, begun: Any, case: dict[str, Any]) -> None:
    status, answer = begun[case["case"]].result(SECONDS)
    words = case.get("refused", case.get("start"))
    if words is not None:
        assert status == 400, answer
        assert all(str(word) in answer["faultstring"] for word in words), answer
        return
    assert status == 201, answer
    run = client.run(answer["id"], *ENDS)
    assert run["state"] == case.get("ends", "SUCCESS"), run["state_info"]
    if "output" in case:
        assert alike(case["output"], json.loads(run["output"])), run["output"]
    if "info" in case:
        assert alike(case["info"], run["state_info"]), run["state_info"]

    def settled() -> Any:
        rows = client.tasks(run["id"])
        return (rows,) if all(row["state"] in ENDS for row in rows) else None

    # ``fail`` lets go on what was started before it.
    [tasks] = until(settled, SECONDS, "every task has ended")
    if "tasks" in case:
        assert case["tasks"] == _by_name(tasks)
    if "order" in case:
        assert case["order"] == [task["name"] for task in tasks]
    named = {task["name"]: task for task in tasks}
    for name, wanted in case.get("infos", {}).items():
        assert alike(wanted, named[name]["state_info"]), named[name]["state_info"]
    for name, wanted in case.get("published", {}).items():
        assert alike(wanted, json.loads(named[name]["published"])), name
    for name, wanted in case.get("runtime", {}).items():
        assert alike(wanted, json.loads(named[name]["runtime_context"])), name
    if "hides" in case:
        shown = json.dumps([run["state_info"], run["output"], tasks])
        assert case["hides"] not in shown


# -- Requests and their answers ------------------------------------------------


@pytest.fixture(scope="module")
def known(client: Client) -> dict[str, str]:
    """Ids that the requests speak of."""
    ids = {name: client.start(name) for name in ("held", "failed")}
    ids |= {"ended": client.start("ok"), "nobody": NOBODY}
    ids["workflow"] = client.get("/v2/workflows/ok")["id"]
    ids["held_task"] = client.task(ids["held"], "h")["id"]
    ids["failed_task"] = client.task(ids["failed"], "f", "ERROR")["id"]
    client.run(ids["ended"], "SUCCESS")
    client.run(ids["failed"], "ERROR")
    body = {"name": "std.async_noop", "params": {"save_result": True}}
    ids["answer"] = client("POST", "/v2/action_executions", body)[1]["id"]
    assert client.answer(ids["answer"], output={"n": 1}) == 200
    return ids


def _filled(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, str):
        return value.format_map(known)
    if isinstance(value, dict):
        return {key: _filled(each, known) for key, each in value.items()}
    return value


@pytest.mark.parametrize(
    "row", REQUESTS, ids=lambda row: " ".join(str(each) for each in row[:3])
)
def test_answers(client: Client, known: dict[str, str], row: list[Any]) -> None:
    _, method, path, body, status, *words = _filled_row(row, known)
    found, answer = client(method, path, body)
    assert found == status, answer
    if status >= 400:
        assert set(answer) == {"faultcode", "faultstring", "debuginfo"}
        assert answer["faultcode"] == "Client"
        assert all(word in answer["faultstring"] for word in words), answer


def _filled_row(row: list[Any], known: dict[str, str]) -> list[Any]:
    return [_filled(each, known) for each in row]


@pytest.mark.parametrize(
    "query",
    [
        "action_executions?sort_keys=name,task_name,state&sort_dirs=desc,asc",
        "action_executions?sort_keys=task_name&sort_dirs=desc&include_output=true",
        "tasks?sort_keys=state_info,name&state=in:SUCCESS,ERROR",
        "tasks?sort_keys=updated_at&sort_dirs=desc",
        "executions?workflow_name=nin:ok,held&fields=state,output",
        'executions?params=neq:{"a":+"ü+%26"}',
        "workflows?sort_keys=namespace,name&name=has:w",
        "actions?name=neq:std.echo",
    ],
)
def test_pages_hold_every_row_once(
    client: Client, known: dict[str, str], query: str
) -> None:
    """§ 3.2: ``next`` is followed as it stands; nulls are places in the order."""
    path = f"/v2/{quote(query, safe='?&=,:+%')}"
    whole = client.pages(path)
    paged = client.pages(path + "&limit=7")
    assert len(whole) > 7
    ids = [row["id"] for row in paged]
    assert len(set(ids)) == len(ids)
    assert set(ids) == {row["id"] for row in whole}
    assert {tuple(sorted(row)) for row in paged} == {tuple(sorted(r)) for r in whole}


# -- Clients in a hurry --------------------------------------------------------


def test_one_of_eight_answers_counts(client: Client, pool: ThreadPoolExecutor) -> None:
    """ENG § 1.5, Q-13: an action is completed once."""
    run = client.start("held")
    [action] = client.running(run, "h")
    answers = pool.map(lambda n: client.answer(action, output={"n": n}), range(8))
    assert sorted(answers) == [200] + [400] * 7
    client.run(run, "SUCCESS")
    assert client.names(run) == ["h", "z"]


def test_eight_starts_with_one_id_are_one_run(
    client: Client, pool: ThreadPoolExecutor
) -> None:
    """REST § 9.1.2: an idempotency key."""
    id = str(uuid.uuid4())
    runs = pool.map(lambda n: client.start("held", id=id, description=str(n)), range(8))
    assert set(runs) == {id}
    assert client.names(id) == ["h"]


def test_items_that_are_answered_by_eight_clients(
    client: Client, pool: ThreadPoolExecutor
) -> None:
    """ENG § 4.2: results by index, each item once."""
    run = client.start("items", input={"n": 40})
    actions = client.actions(run, "h", 40)
    numbers = range(40)
    given = {each["id"]: n for n, each in zip(numbers, actions, strict=True)}
    done = pool.map(lambda id: client.answer(id, output={"n": given[id]}), given)
    assert set(done) == {200}
    output = json.loads(client.run(run, "SUCCESS")["output"])
    assert sorted(each["n"] for each in output["r"]) == list(numbers)


def test_no_item_starts_while_paused(client: Client) -> None:
    """ENG § 4.8, § 4.3."""
    run = client.start("items", input={"n": 3, "c": 1})
    [first] = client.running(run, "h")
    client.state(run, state="PAUSED")
    assert client.answer(first) == 200
    assert len(client.actions(run, "h")) == 1
    client.state(run, state="RUNNING")
    for _ in range(2):
        [other] = client.running(run, "h")
        assert client.answer(other) == 200
    client.run(run, "SUCCESS")


def test_items_that_failed_run_again_and_no_others(client: Client) -> None:
    """ENG § 4.6: ``reset: false``."""
    run = client.start("items", input={"n": 4})
    actions = client.actions(run, "h", 4)
    for number, state in enumerate(("SUCCESS", "ERROR", "SUCCESS", "ERROR")):
        client.answer(actions[number]["id"], state, output={"n": number})
    client.run(run, "ERROR")
    task = client.task(run, "h", "ERROR")
    assert task["state_info"] == "One or more actions had failed."
    client.rerun(task["id"], reset=False)
    for action in client.running(run, "h", 2):
        client.answer(action, output={"again": True})
    output = json.loads(client.run(run, "SUCCESS")["output"])
    again = {"again": True}
    assert output == {"r": [{"n": 0}, again, {"n": 2}, again]}


def test_both_branches_of_a_join_end_at_once(
    client: Client, pool: ThreadPoolExecutor
) -> None:
    """ENG § 2.7, § 2.9: the join runs once and no global is lost."""
    runs = [client.start("join") for _ in range(4)]
    actions = [client.running(run, name)[0] for run in runs for name in "ab"]
    assert set(pool.map(client.answer, actions)) == {200}
    for run in runs:
        ended = client.run(run, "SUCCESS")
        assert json.loads(ended["output"]) == {"g": [1, 2, {"a": 1, "b": 2}]}
        shown = {"a": 1, "b": 2, "m": {"a": 1, "b": 2}}
        assert json.loads(ended["published_global"]) == shown
        assert client.names(run) == ["a", "b", "j"]


def test_a_join_whose_branches_end_while_paused(client: Client) -> None:
    """ENG § 2.7.6, J2 and J3."""
    run = client.start("join")
    actions = [client.running(run, name)[0] for name in "ab"]
    client.state(run, state="PAUSED")
    assert [client.answer(action) for action in actions] == [200, 200]
    assert client.task(run, "b", "SUCCESS")["processed"] is False
    client.state(run, state="RUNNING")
    client.run(run, "SUCCESS")


def test_commands_wait_in_their_order(client: Client) -> None:
    """ENG § 2.5: the example of a backlog."""
    run = client.start("commands")
    shown = []
    for state in ("PAUSED", "PAUSED", "ERROR"):
        header = client.run(run, state)
        shown.append((header["state_info"], client.names(run)[-1]))
        if state == "PAUSED":
            client.state(run, state="RUNNING")
    assert shown == [("wait here", "t2"), (None, "t4"), ("end", "t5")]
    assert json.loads(header["output"]) == {"result": "end"}


def test_what_ended_in_a_failed_run_is_continued(client: Client) -> None:
    """ENG § 2.6: the follow-ups of the other branch are not lost."""
    run = client.start("open")
    [a], [b] = (client.running(run, name) for name in "ab")
    client.answer(b, "ERROR")
    client.run(run, "ERROR")
    client.answer(a)
    client.task(run, "a", "SUCCESS")
    task = client.task(run, "b", "ERROR")
    skip = client("PUT", f"/v2/tasks/{task['id']}", {"state": "SKIPPED"})
    assert (skip[0], skip[1]["state_info"]) == (200, "Task was skipped.")
    ended = client.run(run, "SUCCESS")
    assert json.loads(ended["output"]) == {"s": 1, "b2": 1, "a2": 1}


def test_a_tree_pauses_resumes_and_is_cancelled(client: Client) -> None:
    """ENG § 6.3: up from below, and down from above."""
    run = client.start("top")
    tree = client.tree(run, 3)
    client.state(tree[2], state="PAUSED")
    for id in tree:
        client.run(id, "PAUSED")
    client.state(run, state="RUNNING")
    for id in tree:
        client.run(id, "RUNNING")
    client.state(run, state="PAUSED")
    client.state(run, state="CANCELLED", state_info="stop all")
    shown = {client.run(id, "CANCELLED")["state_info"] for id in tree}
    assert shown == {"stop all"}
    assert client.task(run, "s", "CANCELLED")["state_info"] == "stop all"


def test_a_rerun_below_opens_the_tree_again(client: Client) -> None:
    """ENG § 6.3, § 7.6."""
    run = client.start("top")
    tree = client.tree(run, 3)
    [action] = client.running(tree[2], "t")
    client.answer(action, "ERROR", output={"k": 0})
    client.run(run, "ERROR")
    client.rerun(client.task(tree[2], "t")["id"])
    headers = [client.run(id, "RUNNING") for id in tree]
    assert [header["state_info"] for header in headers] == [None] * 3
    [again] = client.running(tree[2], "t")
    client.answer(again, output={"k": 7})
    client.run(run, "SUCCESS")
    middle = client.get(f"/v2/executions/{tree[1]}")
    assert json.loads(middle["output"]) == {"r": {"k": {"k": 7}}}


def test_a_storm_of_pause_and_resume(client: Client, pool: ThreadPoolExecutor) -> None:
    """Whatever comes first, the run can be brought to its end, and once."""
    runs = [client.start("held") for _ in range(4)]
    actions = {run: client.running(run, "h")[0] for run in runs}
    asked: list[Future[Any]] = []
    for run in runs:
        for state in ("PAUSED", "RUNNING", "PAUSED", "RUNNING"):
            asked.append(
                pool.submit(client, "PUT", f"/v2/executions/{run}", {"state": state})
            )
        asked.append(pool.submit(client.answer, actions[run]))
    for each in asked:
        each.result(SECONDS)
    for run in runs:
        if client.run(run, "PAUSED", *ENDS)["state"] == "PAUSED":
            client.state(run, state="RUNNING")
        client.run(run, "SUCCESS")
        assert client.names(run) == ["h", "z"]
