"""Schedules in time-lapse: the clock is moved through a year with changes of clocks,
while three engines take turns, are restarted, die, and are all away for days. What
fired is what another library says, and nothing twice (issue 7; decision 0039).

The oracle is ``cronsim`` with the zones of Python: the service reads patterns with
another library and has its own rules for zones. What policies leave out of missed times
is said here once more, of the oracle's list alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
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

WEEK = 7 * 86_400
"""Seconds that ``all`` looks back."""

Days = tuple[datetime, datetime]
"""From when to when no engine is there."""

LATE = timedelta(seconds=60)
"""What fires later was missed (decision 0039)."""


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
    """Time goes from one due time to the next; engines take turns.

    :param away: when there is none of them.
    """

    def __init__(self, house: House, away: Sequence[Days] = ()) -> None:
        self.house = house
        self.away = away
        self.names = itertools.count()
        self.engines = [self.new_engine() for _ in range(3)]
        self.deaths = self.restarts = 0

    def new_engine(self) -> Any:
        return self.house.new_engine(f"engine-{next(self.names)}")

    def run(self, until: datetime) -> None:
        for number in itertools.count(1):
            due = self.next_due()
            if due is None or due >= until:
                return
            for begin, end in self.away:
                if begin <= due < end and self.house.clock.now() < end:
                    due = end
                    self.restart()
            ahead = (due - self.house.clock.now()).total_seconds()
            self.house.clock.advance(max(ahead, 0) + 0.25)
            place = number % 3
            if number % 17 == 0:
                self.restart()
            self.crank(place, dies_at=(number % 7 == 0) + 2 * (number % 11 == 0))

    def restart(self) -> None:
        """All of them, with nothing in hand."""
        for place in range(len(self.engines)):
            self.end(place)
        self.restarts += 1

    def end(self, place: int) -> None:
        """As its process would; another one takes its place."""
        engine = self.engines[place]
        engine.claims.close()
        engine.loop._own.close()
        self.engines[place] = self.house.engine = self.new_engine()

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
            self.end(place)
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


def caught_up(times: list[str], policy: str, away: Sequence[Days]) -> list[str]:
    """Of an oracle's list, what is left of it where nobody was there for days."""
    if policy == "all":
        return times
    left = [datetime.fromisoformat(each) for each in times]
    for begin, end in away:
        missed = [each for each in left if begin <= each < end - LATE]
        for each in missed if policy == "skip" else missed[1:]:
            left.remove(each)
    return [str(each) for each in left]


def watch(
    service: Service,
    schedules: dict[str, tuple[str, str]],
    days: int,
    policies: Mapping[str, str] = MappingProxyType({}),
    away: Sequence[Days] = (),
) -> Lapse:
    """Let time pass with these triggers, and compare what fired.

    :param policies: ``catch_up`` by trigger, where it is not the usual one.
    """
    house = service.house
    start = house.clock.now()
    end = start + timedelta(days=days)
    ids = {}
    for name, (pattern, zone) in schedules.items():
        sent = {"name": name, "workflow_name": "w", "pattern": pattern}
        sent |= {"timezone": zone, "catch_up": policies.get(name, "once")}
        answer = service.api.post(
            "/v2/cron_triggers", {**sent, "catch_up_window": WEEK}
        )
        assert answer.status == 201, answer.body
        ids[name] = answer.json["id"]
    lapse = Lapse(house, away)
    lapse.run(end)
    fired: dict[str, list[str]] = {id: [] for id in ids.values()}
    for run in house.rows(models.workflow_executions):
        assert run["state"] == "SUCCESS"
        trigger = run["internals"]["triggered_by"]["id"]
        planned = run["params"]["cron_params"]["planned_at"]
        fired[trigger].append(planned)
        _check_moment(run["created_at"], datetime.fromisoformat(planned), away)
    for name, (pattern, zone) in schedules.items():
        times = expected(pattern, zone, start, end)
        wanted = caught_up(times, policies.get(name, "once"), away)
        assert sorted(fired[ids[name]]) == wanted, name
    with house.database.read() as connection:
        table = models.cron_firings
        query = select(func.count()).where(table.c.outcome == "started")
        count = connection.scalar(query)
    assert count == sum(map(len, fired.values()))
    assert house.rows(models.poison) == []
    assert house.examined() == []
    return lapse


def _check_moment(begun: datetime, planned: datetime, away: Sequence[Days]) -> None:
    """Not before its time, and not long after somebody was there."""
    for begin, end in away:
        if begin <= planned < end:
            planned = end
    assert timedelta() <= begun - planned < LATE


@pytest.mark.parametrize("service", ["sqlite"], indirect=True)
def test_a_year_in_two_zones_with_engines_that_die(service: Service) -> None:
    """2020: on Sundays clocks change on 8 and 29 March, 25 October and 1 November.
    Nobody is there over two of these days, and for some in summer."""
    away = [
        (datetime(2020, 3, 6, 12), datetime(2020, 3, 10, 12)),
        (datetime(2020, 7, 2), datetime(2020, 7, 7, 12)),
        (datetime(2020, 10, 24, 22), datetime(2020, 10, 25, 22)),
    ]
    lapse = watch(
        service,
        {
            "berlin": ("30 2 * * SUN,WED", "Europe/Berlin"),
            "new york": ("30 1 * * SUN,TUE", "America/New_York"),
            "sundays": ("15 2 * * SUN", "America/New_York"),
            "both": ("0 2,3 29 3 *", "Europe/Berlin"),
            "skips": ("45 */8 * * SUN", "Europe/Berlin"),
            "once": ("45 */8 * * SUN", "America/New_York"),
        },
        days=366,
        policies={"berlin": "all", "new york": "all", "skips": "skip"},
        away=away,
    )
    assert lapse.deaths > 40
    assert lapse.restarts > 20


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
