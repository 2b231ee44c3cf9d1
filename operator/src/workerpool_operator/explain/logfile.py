"""Explaining from the log of ``workerpool local --log``: the last decision about a pool, or the last before a time."""

from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workerpool_operator.explain.ask import Json, Wanted, these
from workerpool_operator.explain.errors import ExplainError, NoSuchPool
from workerpool_operator.report.explain import logged

_DAY = dt.timedelta(days=1)


def from_log(path: Path, wanted: Wanted, *, at_s: float | None, now_s: float) -> Json:
    """The explanation of the pool's last decision in the file, or of the last one until ``at_s`` (Unix seconds).

    Raises:
        NoSuchPool: The file has none.
        ExplainError: It cannot be read, or is no such file.
    """
    try:
        found = _last(path, wanted, at_s)
    except OSError as error:
        raise ExplainError(f"cannot read {path}: {error.strerror or error}") from error
    line, known = found.line, found.known
    if not known:
        what = "it is empty" if not found.lines else "none of its lines is a decision"
        raise ExplainError(f"{path} is no decision log of workerpool local --log: {what}")
    if line is None:
        when = "" if at_s is None else f" until {dt.datetime.fromtimestamp(at_s).astimezone():%Y-%m-%d %H:%M:%S}"
        raise NoSuchPool(f"{path} has no decision about {wanted}{when}; {these(sorted(known))}", known=sorted(known))
    try:
        return logged(line, now_s=now_s, change=found.change)
    except (KeyError, TypeError, ValueError) as error:
        raise ExplainError(f"{path}: the decision about {wanted} cannot be understood: {error!r}") from error


def moment_s(text: str, *, now: dt.datetime) -> float:
    """A time as people write it, in Unix seconds: those, ``2026-11-22T17:59:03`` (local) or ``17:59:03`` (the last).

    Raises:
        ValueError: It is none of these.
    """
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        if math.isfinite(seconds):
            return seconds
        raise ValueError(text)
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        moment = dt.datetime.combine(now.date(), dt.time.fromisoformat(text), tzinfo=now.tzinfo)
        return (moment if moment <= now else moment - _DAY).timestamp()


@dataclass(kw_only=True, slots=True)
class _Found:
    """The line that is asked for, the last until then that asked for another size, and what else is in the file."""

    line: dict[str, Any] | None = None
    change: dict[str, Any] | None = None
    known: set[str] = field(default_factory=set)
    lines: int = 0


def _last(path: Path, wanted: Wanted, at_s: float | None) -> _Found:
    found = _Found()
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            found.lines += 1
            line = _decision(text)
            if line is None:
                continue
            found.known.add(f"{line.get('namespace')}/{line['pool']}")
            other = line["pool"] != wanted.name or wanted.namespace not in (None, line.get("namespace"))
            if not other and (at_s is None or line["time"] <= at_s):
                found.line = line
                if line.get("current") != line.get("target"):
                    found.change = line
    return found


def _decision(text: str) -> dict[str, Any] | None:
    """A line, if it is a whole one: the last may be half written."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    whole = isinstance(line, dict) and isinstance(line.get("pool"), str) and isinstance(line.get("time"), int | float)
    return line if whole else None
