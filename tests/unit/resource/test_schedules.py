"""Schedules in force: windows over midnight, once a year, across changes to and from summer time."""

from __future__ import annotations

import datetime as dt
import time
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerpool_operator.core.observation import ActiveSchedule
from workerpool_operator.resource import cron, schedules
from workerpool_operator.resource.scaling import Schedule
from workerpool_operator.resource.schedules import active_schedules, next_change

pytestmark = pytest.mark.unit

ROME = zoneinfo.ZoneInfo("Europe/Rome")


def schedule(start: str, end: str, zone: str = "UTC", name: str = "a") -> Schedule:
    return Schedule(name=name, start=start, end=end, time_zone=zone, min_replicas=2)


def is_active(plan: Schedule, at: dt.datetime) -> bool:
    return bool(active_schedules([plan], at))


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


CASES = [
    # from its start on, until just before its end
    ("0 8 * * *", "0 18 * * *", "UTC", "2024-05-01 07:59:59", False),
    ("0 8 * * *", "0 18 * * *", "UTC", "2024-05-01 08:00:00", True),
    ("0 8 * * *", "0 18 * * *", "UTC", "2024-05-01 17:59:59", True),
    ("0 8 * * *", "0 18 * * *", "UTC", "2024-05-01 18:00:00", False),
    # over midnight, over a weekend, over a year
    ("0 22 * * *", "0 6 * * *", "UTC", "2024-05-01 23:00", True),
    ("0 22 * * *", "0 6 * * *", "UTC", "2024-05-01 05:59", True),
    ("0 22 * * *", "0 6 * * *", "UTC", "2024-05-01 06:00", False),
    ("0 18 * * FRI", "0 8 * * MON", "UTC", "2024-05-05 12:00", True),
    ("0 18 * * FRI", "0 8 * * MON", "UTC", "2024-05-06 08:00", False),
    ("0 0 1 12 *", "0 0 7 1 *", "UTC", "2024-01-06 23:59", True),
    ("0 0 1 12 *", "0 0 7 1 *", "UTC", "2024-11-30 23:59", False),
    ("0 0 29 2 *", "0 0 1 3 *", "UTC", "2024-02-29 12:00", True),
    ("0 0 29 2 *", "0 0 1 3 *", "UTC", "2023-02-28 12:00", False),
    ("0 0 29 2 *", "0 0 30 6 *", "UTC", "2099-04-01 12:00", False),
    # a start alone counts until its end; on one moment the end wins
    ("0 8 * * *", "0 8 * * MON", "UTC", "2024-05-06 08:30", False),
    ("0 8 * * *", "0 8 * * MON", "UTC", "2024-05-07 08:30", True),
    # time zones
    ("0 8 * * 5", "0 22 * * 5", "Europe/Rome", "2024-11-29 07:00", True),
    ("0 8 * * 5", "0 22 * * 5", "Europe/Rome", "2024-11-29 06:59", False),
    ("0 8 * * 5", "0 22 * * 5", "Europe/Rome", "2024-07-05 06:00", True),
    # spring in Rome: 02:00 to 03:00 is not there on 2024-03-31; 02:30 comes at 03:00 (01:00 UTC)
    ("30 2 * * *", "0 4 * * *", "Europe/Rome", "2024-03-31 00:59:59", False),
    ("30 2 * * *", "0 4 * * *", "Europe/Rome", "2024-03-31 01:00", True),
    ("30 2 * * *", "0 4 * * *", "Europe/Rome", "2024-03-31 02:00", False),
    ("0 1 * * *", "30 2 * * *", "Europe/Rome", "2024-03-31 00:30", True),
    ("0 1 * * *", "30 2 * * *", "Europe/Rome", "2024-03-31 01:00", False),
    # autumn in Rome: 02:00 to 03:00 comes twice on 2024-10-27, from 00:00 UTC and from 01:00 UTC; the first counts
    ("30 2 * * *", "45 2 * * *", "Europe/Rome", "2024-10-27 00:29", False),
    ("30 2 * * *", "45 2 * * *", "Europe/Rome", "2024-10-27 00:30", True),
    ("30 2 * * *", "45 2 * * *", "Europe/Rome", "2024-10-27 00:50", False),
    ("30 2 * * *", "45 2 * * *", "Europe/Rome", "2024-10-27 01:35", False),
    ("30 2 * * *", "0 4 * * *", "Europe/Rome", "2024-10-27 01:15", True),
    ("30 2 * * *", "0 4 * * *", "Europe/Rome", "2024-10-27 03:00", False),
    # 02:00 of Lord Howe comes half an hour later than one would think (01:30 comes twice), and is not passed over
    ("0 */2 * * *", "30 */2 * * *", "Australia/Lord_Howe", "2024-04-06 15:29", False),
    ("0 */2 * * *", "30 */2 * * *", "Australia/Lord_Howe", "2024-04-06 15:30", True),
    # midnight that is not there (Santiago), half an hour twice (Lord Howe)
    ("0 0 * * *", "0 1 * * *", "America/Santiago", "2024-09-08 03:59", False),
    ("0 12 * * *", "45 1 * * *", "Australia/Lord_Howe", "2024-04-06 14:44", True),
    ("0 12 * * *", "45 1 * * *", "Australia/Lord_Howe", "2024-04-06 14:50", False),
    ("0 12 * * *", "45 1 * * *", "Australia/Lord_Howe", "2024-04-06 15:10", False),
]


@pytest.mark.parametrize(("start", "end", "zone", "at", "expected"), CASES)
def test_in_force(start: str, end: str, zone: str, at: str, expected: bool) -> None:
    schedules._remembered.clear()

    assert is_active(schedule(start, end, zone), utc(at)) is expected


