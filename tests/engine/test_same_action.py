"""Copies of a request to run an action, all with the id that its client gave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cells import CELLS, SERVERS, Cell
from house import CALLER, House

from mistral.db import models
from mistral.engine.intake import Answer
from mistral.errors import NotFound
from mistral.messages import RunAction

SECONDS = 60
COPIES = 8


def request_of(house: House, action_id: str, project: str = "p") -> RunAction:
    """Another one each time: a repeat over REST has another ``request_id``."""
    return RunAction(
        action_id=action_id,
        name="std.echo",
        input={"output": 1},
        save=True,
        request_id=house.new_id(),
        context={**CALLER.to_dict(), "project_id": project},
    )


@pytest.fixture
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    cell: Cell = request.param
    with cell.world(House, tmp_path) as house:
        yield house


@pytest.mark.parametrize("house", CELLS, indirect=True)
def test_one_turn_hears_several(house: House) -> None:
    action_id = house.new_id()
    answers = [
        house.engine.intake.put(request_of(house, action_id)) for _ in range(COPIES)
    ]
    house.settle()
    assert [a.result(0) for a in answers] == [{"id": action_id}] * COPIES
    [row] = house.rows(models.action_executions)
    assert (row["id"], row["state"]) == (action_id, "SUCCESS")
    assert house.examined() == []


@pytest.mark.parametrize("house", SERVERS, indirect=True)
def test_two_engines_hear_them_at_the_same_time(house: House) -> None:
    engines = [house.engine, house.new_engine("two")]
    for _ in range(5):
        action_id = house.new_id()
        answers: list[Answer] = []
        both = threading.Barrier(len(engines))

        def decide(engine: object, barrier: threading.Barrier = both) -> None:
            barrier.wait(SECONDS)
            while engine.loop.run_once(timeout=0):  # type: ignore[attr-defined]
                continue

        for number in range(COPIES):
            engine = engines[number % 2]
            answers.append(engine.intake.put(request_of(house, action_id)))
        threads = [threading.Thread(target=decide, args=(each,)) for each in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert [a.result(0) for a in answers] == [{"id": action_id}] * COPIES
        mine = [
            row
            for row in house.rows(models.action_executions)
            if row["id"] == action_id
        ]
        assert len(mine) == 1
    offers = [row for row in house.rows(models.outbox) if row["kind"] == "CallAction"]
    assert len(offers) == len({row["action_id"] for row in offers}) == 5
    assert house.rows(models.poison) == []
    engines[1].loop._own.close()


@pytest.mark.parametrize("house", CELLS[1:2], indirect=True)
def test_an_id_of_another_project_is_not_found(house: House) -> None:
    action_id = house.new_id()
    house.ask(request_of(house, action_id, "red"))
    with pytest.raises(NotFound):
        house.ask(request_of(house, action_id, "blue"))
    assert house.ask(request_of(house, action_id, "red")) == {"id": action_id}
