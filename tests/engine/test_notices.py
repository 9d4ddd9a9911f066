"""Notifications leave the engine: all of them, once taken, in order (§ 10.8)."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from cells import SERVERS, SQLITE, Cell
from house import CALLER, House

from mistral.clock import SystemClock
from mistral.cmd.db_manage import main
from mistral.db import models, notice_lanes, outbox
from mistral.engine.core.ports import Rules
from mistral.engine.notices import (
    AGAIN_SECONDS,
    FLIGHT_SECONDS,
    TOGETHER,
    Notices,
    Patience,
)
from mistral.errors import Unavailable
from mistral.messages import (
    CarryNotices,
    DeleteWorkflow,
    NoticesCarried,
    StartWorkflow,
)

EVERYWHERE = pytest.mark.parametrize("house", [SQLITE, *SERVERS], indirect=True)

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


SLOW = """
version: '2.0'
w:
  tasks:
    quick: {action: std.noop}
    slow: {action: std.sleep seconds=1, on-success: after}
    after: {action: std.sleep seconds=1}
"""


def warnings(house: House) -> list[tuple[str, str, Any]]:
    return [
        (n.publishers[0]["type"], n.data["name"], n.data["warning"]["seconds"])
        for n in house.post.notices
        if n.event == "TASK_WARNING"
    ]


def wait(house: House, seconds: int) -> None:
    """In steps, and with a look for timers that are an hour and more ahead."""
    for _ in range(seconds // 50):
        house.clock.advance(50)
        house.sweep()


@EVERYWHERE
def test_who_asks_for_it_hears_of_slow_tasks_once(house: House) -> None:
    house.upload(SLOW)
    house.hold.add("std.sleep")
    early = {"type": "early", "event_types": ["TASK_WARNING"], "slow_after": 100}
    usual = {"type": "usual", "event_types": ["TASK_WARNING", "TASK_FAILED"]}
    id = house.start("w", notify=[early, usual, {"type": "all"}])
    house.settle()
    wait(house, 200)
    assert warnings(house) == [("early", "slow", 100)]
    [notice] = [n for n in house.post.notices if n.event == "TASK_WARNING"]
    assert notice.data["state"] == "RUNNING"
    assert notice.data["warning"] == {
        "code": "slow-task",
        "text": "The task slow has not ended 100 seconds after its start.",
        "seconds": 100,
    }
    house.engine = house.new_engine("two")
    wait(house, 600)
    assert warnings(house) == [("early", "slow", 100), ("usual", "slow", 600)]
    house.finish(house.running.pop())
    house.settle()
    wait(house, 50)
    house.finish(house.running.pop())
    house.settle()
    assert house.header(id)["state"] == "SUCCESS"
    wait(house, 800)
    assert len(warnings(house)) == 2
    assert house.rows(models.outbox) == []


def test_the_doctor_takes_no_warning_for_what_moves_a_task(house: House) -> None:
    house.upload("version: '2.0'\nw: {tasks: {t: {wait-before: 90}}}")
    house.start("w", notify=[{"type": "x", "event_types": ["TASK_WARNING"]}])
    house.settle()
    assert house.examined() == []
    timers = house.rows(models.outbox, kind="Woke")
    moving = [row["id"] for row in timers if row["payload"]["key"] != "slow"]
    with house.database.begin() as connection:
        outbox.remove(connection, moving)
    assert sorted(said.split(":")[0] for said in house.examined()) == [
        "run-stuck",
        "task-without-timer",
    ]


ADVISED = """
version: '2.0'
outer:
  output: {x: <% $.x %>}
  tasks:
    t: {action: std.noop, publish: {x: 1}, on-success: s}
    s: {workflow: inner}
inner:
  output: {y: <% $.nobody %>}
  tasks: {t: {action: std.noop}}
fine:
  output: {x: <% $.x %>}
  tasks: {t: {action: std.noop, publish: {x: 1}}}
