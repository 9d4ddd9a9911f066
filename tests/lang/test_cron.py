"""Cron patterns (spec/engine.md § 10.2): which moments they name."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from mistral.errors import BadRequest
from mistral.lang.cron import check_pattern, next_match
from mistral.lang.zones import find_zone

NOW = datetime(2026, 1, 15, 10, 17, 23, 500_000)  # a Thursday


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("* * * * *", "2026-01-15 10:18:00"),
        ("*/5 * * * *", "2026-01-15 10:20:00"),
        ("10/15 * * * *", "2026-01-15 10:25:00"),
        ("0 12 * * MON-FRI", "2026-01-15 12:00:00"),
        ("0 12 * jan,mar sun", "2026-01-18 12:00:00"),
        ("0 0 * * 7", "2026-01-18 00:00:00"),
        ("0 0 * * sat-sun", "2026-01-17 00:00:00"),
        ("0 22-4 * * *", "2026-01-15 22:00:00"),
        ("0 0 13 * 5", "2026-01-16 00:00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00:00"),
        ("0 0 L * *", "2026-01-31 00:00:00"),
        ("0 0 * * 5#3", "2026-01-16 00:00:00"),
        ("0 0 ? * MON", "2026-01-19 00:00:00"),
        # the sixth field are seconds, the seventh are years
        ("* * * * * 30", "2026-01-15 10:17:30"),
        ("* * * * * */20", "2026-01-15 10:17:40"),
        ("0 12 * * * 15", "2026-01-15 12:00:15"),
        ("0 0 1 1 * 0 2029", "2029-01-01 00:00:00"),
        ("@hourly", "2026-01-15 11:00:00"),
        ("@daily", "2026-01-16 00:00:00"),
        ("@midnight", "2026-01-16 00:00:00"),
        ("@weekly", "2026-01-18 00:00:00"),
        ("@monthly", "2026-02-01 00:00:00"),
        ("@yearly", "2027-01-01 00:00:00"),
        ("@annually", "2027-01-01 00:00:00"),
        # a range from a value to itself is that value
        ("15-15 * * * *", "2026-01-15 11:15:00"),
        ("0 9-9,12 * * *", "2026-01-15 12:00:00"),
        ("0 9-9 * * *", "2026-01-16 09:00:00"),
        ("0 0 * * sun-sun", "2026-01-18 00:00:00"),
        ("0 0 14-14/2 * *", "2026-02-14 00:00:00"),
        # valid, and never
        ("0 0 30 2 *", None),
        ("0 0 1 1 * 0 2020", None),
    ],
)
def test_next_match(pattern: str, expected: str | None) -> None:
    check_pattern(pattern)
    found = next_match(pattern, NOW)
    assert found == (None if expected is None else datetime.fromisoformat(expected))


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "* * * *",
        "* * * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "1,,2 * * * *",
        "a b c d e",
        "@reboot",
        "@every 5m",
        # hashed and random fields name no fixed moments
        "H * * * *",
        "R * * * *",
        "0 r(1-5) * * *",
        "0 0,R * * *",
        "\u0663 * * * *",
    ],
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(BadRequest, match="The specified pattern is not valid: "):
        check_pattern(pattern)


def test_a_pattern_has_an_end() -> None:
    with pytest.raises(BadRequest, match="at most 100 characters, found 101"):
        check_pattern("0 " * 50 + "0")


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    item = number.map(str) | span
    step = st.integers(1, high).map(lambda each: f"*/{each}")
    return st.just("*") | step | st.lists(item, min_size=1, max_size=3).map(",".join)


PLAIN = st.tuples(
    _field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), _field(0, 6)
)


@given(
    PLAIN,
    st.none() | _field(0, 59),
    st.datetimes(datetime(2020, 1, 1), datetime(2060, 1, 1)),
)
def test_another_library_finds_the_same(
    fields: tuple[str, ...], seconds: str | None, start: datetime
) -> None:
    """But for days of month and week given together, one of them as ``*/n``: the
    traditions differ there (decision 0018)."""
    days, weekdays = fields[2], fields[4]
    if "*" not in (days, weekdays) and "*/" in days + weekdays:
        return
    here = [*fields, seconds] if seconds else fields
    there = [seconds or "0", *fields]
    pattern = " ".join(here)
    check_pattern(pattern)
    found = []
    moment = next_match(pattern, start)
    while moment is not None and len(found) < 3:
        found.append(moment)
        moment = next_match(pattern, moment)
    try:
        expected = list(itertools.islice(CronSim(" ".join(there), start), len(found)))
    except Exception as error:
        assert "Bad day-of-month" in str(error)
        expected = []
    assert found == expected


_ODD = st.text(alphabet="0123456789*/-,#?@LWHRadefnu()", min_size=1, max_size=6)
_ODD_FIELD = _ODD | st.sampled_from(["*", "0", "L", "1W", "5#3", "L5", "h(1-3)", "R"])


@given(st.lists(_ODD_FIELD, min_size=1, max_size=8).map(" ".join))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    try:
        check_pattern(text)
    except BadRequest:
        return
    following = next_match(text, NOW)
    assert following is None or following > NOW


# -- Time zones (decision 0039) -----------------------------------------------

YEAR = datetime(2026, 1, 1), datetime(2027, 1, 1)
ZONES = ("Europe/Berlin", "America/New_York")


def _firings(pattern: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    found, moment = [], next_match(pattern, start, find_zone(zone))
    while moment is not None and moment < end:
        found.append(moment)
        moment = next_match(pattern, moment, find_zone(zone))
    return found


def _simulated(
    pattern: str, zone: str, start: datetime, end: datetime
) -> list[datetime]:
    local = start.replace(tzinfo=UTC).astimezone(find_zone(zone))
    moments = (each.astimezone(UTC) for each in CronSim(pattern, local))
    plain = (each.replace(tzinfo=None) for each in moments)
    return list(itertools.takewhile(lambda each: each < end, plain))


@pytest.mark.parametrize("zone", [*ZONES, "Africa/Casablanca"])
@pytest.mark.parametrize(
    "pattern",
    [
        "30 2 * * *",
        "0,30 2 * * *",
        "0 2,3 * * *",
        "45 1-3 * * *",
        "15 1 * * *",
        "30 1 * * SUN",
        "10-20/5 1-3 * * *",
        "0 */2 * * *",
        "59 23 L * *",
    ],
)
def test_a_year_in_a_zone_is_that_of_another_library(zone: str, pattern: str) -> None:
    assert _firings(pattern, zone, *YEAR) == _simulated(pattern, zone, *YEAR)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("pattern", ["*/15 * * * *", "* 2 * * *", "0 * * * *"])
@pytest.mark.parametrize("month", [3, 10])
def test_repeated_times_go_on_through_changes(
    zone: str, pattern: str, month: int
) -> None:
    span = datetime(2026, month, 1), datetime(2026, month + 1, 8)
    assert _firings(pattern, zone, *span) == _simulated(pattern, zone, *span)


@given(
    st.tuples(_field(0, 59), _field(0, 23)),
    st.sampled_from(ZONES),
    st.sampled_from([datetime(2026, 3, 29), datetime(2026, 10, 25)])
    | st.sampled_from([datetime(2026, 3, 8), datetime(2026, 11, 1)]),
)
def test_any_times_of_days_with_changes(
    fields: tuple[str, str], zone: str, start: datetime
) -> None:
    pattern = f"{' '.join(fields)} * * *"
    span = start, start + timedelta(hours=10)
    assert _firings(pattern, zone, *span) == _simulated(pattern, zone, *span)


@pytest.mark.parametrize(
    ("pattern", "start", "expected"),
    [
        # put forward, 02:00 to 03:00 on 29 March
        ("30 2 * * *", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        ("0,30 2 * * *", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:00"]),
        ("30 2 * * * 15", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        ("*/30 2 * * *", "2026-03-28 12:00", ["2026-03-30 00:00", "2026-03-30 00:30"]),
        # put back, 03:00 to 02:00 on 25 October
        ("30 2 * * *", "2026-10-24 12:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
        ("30 2 * * *", "2026-10-25 00:45", ["2026-10-26 01:30"]),
        ("*/30 2 * * *", "2026-10-25 00:15", ["2026-10-25 00:30", "2026-10-25 01:00"]),
        ("@hourly", "2026-10-25 00:15", ["2026-10-25 01:00", "2026-10-25 02:00"]),
        ("@daily", "2026-10-24 12:00", ["2026-10-24 22:00", "2026-10-25 23:00"]),
    ],
)
def test_changes_of_clocks_in_berlin(
    pattern: str, start: str, expected: list[str]
) -> None:
    end = datetime.fromisoformat(start) + timedelta(days=9)
    found = _firings(pattern, "Europe/Berlin", datetime.fromisoformat(start), end)
    assert [str(each)[:16] for each in found[: len(expected)]] == expected


def test_clocks_that_change_by_half_an_hour() -> None:
    """The other library leaves out 02:00 when it comes a second time."""
    span = datetime(2026, 4, 4, 12), datetime(2026, 4, 4, 18)
    found = _firings("0 */2 * * *", "Australia/Lord_Howe", *span)
    assert [str(each)[11:16] for each in found] == ["13:00", "15:30", "17:30"]


@pytest.mark.parametrize(
    "name", ["", "Berlin", "Europe/", "/etc/localtime", "../UTC", "posixrules", "é"]
)
def test_what_is_no_zone(name: str) -> None:
    with pytest.raises(BadRequest, match="Expected a time zone of the IANA database"):
        find_zone(name)
