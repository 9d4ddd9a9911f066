"""One embedded service for the tests of a module: a real process on a free port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from system.embedded import Embedded, running_embedded


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The embedded size with its defaults: SQLite, everything in one process."""
    with running_embedded(tmp_path_factory.mktemp("embedded")) as service:
        yield service