def test_the_answer_holds_name_and_size_in_the_order_of_the_pool() -> None:
    plans = [schedule("0 8 * * *", "0 9 * * *", name=name) for name in ("b", "a")]

    assert active_schedules(plans, utc("2024-05-01 08:30")) == (
        ActiveSchedule(name="b", min_replicas=2),
        ActiveSchedule(name="a", min_replicas=2),
    )


def test_the_time_may_be_of_any_zone_but_has_to_have_one() -> None:
    plan = schedule("0 8 * * *", "0 9 * * *", "Europe/Rome")

    assert is_active(plan, dt.datetime(2024, 7, 1, 8, 30, tzinfo=ROME))
    with pytest.raises(ValueError, match="time zone"):
        active_schedules([plan], dt.datetime(2024, 7, 1, 8, 30))  # noqa: DTZ001
    assert active_schedules([], dt.datetime(2024, 7, 1, 8, 30)) == ()  # noqa: DTZ001


def test_next_change() -> None:
    plan = schedule("0 8 * * *", "0 9 * * *")

    assert next_change([plan], utc("2024-05-01 07:00")) == utc("2024-05-01 08:00")
    assert next_change([plan], utc("2024-05-01 08:00")) == utc("2024-05-01 09:00")
    assert next_change([], utc("2024-05-01 08:00")) is None


EXPRESSIONS = st.sampled_from(
    [
        "30 2 * * *",
        "45 2 * * *",
        "0 0 * * *",
        "0 3 * * *",
        "15 1,2,3 * * *",
        "0 */2 * * *",
        "*/20 * * * *",
        "5 * * * SUN",
    ]
)
ZONES = st.sampled_from(
    ["UTC", "Europe/Rome", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Africa/Cairo"]
)
MOMENTS = st.integers(0, 366 * 24 * 12).map(lambda step: utc("2024-01-01 00:00") + dt.timedelta(minutes=5 * step))
# the hours around the changes of clocks, where the mistakes live
CHANGES = st.sampled_from(
    [
        "2024-03-31 00:00",
        "2024-10-26 22:00",
        "2024-03-10 05:00",
        "2024-11-03 04:00",
        "2024-04-06 13:00",
        "2024-10-05 14:00",
        "2024-09-08 02:00",
        "2024-04-07 01:00",
    ]
).flatmap(lambda text: st.integers(0, 300).map(lambda minute: utc(text) + dt.timedelta(minutes=minute)))


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS, ZONES, MOMENTS | CHANGES)
def test_looking_back_finds_what_walking_forward_passes(text: str, zone: str, at: dt.datetime) -> None:
    moment: dt.datetime | None = at - dt.timedelta(days=9)
    last = None
    while moment and (moment := cron.soonest(text, zone, moment)) and moment <= at:
        last = moment

    assert cron.latest(text, zone, at) == last


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS, EXPRESSIONS, ZONES, MOMENTS | CHANGES, st.integers(1, 200))
def test_what_is_remembered_is_what_would_be_found(
    start: str, end: str, zone: str, at: dt.datetime, minutes: int
) -> None:
    plan = schedule(start, end, zone)
    later = at + dt.timedelta(minutes=minutes)
    active_schedules([plan], at)
    remembered = is_active(plan, later)
    schedules._remembered.clear()

    assert is_active(plan, later) is remembered


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "_MAX_REMEMBERED", 3)
    schedules._remembered.clear()
    for minute in range(10):
        is_active(schedule(f"{minute} 8 * * *", "0 9 * * *"), utc("2024-05-01 08:30"))

    assert len(schedules._remembered) == 3


def test_a_thousand_pools_are_cheap() -> None:
    plans = [[schedule(f"{n % 60} 8 * * *", "0 18 * * *", "Europe/Rome")] for n in range(1000)]
    at = utc("2024-05-01 12:00:00")
    for plan in plans:
        active_schedules(plan, at)

    began = time.perf_counter()
    for plan in plans:
        active_schedules(plan, at + dt.timedelta(seconds=1))
    assert time.perf_counter() - began < 0.25  # a few milliseconds, with room for a busy machine


def test_a_machine_without_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> zoneinfo.ZoneInfo:
        raise zoneinfo.ZoneInfoNotFoundError(name)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", missing)
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    cron.time_zone.cache_clear()

    assert cron.check_time_zone("UTC") == "UTC"
    with pytest.raises(ValueError, match="install the tzdata package, or use UTC"):
        cron.check_time_zone("Europe/Rome")


@pytest.mark.parametrize(
    "name", ["Europe", "localtime", "right/UTC", "posixrules", "/etc/localtime", "Europe/Rome ", "\0"]
)
def test_what_is_no_time_zone(name: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        cron.check_time_zone(name)


@pytest.mark.parametrize(
    "text",
    [
        "* * * *",
        "* * * * * *",
        "1,,2 * * * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "* * L-3 * *",
        "* * * * 1#6",
        "0 0 */30 2 TUE#3",
        "- * * * *",
        "* * * * L",
    ],
)
def test_what_is_no_cron_expression(text: str) -> None:
    with pytest.raises(ValueError, match="is not a cron expression"):
        cron.check_cron(text)


@given(st.text(alphabet="0123456789*/,-L#W MONJAN", max_size=20))
def test_any_text_is_a_cron_expression_or_told(text: str) -> None:
    try:
        cron.check_cron(text)
    except ValueError as error:
        assert "is not a cron expression" in str(error)  # noqa: PT017
