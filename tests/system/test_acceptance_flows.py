"""Acceptance over REST, second part: whole flows, told as data.

The cases of ``acceptance/flows`` were written from the specification alone,
sentence by sentence, by somebody who had not seen how it is done. They all run
at once, eight at a time, on one API, two engines and two executors;
``flows.py`` says what may stand in them. ``TEST_CASES=mariadb`` takes another
database than PostgreSQL.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from servers import NoServer
from system.client import SECONDS, Client
from system.flows import Flow
from system.processes import Cluster, running_cluster

pytestmark = [pytest.mark.services, pytest.mark.system]

FILES = sorted((Path(__file__).parent / "acceptance" / "flows").glob("*.yaml"))
CASES = {
    f"{path.stem}: {case['case']}": case
    for path in FILES
    for case in yaml.safe_load(path.read_text())
}
DATABASE = os.environ.get("TEST_CASES", "postgresql")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        with running_cluster(DATABASE, tmp_path_factory.mktemp("flows")) as made:
            yield made
            assert made.tracebacks() == []
    except NoServer as missing:
        pytest.skip(str(missing))


def _tell(client: Client, case: dict[str, Any]) -> None:
    flow = Flow(client, case)
    flow.begin()
    flow.check()


@pytest.fixture(scope="module")
def told(
    cluster: Cluster, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[None]]]:
    """Those that are asked for, each on its way."""
    client = Client(cluster)
    wanted = {
        item.callspec.params["name"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    }
    with ThreadPoolExecutor(8) as pool:
        yield {
            name: pool.submit(_tell, client, case)
            for name, case in CASES.items()
            if name in wanted
        }


@pytest.mark.parametrize("name", CASES)
def test_flow(told: dict[str, Future[None]], name: str) -> None:
    told[name].result(len(CASES) * SECONDS)
