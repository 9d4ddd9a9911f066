"""Acceptance over REST, third part: eight clients that do not wait for each other.

Whatever they ask at the same time is done or refused (never a 5xx), and what
came of it is one of the outcomes that the specification allows. All of it in a
namespace, over an ad-hoc action whose base is ``std.async_noop``.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from servers import NoServer
from system.client import SECONDS, Client
from system.processes import ENDS, Cluster, running_cluster, until

pytestmark = [pytest.mark.services, pytest.mark.system]

WORKFLOWS = Path(__file__).parent / "acceptance" / "hurry.yaml"
V = "version: '2.0'\n"
ASK = "ask: {input: [{q: null}], base: std.async_noop, output: {got: <% $ %>}}"
SPACE = "hurry"
EIGHT = range(8)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        with running_cluster("postgresql", tmp_path_factory.mktemp("hurry")) as made:
            yield made
            assert made.tracebacks() == []
    except NoServer as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> Client:
    asked = Client(cluster)
    for kind, text in (("actions", V + ASK), ("workflows", WORKFLOWS.read_text())):
        status, answer = asked("POST", f"/v2/{kind}?namespace={SPACE}", text)
        assert status == 201, answer
    return asked


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def start(client: Client, name: str, **more: Any) -> str:
    return client.start(name, workflow_namespace=SPACE, **more)


def put(client: Client, run: str, **asked: Any) -> int:
    return client("PUT", f"/v2/executions/{run}", asked)[0]


def finish(client: Client, run: str) -> dict[str, Any]:
    """Resume what is paused and answer what is asked until the run has ended."""

    def over() -> bool:
        tree = client.get(f"/v2/executions/{run}/executions")["executions"]
        for row in tree:
            if row["state"] == "PAUSED":
                put(client, row["id"], state="RUNNING")
            if row["state"] in ENDS:
                continue
            for task in client.tasks(row["id"]):
                path = f"/v2/tasks/{task['id']}/action_executions"
                for action in client.get(path)["action_executions"]:
                    if action["state"] in ("RUNNING", "PAUSED"):
                        client.answer(action["id"], output={"n": 1})
        return all(row["state"] in ENDS for row in tree)

    until(over, SECONDS, f"{run} has ended")
    return client.run(run, *ENDS)


def settled(client: Client, run: str) -> list[dict[str, Any]]:
    """Its tasks when all are over (ENG-074)."""

    def found() -> Any:
        rows = client.tasks(run)
        done = (*ENDS, "SKIPPED")
        return (rows,) if all(row["state"] in done for row in rows) else None

    [rows] = until(found, SECONDS, f"all tasks of {run} are over")
    return list(rows)


def test_paused_and_resumed_as_soon_as_it_is_started(
    client: Client, pool: ThreadPoolExecutor
) -> None:
    """ENG § 7.3, § 7.4: every task once, whenever the pause came."""

    def one(number: int) -> str:
        run = start(client, "chain")
        for _ in range(number % 4 + 1):
            assert put(client, run, state="PAUSED") == 200
            assert put(client, run, state="RUNNING") == 200
        return run

    for run in pool.map(one, range(12)):
        ended = finish(client, run)
        assert ended["state"] == "SUCCESS", ended["state_info"]
        assert client.names(run) == ["a", "b", "c", "d", "j", "z"]
        assert json.loads(ended["output"]) == {"a": {"n": 1}, "b": 1}


def test_cancelled_as_soon_as_it_is_started(
    client: Client, pool: ThreadPoolExecutor
) -> None:
    """ENG § 7.2, ENG-068, ENG-074."""

    def one(name: str) -> str:
        run = start(client, name)
        assert put(client, run, state="CANCELLED", state_info="at once") == 200
        return run

    for run in pool.map(one, ["chain", "family", "items"] * 4):
        tree = client.get(f"/v2/executions/{run}/executions")["executions"]
        for row in tree:
            ended = client.run(row["id"], "CANCELLED")
            assert ended["state_info"] == "at once"
            settled(client, row["id"])
        before = client.names(run)
        assert client.names(run) == before


def test_deleted_as_soon_as_it_is_started(
    client: Client, pool: ThreadPoolExecutor
) -> None:
    """ENG § 7.10: nothing of it is left, and nothing comes back."""

    def one(name: str) -> str:
        run = start(client, name)
        status, answer = client("DELETE", f"/v2/executions/{run}?force=true")
        assert status == 204, answer
        return run

    runs = list(pool.map(one, ["family", "items", "chain"] * 3))

    def gone() -> bool:
        for run in runs:
            assert client("GET", f"/v2/executions/{run}")[0] == 404
            below = client.get(f"/v2/executions?root_execution_id={run}")
            tasks = client.get(f"/v2/tasks?workflow_execution_id={run}")
            if below["executions"] or tasks["tasks"]:
                return False
        return True

    until(gone, SECONDS, "nothing is left of what was deleted")


@pytest.mark.parametrize("asked", ["rerun", "skip", "both"])
def test_one_of_eight_reruns_or_skips_counts(
    client: Client, pool: ThreadPoolExecutor, asked: str
) -> None:
    """ENG § 7.6, § 7.7: the task is in ERROR for one of them alone."""
    run = start(client, "fails")
    client.answer(client.running(run, "h")[0], "ERROR")
    client.run(run, "ERROR")
    path = f"/v2/tasks/{client.task(run, 'h')['id']}"
    bodies: dict[str, dict[str, Any]] = {
        "rerun": {"state": "RUNNING", "reset": True},
        "skip": {"state": "SKIPPED"},
    }
    words = ["rerun", "skip"] * 4 if asked == "both" else [asked] * 8
    found = list(pool.map(lambda word: client("PUT", path, bodies[word])[0], words))
    assert sorted(found) == [200] + [400] * 7
    ended = finish(client, run)
    assert ended["state"] == "SUCCESS"
    won = words[found.index(200)]
    state = {task["name"]: task["state"] for task in settled(client, run)}
    assert state == {"h": "SUCCESS" if won == "rerun" else "SKIPPED", "z": "SUCCESS"}
    assert len(client.actions(run, "h")) == (2 if won == "rerun" else 1)


@pytest.mark.parametrize("state", ["CANCELLED", "ERROR", "PAUSED"])
def test_eight_ask_for_the_same_state(
    client: Client, pool: ThreadPoolExecutor, state: str
) -> None:
    """ENG § 7.2, § 7.3: all are content, and the first has the word."""
    run = start(client, "family")
    client.tree(run, 5)
    asked = [{"state": state, "state_info": str(n)} for n in EIGHT]
    assert set(pool.map(lambda body: put(client, run, **body), asked)) == {200}
    found = client.run(run, state)
    if state == "PAUSED":
        assert finish(client, run)["state"] == "SUCCESS"
        return
    assert found["state_info"] in {str(n) for n in EIGHT}
    assert json.loads(found["output"])["result"] == found["state_info"]
    if state == "CANCELLED":
        shown = {client.run(id, state)["state_info"] for id in client.tree(run, 5)}
        assert shown == {found["state_info"]}


def test_no_value_of_an_environment_is_lost(
    client: Client, pool: ThreadPoolExecutor
) -> None:
    """ENG § 7.5, § 13.6: eight add a value at the same time."""
    run = start(client, "ask1", params={"env": {"deep": {"first": 1}}})
    client.state(run, state="PAUSED")
    envs = [{f"k{n}": n, "deep": {f"d{n}": n}} for n in EIGHT]
    found = pool.map(lambda env: put(client, run, params={"env": env}), envs)
    assert set(found) == {200}
    env = json.loads(client.get(f"/v2/executions/{run}")["params"])["env"]
    deep = {"first": 1, **{f"d{n}": n for n in EIGHT}}
    assert env == {"deep": deep, **{f"k{n}": n for n in EIGHT}}


def test_branches_that_end_at_once(client: Client, pool: ThreadPoolExecutor) -> None:
    """ENG § 2.7, ENG-080, ENG-106: partial joins run once, no global is lost."""
    runs = [start(client, "branches") for _ in range(4)]
    todo = [
        (client.running(run, name)[0], "SUCCESS" if index < 4 + number % 3 else "ERROR")
        for number, run in enumerate(runs)
        for index, name in enumerate("abcdef")
    ]
    assert set(pool.map(lambda each: client.answer(*each), todo)) == {200}
    for number, run in enumerate(runs):
        good = "abcdef"[: 4 + number % 3]
        ended = client.run(run, "SUCCESS")
        shared = json.loads(ended["published_global"])
        assert shared == {
            "j": 1, "m": dict.fromkeys(good, 1), **dict.fromkeys(good, 1),
        }  # fmt: skip
        assert client.names(run) == sorted([*"abcdef", *"jkxy"])


def test_items_of_sub_workflows_that_are_answered_by_eight(
    client: Client, pool: ThreadPoolExecutor
) -> None:
    """ENG § 4: never more than three at a time, and results by index."""
    run = start(client, "items")
    most: list[int] = []

    def some_answered() -> bool:
        rows = client.get(f"/v2/executions/{run}/executions")["executions"]
        open_ = [row for row in rows[1:] if row["state"] not in ENDS]
        most.append(len(open_))

        def one(row: dict[str, Any]) -> None:
            for task in client.tasks(row["id"]):
                path = f"/v2/tasks/{task['id']}/action_executions"
                for action in client.get(path)["action_executions"]:
                    index = json.loads(row["params"])["index"]
                    client.answer(action["id"], output={"n": index * 10})

        list(pool.map(one, open_))
        return bool(rows[0]["state"] in ENDS)

    until(some_answered, SECONDS, "all items are answered")
    assert max(most) == 3
    output = json.loads(client.run(run, "SUCCESS")["output"])
    assert output == {"r": [[n, n * 10] for n in range(12)]}


def test_parts_of_a_family_are_paused_and_resumed_at_once(
    client: Client, pool: ThreadPoolExecutor
) -> None:
    """ENG § 6.3: whatever is said in whatever order, it can be brought to its end."""
    for _ in range(3):
        run = start(client, "family")
        tree = client.tree(run, 5)
        asked = [
            (id, state) for state in ("PAUSED", "RUNNING", "PAUSED") for id in tree
        ]
        found = pool.map(lambda each: put(client, each[0], state=each[1]), asked)
        assert set(found) == {200}
        assert finish(client, run)["state"] == "SUCCESS"
        for id in tree:
            assert client.run(id, "SUCCESS")["state_info"] is None
            settled(client, id)


def test_an_action_is_held_and_released_and_answered(
    client: Client, pool: ThreadPoolExecutor
) -> None:
    """ENG § 7.8: one answer counts, and the run goes on."""
    for last in ("SUCCESS", "ERROR", "CANCELLED"):
        run = start(client, "ask1")
        [action] = client.running(run, "h")
        states = ["PAUSED", "RUNNING", "PAUSED", last, "RUNNING", "PAUSED", last, last]
        found = Counter(pool.map(client.answer, [action] * 8, states))
        assert set(found) <= {200, 400}
        wanted = {"SUCCESS": "SUCCESS", "ERROR": "ERROR", "CANCELLED": "CANCELLED"}
        assert finish(client, run)["state"] == wanted[last]
        assert client.get(f"/v2/action_executions/{action}")["state"] == last


def test_a_loop_that_is_answered_at_once_and_paused_meanwhile(
    client: Client, pool: ThreadPoolExecutor
) -> None:
    """ENG § 2.12: six passes, whatever comes between them."""
    runs = [start(client, "loop") for _ in range(4)]

    def meddle(number: int) -> None:
        for state in ("PAUSED", "RUNNING"):
            put(client, runs[number % 4], state=state)

    asked = [pool.submit(meddle, n) for n in range(24)]
    ended = [finish(client, run) for run in runs]
    for each in asked:
        each.result(SECONDS)
    for run, header in zip(runs, ended, strict=True):
        assert header["state"] == "SUCCESS", header["state_info"]
        assert json.loads(header["output"]) == {"n": 6}
        assert client.names(run) == ["l"] * 6 + ["s"]


def test_definitions_come_and_go_while_others_start_them(
    client: Client, pool: ThreadPoolExecutor
) -> None:
    """REST § 8.2: one of eight makes it; a start finds it or does not."""
    text = V + "fleeting: {tasks: {t: {action: std.noop}}}"
    place = f"/v2/workflows?namespace={SPACE}"
    made = pool.map(lambda n: client("POST", place, f"{text} # {n}")[0], EIGHT)
    assert sorted(made) == [201] + [409] * 7
    changed = pool.map(lambda n: client("PUT", place, f"{text} # {n}")[0], EIGHT)
    assert set(changed) == {200}
    kept = client.get(f"/v2/workflows/fleeting?namespace={SPACE}")["definition"]
    assert kept in {f"{text} # {n}" for n in EIGHT}
    body = {"workflow_name": "fleeting", "workflow_namespace": SPACE}

    def one(number: int) -> tuple[int, Any]:
        if number == 5:
            return client("DELETE", f"/v2/workflows/fleeting?namespace={SPACE}")
        return client("POST", "/v2/executions", body)

    answers = list(pool.map(one, range(12)))
    assert {status for status, _ in answers} <= {201, 204, 404}
    for status, answer in answers:
        if status == 201:
            client.run(answer["id"], "SUCCESS")


def test_eight_copies_of_a_run_with_ids_of_their_own(
    client: Client, pool: ThreadPoolExecutor
) -> None:
    """ENG § 7.1: each id twice, from two clients, is one run."""
    source = start(client, "ask1", params={"env": {"a": 1}}, description="source")
    ids = [str(uuid.uuid4()) for _ in range(4)] * 2

    def one(id: str) -> tuple[int, Any]:
        body = {"id": id, "source_execution_id": source}
        return client("POST", "/v2/executions", body)

    answers = list(pool.map(one, ids))
    assert [status for status, _ in answers] == [201] * 8
    for id, (_, answer) in zip(ids, answers, strict=True):
        assert answer["id"] == id
        assert json.loads(answer["params"])["env"] == {"a": 1}
        assert client.names(id) == ["h"]


ASKED: dict[str, Callable[[Client, str], int]] = {
    "answer": lambda client, run: client.answer(
        client.actions(run, "h")[0]["id"], output={"n": 1}
    ),
    "cancel": lambda client, run: put(client, run, state="CANCELLED"),
    "fail": lambda client, run: put(client, run, state="ERROR", state_info="x"),
    "succeed": lambda client, run: put(client, run, state="SUCCESS"),
    "pause": lambda client, run: put(client, run, state="PAUSED"),
}


@pytest.mark.parametrize("other", [name for name in ASKED if name != "answer"])
def test_an_answer_and_an_order_at_the_same_time(
    client: Client, pool: ThreadPoolExecutor, other: str
) -> None:
    """ENG § 7.2, § 7.8: both are done or one is refused; nothing is left open."""
    for _ in range(4):
        run = start(client, "ask1")
        client.running(run, "h")
        asked = [pool.submit(ASKED[name], client, run) for name in ("answer", other)]
        found = [each.result(SECONDS) for each in asked]
        assert found[0] == 200
        # Whatever is over cannot be paused, nor succeed where it did not.
        assert found[1] in (200, 400)
        ended = finish(client, run)
        states = {"pause": {"SUCCESS"}, "cancel": {"SUCCESS", "CANCELLED"}}
        states |= {"fail": {"SUCCESS", "ERROR"}, "succeed": {"SUCCESS"}}
        assert ended["state"] in states[other]
        named = {task["name"]: task["state"] for task in settled(client, run)}
        assert named["h"] == "SUCCESS"
