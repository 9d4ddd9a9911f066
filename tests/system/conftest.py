"""A service of real processes for the tests of a module, on a free port.

``TEST_SIZES=embedded,postgresql,mariadb`` runs them against a cluster of five
processes on these databases and RabbitMQ, too; by default the embedded size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from servers import NoServer
from system.cloud import Cloud, running_cloud
from system.embedded import Embedded, running_embedded
from system.processes import running_cluster

SIZES = os.environ.get("TEST_SIZES", "embedded").split(",")


@pytest.fixture(scope="module", params=SIZES)
def embedded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Embedded]:
    """By default SQLite and everything in one process."""
    home = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        with running_embedded(home) as service:
            yield service
        return
    with running_cluster(request.param, home) as cluster:
        (home / "server.log").symlink_to(home / "api.log")
        service = Embedded(home, cluster.root)
        yield service
        service.shells.close()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The embedded size behind a real Keystone."""
    try:
        with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
            yield cloud
    except NoServer as missing:
        pytest.skip(str(missing))
