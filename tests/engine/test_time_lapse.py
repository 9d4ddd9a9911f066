"""Schedules in time-lapse: the clock is moved through a year with changes of clocks,
while three engines take turns and some of them die. What fired is what another library
says, and nothing twice (issue 7; decision 0039)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from house import House
from rest import Service
from servers import NoServer, fresh_database
from sqlalchemy import func, select

from mistral.db import models

WORKFLOW = "version: '2.0'\nw: {tasks: {t: {action: std.noop}}}"
LEASE = 11.0
"""Seconds after which nothing of an engine that has died is its own."""


@pytest.fixture
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """The clock stands at 2020-01-02 03:04:05."""
    try:
        with fresh_database(request.param, tmp_path) as url:
            service = Service(tmp_path, url=url.render_as_string(hide_password=False))
            service.upload(WORKFLOW)
            yield service
            service.close()
    except NoServer as missing:
        pytest.skip(str(missing))


class Lapse:
    """Time goes from one due time to the next; engines take turns."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.names = itertools.count()
        self.engines = [self.new_engine() for _ in range(3)]
        self.deaths = 0

    def new_engine(self) -> Any:
        return self.house.new_engine(f"engine-{next(self.names)}")

    def run(self, until: datetime) -> None:
        for number in itertools.count(1):
            due = self.next_due()
            if due is None or due >= until:
                return
            ahead = (due - self.house.clock.now()).total_seconds()
            self.house.clock.advance(max(ahead, 0) + 0.25)
            place = number % 3
            self.crank(place, dies_at=(number % 7 == 0) + 2 * (number % 11 == 0))

    def next_due(self) -> datetime | None:
        query = select(func.min(models.outbox.c.due_at))
        with self.house.database.read() as connection:
            return connection.scalar(query)

    def crank(self, place: int, dies_at: int) -> None:
        """:param dies_at: 1: when it has taken the rows; 2 or 3: when the firing is
        committed, and nobody was told."""
        house, engine = self.house, self.engines[place]
        house.engine = engine
        engine.sweeps[0].run_once()
        if dies_at:
            if dies_at > 1:
                engine.loop.run_once(timeout=0)
            # as its process would
            engine.claims.close()
            engine.loop._own.close()
            self.engines[place] = house.engine = self.new_engine()
            self.deaths += 1
            house.clock.advance(LEASE)
            house.engine.sweeps[0].run_once()
        house.settle()


def expected(pattern: str, zone: str, start: datetime, end: datetime) -> list[str]:
    local = start.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    found = []
    for each in CronSim(pattern, local):
        moment = each.astimezone(UTC).replace(tzinfo=None)
        if moment >= end:
            break
        found.append(str(moment))
    return found


def watch(service: Service, schedules: dict[str, tuple[str, str]], days: int) -> Lapse:
    """Let time pass with these triggers, and compare what fired."""
    house = service.house
    start = house.clock.now()
    end = start + timedelta(days=days)
    ids = {}
    for name, (pattern, zone) in schedules.items():
        sent = {"name": name, "workflow_name": "w", "pattern": pattern}
        answer = service.api.post("/v2/cron_triggers", sent | {"timezone": zone})
        assert answer.status == 201, answer.body
        ids[name] = answer.json["id"]
    lapse = Lapse(house)
    lapse.run(end)
    fired: dict[str, list[str]] = {id: [] for id in ids.values()}
    for run in house.rows(models.workflow_executions):
        assert run["state"] == "SUCCESS"
        trigger = run["internals"]["triggered_by"]["id"]
        fired[trigger].append(run["params"]["cron_params"]["planned_at"])
    for name, (pattern, zone) in schedules.items():
        assert sorted(fired[ids[name]]) == expected(pattern, zone, start, end), name
    with house.database.read() as connection:
        count = connection.scalar(select(func.count()).select_from(models.cron_firings))
    assert count == sum(map(len, fired.values()))
    assert house.rows(models.poison) == []
    assert house.examined() == []
    return lapse


@pytest.mark.parametrize("service", ["sqlite"], indirect=True)
def test_a_year_in_two_zones_with_engines_that_die(service: Service) -> None:
    """2020: on Sundays clocks change on 8 and 29 March, 25 October and 1 November."""
    lapse = watch(
        service,
        {
            "berlin": ("30 2 * * SUN,WED", "Europe/Berlin"),
            "new york": ("30 1 * * SUN,TUE", "America/New_York"),
            "sundays": ("15 2 * * SUN", "America/New_York"),
            "both": ("0 2,3 29 3 *", "Europe/Berlin"),
        },
        days=366,
    )
    assert lapse.deaths > 40


@pytest.mark.parametrize(
    "service",
    [
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.services),
        pytest.param("mariadb", marks=pytest.mark.services),
    ],
    indirect=True,
)
@pytest.mark.parametrize(
    ("start", "zone"),
    [("2020-03-28", "Europe/Berlin"), ("2020-10-31", "America/New_York")],
)
def test_hours_around_a_change_of_clocks(
    service: Service, start: str, zone: str
) -> None:
    clock = service.house.clock
    clock.advance((datetime.fromisoformat(start) - clock.now()).total_seconds())
    patterns = ("*/30 * * * *", "0 */2 * * *", "15,45 1-3 * * *", "0 2 * * *")
    watch(service, {each: (each, zone) for each in patterns}, days=2)