"""


def advised(house: House) -> list[Any]:
    return [n for n in house.post.notices if n.event == "WORKFLOW_WARNING"]


def test_who_asks_for_it_hears_of_advice_at_the_start(house: House) -> None:
    house.upload(ADVISED)
    asks = {"type": "x", "event_types": ["WORKFLOW_WARNING", "WORKFLOW_FAILED"]}
    for name in ("fine", "outer"):
        house.start(name, notify=[asks, {"type": "all"}])
        house.settle()
    assert advised(house) == [], "of what the root's own text says, and that is fine"
    house.start("inner", notify=[asks, {"type": "all"}])
    house.settle()
    [notice] = advised(house)
    assert notice.publishers == (asks,)
    assert notice.data["warning"]["code"] == "advice"
    [piece] = notice.data["warning"]["advice"]
    assert piece["rule"] == "LINT-11"
    assert piece["path"] == "inner.output.y"
    assert "nobody" in piece["message"]


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
    for kind in ("own", "global"):
        mine = [n for n in house.post.notices if n.publishers == ({"type": kind},)]
        assert sorted((n.data["name"], n.event) for n in mine) == sorted(ALL)
    assert house.header(id)["params"]["notify"] == [{"type": "own"}, {"type": "global"}]
    house.close()


def notify(house: House, *kinds: str) -> str:
    return start(house, [{"type": kind} for kind in kinds])


def numbers(house: House, run_id: str, kind: str) -> list[int]:
    """Of what a publisher of a run has taken."""
    return [
        n.number
        for n in house.post.notices
        if n.run_id == run_id and n.publishers[0]["type"] == kind
    ]


def waiting(house: House) -> list[dict[str, Any]]:
    return house.rows(models.outbox, kind=outbox.NOTICE)


def give_all_up(house: House) -> None:
    """More than a day goes by."""
    for _ in range(30):
        house.clock.advance(4000)
        house.sweep()


@EVERYWHERE
def test_who_does_not_take_waits_alone(house: House) -> None:
    """The workflow, other runs and other publishers of the run go on."""
    house.upload(TREE)
    house.post.refused = {"bad"}
    id = notify(house, "bad", "good")
    assert house.header(id)["state"] == "SUCCESS", "the workflow is not concerned"
    assert numbers(house, id, "good") == [1, 2, 3, 4, 5, 6, 7]
    assert numbers(house, id, "bad") == []
    other = notify(house, "good")
    assert numbers(house, other, "good") == [1, 2, 3, 4, 5, 6, 7]
    house.post.refused.clear()
    house.advance(60)
    house.sweep()
    assert numbers(house, id, "bad") == [1, 2, 3, 4, 5, 6, 7]
    assert waiting(house) == []
    assert house.examined() == []


def test_offers_become_rarer_and_an_engine_that_comes_goes_on_counting(
    house: House,
) -> None:
    house.upload(TREE)
    house.post.refused = {"bad"}
    notify(house, "bad")
    first = waiting(house)[0]["id"]
    offers = []
    began = house.clock.monotonic()
    for second in range(700):
        if second == 100:
            house.engine = house.new_engine("two")
        before = next(row for row in waiting(house) if row["id"] == first)
        house.clock.advance(1)
        house.sweep()
        [after] = [row for row in waiting(house) if row["id"] == first]
        if after["attempts"] > before["attempts"]:
            offers.append(house.clock.monotonic() - began)
    steps = [round(b - a) for a, b in itertools.pairwise(offers)]
    # up to two seconds early, as sweeps look ahead
    for step, expected in zip(steps, (10, 20, 40, 80, 160), strict=False):
        assert expected - 3 <= step <= expected
    assert 6 <= len(offers) <= 8
    assert house.examined() == []


def test_a_refusal_is_not_followed_by_another_at_once(tmp_path: Path) -> None:
    """Not even where sweeps would find the row soon, nor when more is written."""
    house = House(tmp_path)
    house.patience = Patience(first=1)
    house.engine = house.new_engine("one")
    house.upload("version: '2.0'\nw: {tasks: {t: {action: std.sleep seconds=1}}}")
    house.hold.add("std.sleep")
    house.post.refused = {"bad"}
    house.start("w", notify=[{"type": "bad"}])
    house.settle()
    assert [row["attempts"] for row in waiting(house)][:1] == [1]
    house.finish(house.running.pop())
    house.settle()
    assert sorted(row["attempts"] for row in waiting(house)) == [0, 0, 0, 1]
    house.advance(1)
    house.sweep()
    assert sorted(row["attempts"] for row in waiting(house)) == [0, 0, 0, 2]
    house.close()


def test_what_is_behind_is_not_due_again_and_again(house: House) -> None:
    house.upload(TREE)
    house.post.refused = {"bad"}
    notify(house, "bad")
    assert len(waiting(house)) > 7
    now = house.clock.now()
    assert all(row["due_at"] > now for row in waiting(house))
    house.clock.advance(20)
    house.sweep()
    now = house.clock.now()
    assert all(row["due_at"] > now for row in waiting(house))


def test_after_its_time_a_refusal_is_the_last_and_is_kept(house: House) -> None:
    """With what follows: each is offered, so that none is given up unheard."""
    house.upload(TREE)
    house.post.refused = {"bad"}
    id = notify(house, "bad")
    give_all_up(house)
    assert waiting(house) == []
    kept = house.rows(models.poison)
    assert len(kept) == len(ALL)
    assert {row["error"] for row in kept} == {"answered 500"}
    said = house.examined()
    assert len(said) == len(ALL)
    assert said[0].startswith("notification-not-taken: A publisher never took")
    assert house.header(id)["state"] == "SUCCESS"


@EVERYWHERE
def test_operators_send_again_what_was_given_up(house: House) -> None:
    house.upload(TREE)
    house.post.refused = {"bad"}
    id = notify(house, "bad")
    give_all_up(house)
    house.post.refused.clear()
    with house.database.begin() as connection:
        now = house.database.now(connection)
        found = notice_lanes.given_up(connection, 100, run_id=id)
        assert len(found) == 7
        [one] = notice_lanes.given_up(connection, 1, run_id=id, after=found[0]["id"])
        assert one["id"] == found[1]["id"]
        again = notice_lanes.send_again(connection, [r["id"] for r in found], now)
        assert again == 7
    house.sweep()
    assert numbers(house, id, "bad") == [1, 2, 3, 4, 5, 6, 7]
    assert waiting(house) == []
    assert len(house.rows(models.poison)) == len(ALL) - 7


def test_nothing_is_sent_again_of_what_is_gone(house: House) -> None:
    house.upload(TREE)
    house.post.refused = {"bad"}
    id = notify(house, "bad")
    give_all_up(house)
    house.ask(DeleteWorkflow(run_id=id, request_id="d", context=CALLER.to_dict()))
    with house.database.begin() as connection:
        now = house.database.now(connection)
        found = notice_lanes.given_up(connection, 100, run_id=id)
        ids = [row["id"] for row in found]
        assert ids and notice_lanes.send_again(connection, ids, now) == 0
        assert notice_lanes.forget(connection, ids) == len(ids)


def test_what_the_broker_does_not_take_goes_out_when_it_is_back(house: House) -> None:
    house.upload(TREE)
    house.post.refused = {"all"}
    id = notify(house, "x")
    assert house.header(id)["state"] == "SUCCESS"
    assert house.post.notices == []
    assert all(row["attempts"] == 0 for row in waiting(house))
    house.post.refused.clear()
    house.advance(AGAIN_SECONDS)
    assert numbers(house, id, "x") == [1, 2, 3, 4, 5, 6, 7]
    assert waiting(house) == []


@EVERYWHERE
def test_what_is_not_answered_is_sent_again(house: House) -> None:
    """A notifier died with it, or the broker lost it."""
    house.upload(TREE)
    id = house.start("w", notify=[{"type": "x"}])
    house.turn()
    assert house.engine.deliver.notices.send_waiting() > 0
    house.post.notices_sent.clear()
    house.settle()
    assert numbers(house, id, "x") == []
    house.clock.advance(FLIGHT_SECONDS)
    house.sweep()
    assert numbers(house, id, "x")[:3] == [1, 2, 3]


def test_a_late_answer_counts(house: House) -> None:
    house.upload(TREE)
    house.start("w", notify=[{"type": "x"}])
    house.turn()
    house.engine.deliver.notices.send_waiting()
    late = house.post.notices_sent.popleft()
    house.clock.advance(FLIGHT_SECONDS)
    house.sweep()
    before = len(waiting(house))
    house.engine.result(NoticesCarried(taken=late.ids, refused=""))
    assert len(waiting(house)) == before


def test_what_waits_for_the_broker_goes_out_when_it_tells_that_it_is_back(
    house: House,
) -> None:
    """Time stands still, so nothing would be tried again by itself."""
    tried: SimpleQueue[CarryNotices] = SimpleQueue()

    def refuse(notices: CarryNotices) -> None:
        tried.put(notices)
        raise Unavailable("The broker is away.")

    house.upload(TREE)
    house.post.refused = {"all"}
    notify(house, "x")
    rows = waiting(house)
    notices = Notices(house.database, refuse, house.clock)
    notices.add(rows[0])
    assert notices.send_waiting() == 0
    assert tried.get(timeout=20)
    thread = threading.Thread(target=notices.run)
    thread.start()
    notices.retry()
    assert tried.get(timeout=20)
    notices.end()
    thread.join(20)


@EVERYWHERE
def test_one_message_has_no_more_than_so_many(house: House) -> None:
    names = " ".join(f"t{n}" for n in range(TOGETHER))
    tasks = "".join(f"\n    {name}: {{action: std.noop}}" for name in names.split())
    house.upload(f"version: '2.0'\nw:\n  tasks:{tasks}")
    id = house.start("w", notify=[{"type": "x"}])
    house.turn()
    house.engine.deliver.notices.send_waiting()
    [sent] = house.post.notices_sent
    assert len(sent.ids) == TOGETHER
    house.carry_notices()
    house.settle()
    count = 2 + 2 * TOGETHER
    assert numbers(house, id, "x") == list(range(1, count + 1))


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
    assert sorted(told(house)) == sorted(ALL)
    assert waiting(house) == []


@EVERYWHERE
def test_two_engines_keep_the_order_of_a_run(house: House) -> None:
    """The second has what comes later, and waits for the first."""
    house.upload(TREE)
    id = house.start("w", notify=[{"type": "x"}])
    first, second = house.engine, house.new_engine("two")
    first.deliver.notices.send_waiting()
    kept = house.post.notices_sent.popleft()
    house.engine = second
    house.clock.advance(11)
    house.sweep()
    assert numbers(house, id, "x") == []
    first.result(house.post.carry(kept))
    first.deliver.notices.send_waiting()
    house.carry_notices(first)
    house.settle()
    assert numbers(house, id, "x") == sorted(numbers(house, id, "x"))
    assert len(numbers(house, id, "x")) >= 3


def test_operators_see_send_again_and_forget(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mistral.conf"
    file.write_text(f"[database]\nconnection = {house.database.url}\n")

    def manage(*words: str) -> tuple[int, str]:
        code = main(["--config-file", str(file), "notifications", *words])
        said = capsys.readouterr()
        return code, (said.out + said.err).strip()

    house.upload(TREE)
    assert manage() == (0, "0 found")
    house.post.refused = {"bad"}
    entry = {"type": "bad", "url": "https://u:secret@example.org/", "token": "secret"}
    id = start(house, [entry])
    give_all_up(house)
    code, said = manage("--execution", id)
    assert code == 0 and said.endswith("7 found")
    assert f"execution={id} WORKFLOW_LAUNCHED bad: answered 500" in said
    assert "secret" not in said
    found = json.loads(manage("--json")[1])["notifications"]
    assert len(found) == len(ALL)
    code, said = manage("--send-again")
    assert code == 1 and "Say which" in said
    known = found[0]["id"]
    for way in ("--send-again", "--forget", "--json"):
        code, said = manage("nosuch", known, "other", way)
        assert code == 1, way
        assert said == (
            "mistral-db-manage: No notification nosuch, other is kept; nothing is done."
        )
    code, said = manage(known, "--execution", "another", "--forget")
    assert code == 1 and f"No notification {known} of execution another" in said
    assert len(json.loads(manage("--json")[1])["notifications"]) == len(ALL)
    first, *others = sorted(each["id"] for each in found if each["execution_id"] == id)
    assert manage(first, "--send-again") == (0, "1 are sent again")
    assert manage(others[0], "--forget") == (0, "1 are forgotten")
    house.post.refused.clear()
    # the command has the time of the world
    real = SystemClock().now() - house.clock.now()
    house.clock.advance(max(0.0, real.total_seconds()) + 3600)
    house.sweep()
    assert numbers(house, id, "bad") == [1]
    assert manage("--all", "--send-again") == (0, "11 are sent again")
    house.sweep()
    assert numbers(house, id, "bad") == [1, 3, 4, 5, 6, 7]
    assert manage()[1] == "0 found"
    assert house.examined() == []


@pytest.fixture
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    cell: Cell = getattr(request, "param", SQLITE)
    with cell.world(House, tmp_path) as house:
        yield house
