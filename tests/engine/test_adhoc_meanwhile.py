"""Ad-hoc actions that are uploaded, changed or deleted while a run goes on: its next
task means those that are there at that moment (spec/engine.md § 8.10, § 8.11)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from house import CALLER, House
from servers import NoServer, fresh_database
from sqlalchemy import delete

from mistral.db.definitions import update_actions
from mistral.db.models import actions
from mistral.db.owned import Author, Place
from mistral.engine.core.ports import Rules
from mistral.lang.parse import parse_actions

STEPS = """
version: '2.0'
w:
  tasks:
    one: {action: std.noop, on-success: two}
    two: {action: mine, on-success: three}
    three: {action: mine}
"""
MINE = """
version: '2.0'
mine: {base: std.echo, base-input: {output: WORD}}
"""


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)]
)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    try:
        with fresh_database(request.param, tmp_path) as url:
            rules = Rules(inline_actions=False)
            made = House(
                tmp_path, url=url.render_as_string(hide_password=False), rules=rules
            )
            yield made
            made.close()
    except NoServer as missing:
        pytest.skip(str(missing))


def end_next(house: House) -> str:
    """Its one offer is claimed and done; answers what it was asked to say."""
    house.engine.deliver.offers.send_waiting()
    call = house.post.offers.popleft()
    house.execute(call)
    house.turn()
    return str(call.input.get("output", call.name))


def test_an_action_that_is_uploaded_meanwhile_is_found(house: House) -> None:
    house.upload(STEPS)
    run = house.start("w")
    house.upload_actions(MINE.replace("WORD", "early"))
    assert end_next(house) == "std.noop"
    with house.database.begin() as connection:
        author = Author(CALLER, house.clock.now(), house.new_id)
        text = parse_actions(MINE.replace("WORD", "late"))
        update_actions(connection, author, text, Place())
    assert [end_next(house), end_next(house)] == ["early", "late"]
    assert house.header(run)["state"] == "SUCCESS"


def test_an_action_that_is_deleted_meanwhile_is_not(house: House) -> None:
    house.upload(STEPS)
    house.upload_actions(MINE.replace("WORD", "early"))
    run = house.start("w")
    assert [end_next(house)] == ["std.noop"]
    with house.database.begin() as connection:
        connection.execute(delete(actions))
    assert end_next(house) == "early"
    assert house.tasks(run) == {"one": "SUCCESS", "two": "SUCCESS", "three": "ERROR"}


def test_another_engine_knows_nothing_of_a_run_and_asks(house: House) -> None:
    house.upload(STEPS)
    run = house.start("w")
    house.upload_actions(MINE.replace("WORD", "early"))
    house.engine.deliver.offers.send_waiting()
    house.engine = house.new_engine("two")
    assert [end_next(house) for _ in range(3)] == ["std.noop", "early", "early"]
    assert house.header(run)["state"] == "SUCCESS"


@pytest.mark.parametrize("namespace", ["a\0b", "half \ud800"])
def test_a_namespace_that_no_action_can_have_asks_nothing(
    house: House, namespace: str
) -> None:
    house.upload(STEPS.replace("mine", "std.echo output=1"))
    run = house.start("w", namespace=namespace)
    while house.post.offers or house.engine.deliver.offers.send_waiting():
        end_next(house)
    assert set(house.tasks(run).values()) == {"SUCCESS"}
