"""Two clients give the same id to a new execution at the same time (ENG-177)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rows import Rows, uid
from servers import NoServer, fresh_database, make_tables
from sqlalchemy import event

from mistral.db.database import Database

RUN = uid(1)

pytestmark = pytest.mark.services


@pytest.fixture(params=["postgresql", "mariadb"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Any
) -> Iterator[Database]:
    try:
        with fresh_database(request.param, tmp_path) as url:
            database = Database(url, clock=clock)
            make_tables(database)
            yield database
            database.dispose()
    except NoServer as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("moment", range(3))
def test_an_id_is_taken_while_it_is_looked_for(
    api: Any, database: Database, bus: Any, moment: int
) -> None:
    """§ 13 row 52: it is answered or asked for again; it is never another project's.

    :param moment: statement of the request before which the other's start commits.
    """
    other = Database(database.engine.url)
    asked, taken = 0, False

    def take() -> None:
        nonlocal taken
        if not taken:
            Rows(other).run(RUN, state="SUCCESS")
        taken = True

    def comes_between(*of: Any) -> None:
        nonlocal asked
        if "workflow_executions" in of[2]:
            if asked == moment:
                take()
            asked += 1

    def start(message: Any) -> dict[str, str]:
        take()
        return {"id": message.run_id}

    bus.answer = start
    event.listen(database.engine, "before_cursor_execute", comes_between)
    answer = api.post("/v2/executions", {"id": RUN, "workflow_name": "w"})
    event.remove(database.engine, "before_cursor_execute", comes_between)
    other.dispose()
    assert (answer.status, answer.json["id"]) == (201, RUN), answer.json
