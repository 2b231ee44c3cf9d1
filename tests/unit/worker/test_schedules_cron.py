from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool_worker.schedules.cron import check_cron, check_time_zone, next_due_s

pytestmark = pytest.mark.unit

ROME = zoneinfo.ZoneInfo("Europe/Rome")
EXPRESSIONS = ("* * * * *", "*/5 * * * *", "17 3 * * *", "30 2 * * *", "0 0 29 2 *", "0 9 * * MON-FRI", "0 0 L * *")
ZONES = ("UTC", "Europe/Rome", "Australia/Lord_Howe", "America/New_York", "Asia/Kathmandu")


def at(text: str, zone: dt.tzinfo = ROME) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def due(cron: str, zone: str, now_s: float) -> str:
    found = next_due_s(cron, zone, now_s)
    assert found is not None
    return dt.datetime.fromtimestamp(found, dt.UTC).strftime("%Y-%m-%d %H:%M")


def test_times_are_those_of_the_zone() -> None:
    now = at("2026-06-01T10:00", dt.UTC)
    assert due("0 3 * * *", "Europe/Rome", now) == "2026-06-02 01:00"
    assert due("0 3 * * *", "UTC", now) == "2026-06-02 03:00"


def test_a_time_that_clocks_skip_comes_right_after_the_gap() -> None:
    # On 29 March 2026 it is 03:00 in Rome right after 01:59.
    assert due("30 2 * * *", "Europe/Rome", at("2026-03-29T00:00")) == "2026-03-29 01:00"
    assert due("30 2 * * *", "Europe/Rome", at("2026-03-29T03:00")) == "2026-03-30 00:30"


def test_a_time_that_clocks_show_twice_comes_once() -> None:
    # On 25 October 2026 02:30 comes twice in Rome: at 00:30 and 01:30 UTC.
    assert due("30 2 * * *", "Europe/Rome", at("2026-10-25T00:00")) == "2026-10-25 00:30"
    first = dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC).timestamp()
    assert due("30 2 * * *", "Europe/Rome", first) == "2026-10-26 01:30"
    assert due("30 2 * * *", "Europe/Rome", first + 3600) == "2026-10-26 01:30"


@pytest.mark.parametrize("now_s", [1_000_000_020.0, 1_000_000_020.4])
def test_what_is_due_this_moment_is_not_the_next(now_s: float) -> None:
    assert next_due_s("* * * * *", "UTC", now_s) == 1_000_000_080
    assert next_due_s("* * * * *", "UTC", 1_000_000_019.999) == 1_000_000_020


@given(st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES), st.integers(1_577_836_800, 1_893_456_000))
def test_the_next_is_later_and_nothing_lies_between(cron: str, zone: str, now_s: int) -> None:
    found = next_due_s(cron, zone, now_s)
    assert found is not None
    assert found > now_s
    assert found % 60 == 0
    # Whoever asks at any time in between gets the same answer: many workers, one occurrence.
    for part in (0.25, 0.5, 0.999):
        assert next_due_s(cron, zone, now_s + (found - now_s) * part) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("* * * *", "it has 4 fields, not five"),
        ("61 * * * *", "minute 61 must be 0 to 59"),
        ("0 0 30 2 *", "no such day ever comes"),
        ("0 0 * JANUARY *", "month JANUARY must be 1 to 12 or JAN to DEC"),
        ("@daily", "it has 1 fields, not five"),
    ],
)
def test_a_wrong_expression_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="is not a cron expression") as refused:
        check_cron(text)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [("Europe/Rom", "did you mean Europe/Rome?"), ("qqqqqq", "IANA name"), ("posix/UTC", "is not a time zone")],
)
def test_a_wrong_time_zone_is_refused(name: str, says: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone") as refused:
        check_time_zone(name)
    assert says in str(refused.value)
