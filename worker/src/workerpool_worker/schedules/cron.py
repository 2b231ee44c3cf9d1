"""Cron expressions and time zones, with errors that say which field is wrong.

An expression has the five fields of Debian's cron and names times on the clock on the wall. Those that a change to
summer time skips happen right after the gap; those that the clock shows twice in autumn happen the first time only.
"""

from __future__ import annotations

import datetime as dt
import difflib
import zoneinfo
from functools import lru_cache

from cronsim import CronSim, CronSimError

_FIELDS = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day-of-month", "1 to 31, L or LW"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day-of-week", "0 to 7 or SUN to SAT"),
)
_NOT_PLACES = ("posix/", "right/", "localtime", "posixrules", "Factory")
_PROBE = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def check_cron(text: str) -> str:
    """Check a cron expression.

    Raises:
        ValueError: it has the wrong number of fields, a field is wrong (it is named), or it never happens.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        shape = "minute hour day-of-month month day-of-week"
        raise ValueError(f'"{text}" is not a cron expression: it has {len(fields)} fields, not five ({shape})')
    for index, (name, values) in enumerate(_FIELDS):
        alone = ["*"] * len(_FIELDS)
        alone[index] = fields[index]
        if not _is_readable(" ".join(alone)):
            raise ValueError(f'"{text}" is not a cron expression: {name} {fields[index]} must be {values}')
    if not _is_readable(text) or next(CronSim(text, _PROBE), None) is None:
        raise ValueError(f'"{text}" is not a cron expression: no such day ever comes')
    return text


def check_time_zone(name: str) -> str:
    """Check the IANA name of a time zone.

    Raises:
        ValueError: there is no such zone; the nearest is named.
    """
    try:
        time_zone(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = {zone.casefold(): zone for zone in zoneinfo.available_timezones()}
        close = difflib.get_close_matches(name.casefold(), known, n=1)
        hint = f"; did you mean {known[close[0]]}?" if close else " (use an IANA name such as Europe/Rome)"
        raise ValueError(f'"{name}" is not a time zone{hint}') from error
    return name


@lru_cache(maxsize=64)
def time_zone(name: str) -> dt.tzinfo:
    """Look a zone up. UTC needs no database.

    Raises:
        ZoneInfoNotFoundError, ValueError, OSError: there is none of this name.
    """
    if name == "UTC":
        return dt.UTC
    if name.startswith(_NOT_PLACES):
        raise ValueError(name)
    return zoneinfo.ZoneInfo(name)


def next_due_s(text: str, zone: str, now_s: float) -> int | None:
    """The first time after `now_s` that a valid expression names, Unix seconds; None when there is none in 50 years."""
    now = dt.datetime.fromtimestamp(now_s, dt.UTC)
    # Without its zone: cronsim's own arithmetic of zones skips times where clocks move by half an hour (Lord Howe).
    # A second back: a time in the fraction of a second that is cut off here would be taken for one that has been.
    wall_now = now.astimezone(time_zone(zone)).replace(tzinfo=None, microsecond=0) - dt.timedelta(seconds=1)
    for wall in CronSim(text, wall_now):
        moment = _moment(wall, zone)
        if moment > now:
            return int(moment.timestamp())
    return None


def _moment(wall: dt.datetime, zone: str) -> dt.datetime:
    """When clocks first show a time, in UTC; for a time that they skip, the first moment after the gap."""
    tz = time_zone(zone)
    while True:
        moment = wall.replace(tzinfo=tz, fold=0).astimezone(dt.UTC)
        if moment.astimezone(tz).replace(tzinfo=None) == wall:
            return moment
        wall += dt.timedelta(minutes=1)


def _is_readable(text: str) -> bool:
    try:
        CronSim(text, _PROBE)
    except (CronSimError, AssertionError, ValueError):  # its parser asserts here and there
        return False
    return True
