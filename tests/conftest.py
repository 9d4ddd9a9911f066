"""What decides about the tiers: where services are required, none is skipped.

And the databases: ``database`` gives a test one with all tables, on every
server in turn; ``empty_url`` one without tables.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from servers import KINDS, NoServer, fresh_database
from sqlalchemy import URL
from system.processes import virtual_host

from mistral.db.database import Database
from mistral.db.models import metadata

# A loaded machine is no defect: no test asserts how long something takes.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

_REQUIRED = os.environ.get("REQUIRE_SERVICES") == "1" or os.environ.get("CI") == "true"
_SERVERS = [
    pytest.param(kind, marks=() if kind == "sqlite" else pytest.mark.services)
    for kind in KINDS
]


LONGEST = ("test_interleavings", "test_deaths_of_executors", "test_deaths")
"""Files that take minutes, beside those of whole services."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no worker is left alone with it."""
    items.sort(key=_late)


def _late(item: pytest.Item) -> int:
    if item.path.stem in LONGEST:
        return LONGEST.index(item.path.stem)
    return len(LONGEST) + (item.get_closest_marker("system") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """A skipped test of the service tiers has failed where ``REQUIRE_SERVICES=1``
    (CI): a green run there has seen every database and the broker."""
    report = yield
    tiers = {"services", "system"}
    if _REQUIRED and report.skipped and tiers & {m.name for m in item.iter_markers()}:
        reason = report.longrepr
        report.outcome = "failed"
        report.longrepr = f"a service is missing, and REQUIRE_SERVICES=1: {reason}"
    return report


@pytest.fixture(scope="session")
def migrated_url(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], URL]]:
    """Gives, for a kind of server, one database with all tables per session."""
    made: dict[str, URL] = {}
    with ExitStack() as stack:

        def url(kind: str) -> URL:
            if kind not in made:
                directory = tmp_path_factory.mktemp("databases")
                fresh = _enter(stack, kind, directory)
                database = Database(fresh)
                database.create_or_upgrade()
                database.dispose()
                made[kind] = fresh
            return made[kind]

        yield url


@pytest.fixture
def open_database(
    migrated_url: Callable[[str], URL],
) -> Iterator[Callable[..., Database]]:
    """Opens the database of a kind of server, with more arguments if wanted; all
    rows are gone when the test ends."""
    opened: list[Database] = []

    def opener(kind: str, **arguments: Any) -> Database:
        opened.append(Database(migrated_url(kind), **arguments))
        return opened[-1]

    yield opener
    for database in opened:
        with database.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        database.dispose()


@pytest.fixture(params=_SERVERS)
def database(
    request: pytest.FixtureRequest, open_database: Callable[..., Database]
) -> Database:
    """A database with all tables and no rows, on each server in turn."""
    return open_database(request.param)


@pytest.fixture(params=_SERVERS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[URL]:
    """The URL of a database without tables, on each server in turn."""
    with ExitStack() as stack:
        yield _enter(stack, request.param, tmp_path)


@pytest.fixture(params=["memory", pytest.param("rabbit", marks=pytest.mark.services)])
def transport_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A transport of its own, in memory and on RabbitMQ in turn."""
    if request.param == "memory":
        yield f"memory:///{uuid.uuid4()}"
        return
    with ExitStack() as stack:
        try:
            url = stack.enter_context(virtual_host())
        except NoServer as missing:
            pytest.skip(str(missing))
        yield url


def _enter(stack: ExitStack, kind: str, directory: Path) -> URL:
    try:
        return stack.enter_context(fresh_database(kind, directory))
    except NoServer as missing:
        pytest.skip(str(missing))
