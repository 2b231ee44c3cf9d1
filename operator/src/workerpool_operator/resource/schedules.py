"""Which schedules are in force: a pure function of time, cheap enough to be asked each second for every pool."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from workerpool_operator.core.observation import ActiveSchedule
from workerpool_operator.resource.cron import latest, soonest
from workerpool_operator.resource.scaling import Schedule

_MAX_REMEMBERED = 65536
_FAR = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)
_LONG_AGO = dt.datetime(1, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Span:
    """A stretch of time, ``since`` <= t < ``until``, throughout which a schedule is in force or not."""

    since: dt.datetime
    until: dt.datetime
    in_force: bool


# The answer changes a few times a day and is asked for each second. What is remembered follows from its key alone, so
# the function stays one of its arguments; the oldest entry goes first when there are too many.
_remembered: dict[tuple[str, str, str], _Span] = {}


def active_schedules(schedules: Sequence[Schedule], at: dt.datetime) -> tuple[ActiveSchedule, ...]:
    """The schedules in force at ``at``, in the order of the pool.

    A schedule is in force when its latest start (at or before ``at``) is later than its latest end: from its start on,
    until just before its end; when both fall on one moment the end wins.

    Raises:
        ValueError: ``at`` has no time zone.
    """
    if not schedules:
        return ()
    if at.tzinfo is None:
        raise ValueError("the time must have a time zone")
    now = at.astimezone(dt.UTC)
    return tuple(
        ActiveSchedule(name=schedule.name, min_replicas=schedule.min_replicas)
        for schedule in schedules
        if _span(schedule, now).in_force
    )


def next_change(schedules: Sequence[Schedule], at: dt.datetime) -> dt.datetime | None:
    """When the answer of :func:`active_schedules` may change next, in UTC; None when it never does."""
    now = at.astimezone(dt.UTC)
    soon = min((_span(schedule, now).until for schedule in schedules), default=_FAR)
    return None if soon == _FAR else soon


def _span(schedule: Schedule, now: dt.datetime) -> _Span:
    key = (schedule.start, schedule.end, schedule.time_zone)
    span = _remembered.get(key)
    if span is not None and span.since <= now < span.until:
        return span
    if span is None and len(_remembered) >= _MAX_REMEMBERED:
        _remembered.pop(next(iter(_remembered)))
    span = _remembered[key] = _find_span(*key, now)
    return span


def _find_span(start: str, end: str, zone: str, now: dt.datetime) -> _Span:
    started = latest(start, zone, now) or _LONG_AGO
    ended = latest(end, zone, now) or _LONG_AGO
    in_force = started > ended
    # While in force only an end can change that, while not only a start.
    until = soonest(end if in_force else start, zone, now) or _FAR
    return _Span(since=max(started, ended), until=until, in_force=in_force)
