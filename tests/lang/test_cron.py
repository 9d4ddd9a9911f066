"""Cron patterns (spec/engine.md § 10.2): which moments they name."""

from __future__ import annotations

import itertools
from datetime import datetime

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from mistral.errors import BadRequest
from mistral.lang.cron import check_pattern, next_match

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
