"""Numbers as a person reads them: durations, counts, sizes and times of day. Pure."""

from __future__ import annotations

import datetime as dt
import re

UNKNOWN = "?"
"""Stands for a number that could not be read; never 0."""

_MINUTE_S = 60
_HOUR_S = 60 * _MINUTE_S
_DAY_S = 24 * _HOUR_S
_THOUSAND = 1_000
_EXACT_BELOW = 10_000

# C0 and C1 controls, and the marks that reorder text: a queue's error text must not move a terminal's cursor.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def duration(seconds: float | None) -> str:
    """A duration in at most two units: ``0.4 s``, ``3.2 s``, ``42 s``, ``1 m 05 s``, ``2 h 03 m``, ``4 d 07 h``.

    None gives ``?``; what a clock that was set back makes negative gives ``0.0 s``.
    """
    if seconds is None:
        return UNKNOWN
    seconds = max(0.0, seconds)
    if round(seconds, 1) < 10:  # noqa: PLR2004 - one decimal while it still means something
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} m {whole % _MINUTE_S:02d} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02d} m"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S:02d} h"


def count(number: int | None) -> str:
    """A count: exact below 10,000, then three digits and a unit (``12.3k``, ``4.56M``). None gives ``?``."""
    if number is None:
        return UNKNOWN
    if abs(number) < _EXACT_BELOW:
        return f"{number:,}"
    scaled = float(number)
    for unit in ("", "k", "M"):
        shown = f"{scaled:.3g}"
        if abs(float(shown)) < _THOUSAND:
            return f"{shown}{unit}"
        scaled /= _THOUSAND
    return f"{scaled:,.1f}G"


def plural(number: int, noun: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def clock(time_s: float, zone: dt.tzinfo | None = None) -> str:
    """The time of day of a Unix time, ``12:04:05``, in ``zone`` or, without one, in local time."""
    moment = dt.datetime.fromtimestamp(time_s, tz=dt.UTC).astimezone(zone)
    return f"{moment:%H:%M:%S}"


def printable(text: str) -> str:
    """The text with a space for what would move a terminal's cursor or reorder text."""
    return _UNPRINTABLE.sub(" ", text)


def one_line(text: str) -> str:
    """The text without line breaks and control characters: safe to print to a terminal or a line-based log."""
    return printable(text).strip()


def shorten(text: str, width: int, *, ellipsis: str = "…") -> str:
    """The text cut to ``width`` characters, with an ellipsis where something is missing."""
    if len(text) <= width:
        return text
    return text[: max(0, width - len(ellipsis))].rstrip() + ellipsis[:width]
