"""Traces from files: CSV, the decisions that local mode logs (``--log``), a Prometheus range as JSON."""

from __future__ import annotations

import datetime as dt
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from workerpool_operator.simulate.errors import SimulateError
from workerpool_operator.simulate.traces import Trace

BYTES_MAX = 512 * 2**20
TIME_NAMES = ("timestamp", "time", "date", "datetime", "ts", "ds", "arrival", "arrived_at", "enqueued_at")
COUNT_NAMES = ("value", "count", "jobs", "arrivals", "requests", "messages", "y")
_MILLISECONDS_FROM = 1e11
"""A number of seconds this large lies in the year 5138: it is milliseconds."""
_GAP = 1.5
"""A row whose next is further away than this many usual steps lasts one step; the rest is silence."""


def read_trace(path: Path, *, pool: str | None, mean_job_s: float) -> Trace:
    """Read a trace from a file; see :func:`~workerpool_operator.simulate.traces.load_trace`.

    Raises:
        SimulateError: it cannot be read, or a line of it cannot; the text names both.
    """
    text = _text(path)
    head = text.lstrip()[:1]
    if not head:
        raise SimulateError(f"{path}: the file is empty")
    if head != "{":
        return _csv(path, text)
    first_line = text.lstrip().splitlines()[0]
    if '"data"' in text[:4096] and '"ready"' not in first_line:
        return _prometheus(path, text)
    return _decisions(path, text, pool, mean_job_s)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > BYTES_MAX:
            raise SimulateError(f"{path}: the file is larger than {BYTES_MAX // 2**20} MiB")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SimulateError(f"{path}:{line}: this is not text in UTF-8") from None
    except OSError as error:
        raise SimulateError(f"{path}: cannot be read: {error.strerror}") from None


# -- CSV


def _csv(path: Path, text: str) -> Trace:
    rows = [(n, [cell.strip().strip('"') for cell in line.split(",")]) for n, line in enumerate(text.splitlines(), 1)]
    rows = [(n, cells) for n, cells in rows if any(cells) and not cells[0].startswith("#")]
    header: Sequence[str] = ()
    if rows and _time(rows[0][1][0]) is None:
        header = [cell.lower() for cell in rows[0][1]]
        rows = rows[1:]
    if not rows:
        raise SimulateError(f"{path}: there is no row below the header")
    time_at, count_at = _columns(path, header, len(rows[0][1]))
    if count_at is None:
        times = [_time_of(path, n, cells, time_at or 0) for n, cells in rows]
        begin_s = min(times)
        moments = tuple(sorted(at - begin_s for at in times))
        return Trace(name=path.name, moments=moments, duration_s=max(moments[-1], 1.0), begin_s=begin_s, exact=True)
    counts = [_count_of(path, n, cells, count_at) for n, cells in rows]
    if time_at is None:
        times = [float(n) for n in range(len(rows))]
    else:
        times = [_time_of(path, n, cells, time_at) for n, cells in rows]
    return replace(_windowed(path, list(zip(times, counts, strict=True))), timed=time_at is not None)


def _columns(path: Path, header: Sequence[str], width: int) -> tuple[int | None, int | None]:
    """Which column has the time and which the count; None where there is none of the kind."""
    time_at = next((n for n, name in enumerate(header) if name in TIME_NAMES), None)
    count_at = next((n for n, name in enumerate(header) if name in COUNT_NAMES), None)
    if time_at is not None or count_at is not None:
        if width > 1 and None in (time_at, count_at):
            raise SimulateError(
                f"{path}:1: name a column {', '.join(TIME_NAMES[:4])}, and one {', '.join(COUNT_NAMES[:4])}"
            )
        return time_at, count_at
    if width > 2:  # noqa: PLR2004 - of two columns, the second is the count
        raise SimulateError(f"{path}:1: {width} columns; say with a header which is timestamp and which count")
    return 0, (1 if width == 2 else None)  # noqa: PLR2004


def _time_of(path: Path, line: int, cells: Sequence[str], column: int) -> float:
    cell = cells[column] if column < len(cells) else ""
    time_s = _time(cell)
    if time_s is None:
        raise SimulateError(f"{path}:{line}: {cell[:40]!r} is no time; write Unix seconds or 2026-05-01 08:00:00")
    return time_s


def _count_of(path: Path, line: int, cells: Sequence[str], column: int) -> float:
    cell = cells[column] if column < len(cells) else ""
    try:
        count = float(cell)
    except ValueError:
        count = math.nan
    if not (math.isfinite(count) and count >= 0):
        raise SimulateError(f"{path}:{line}: {cell[:40]!r} is no number of jobs")
    return count


def _time(cell: str) -> float | None:
    """Unix seconds from a number of seconds or milliseconds, or from a date; a date without zone is taken as UTC."""
    try:
        value = float(cell)
    except ValueError:
        try:
            date = dt.datetime.fromisoformat(cell)
            return (date if date.tzinfo else date.replace(tzinfo=dt.UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    if not math.isfinite(value):
        return None
    return value / 1000 if abs(value) >= _MILLISECONDS_FROM else value


def _windowed(path: Path, rows: Iterable[tuple[float, float]], *, exact: bool = True) -> Trace:
    """Rows of (time, jobs) as windows: each lasts until the next, or a usual step where that is far away."""
    merged: dict[float, float] = {}
    for at, jobs in sorted(rows):
        merged[at] = merged.get(at, 0.0) + jobs
    times = list(merged)
    gaps = [later - at for at, later in pairwise(times)]
    step = statistics.median(gaps) if gaps else 60.0
    begin_s = times[0]
    windows = [
        (at - begin_s, gap if gap <= _GAP * step else step, merged[at])
        for at, gap in zip(times, [*gaps, step], strict=True)
    ]
    return Trace(
        name=path.name,
        windows=tuple(windows),
        duration_s=windows[-1][0] + windows[-1][1],
        begin_s=begin_s,
        rows=True,
        exact=exact and all(jobs == int(jobs) for jobs in merged.values()),
    )


# -- decisions of local mode


def _decisions(path: Path, text: str, pool: str | None, mean_job_s: float) -> Trace:
    """Arrivals from what was seen at each decision: jobs that are there more, and those that must have been done.

    Between two lines, arrivals = change of (waiting + running) + completions, and completions = running jobs x time /
    seconds a job. What comes out below 0 is carried over. It is an estimate; its sum is right where the mean is.
    """
    seen: list[tuple[float, float, float]] = []
    names: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            record = _record(path, number, line)
            names.add(str(record.get("pool")))
            if pool is not None and record.get("pool") != pool:
                continue
            try:
                at, ready, running = float(record["time"]), record["ready"], record["running"]
            except (KeyError, TypeError, ValueError):
                raise SimulateError(
                    f"{path}:{number}: this is no decision: it has no time, ready and running"
                ) from None
            if isinstance(ready, int) and isinstance(running, int):
                seen.append((at, float(ready), float(running)))
    if pool is None and len(names) > 1:
        raise SimulateError(f"{path}: it holds several pools ({', '.join(sorted(names))}): say which with --pool")
    if len(seen) < 2:  # noqa: PLR2004 - a difference needs two
        raise SimulateError(f"{path}: fewer than two decisions of pool {pool or 'any'} could be read from it")
    rows, owed = [], seen[0][1] + seen[0][2]
    for before, now in pairwise(seen):
        span_s = max(0.0, now[0] - before[0])
        owed += now[1] + now[2] - before[1] - before[2] + (before[2] + now[2]) / 2 * span_s / mean_job_s
        rows.append((before[0], max(0.0, owed)))
        owed = min(0.0, owed)
    return _windowed(path, rows, exact=False)


def _record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise SimulateError(f"{path}:{number}: this line is not JSON") from None
    if not isinstance(record, dict):
        raise SimulateError(f"{path}:{number}: this line is no decision")
    return record


# -- Prometheus


def _prometheus(path: Path, text: str) -> Trace:
    """The answer of ``/api/v1/query_range``: a counter (``..._total``), or a rate in jobs a second (nameless)."""
    try:
        answer = json.loads(text)
        series = answer["data"]["result"]
        if answer["data"].get("resultType") != "matrix":
            raise SimulateError(f"{path}: this is no range: ask /api/v1/query_range, with a step")
        rows: list[tuple[float, float]] = []
        for one in series:
            name = one.get("metric", {}).get("__name__", "")
            values = [(float(at), float(value)) for at, value in one["values"]]
            rows += _increases(path, name, [(at, value) for at, value in values if math.isfinite(value)])
    except json.JSONDecodeError as error:
        raise SimulateError(f"{path}:{error.lineno}: this is not JSON") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, SimulateError):
            raise
        raise SimulateError(f"{path}: this is not what Prometheus answers to query_range") from None
    if not rows:
        raise SimulateError(f"{path}: the range holds no values")
    return _windowed(path, rows, exact=False)


def _increases(path: Path, name: str, values: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Jobs a step: a counter's increase, where a fall is a restart from 0; a rate times the step."""
    pairs = list(pairwise(values))
    if name.endswith(("_total", "_count")):
        return [(at, new - old if new >= old else new) for (at, old), (_, new) in pairs]
    if name:
        raise SimulateError(f"{path}: {name} is no counter; ask for rate(...) of one, or for one that ends in _total")
    return [(at, rate * (later - at)) for (at, rate), (later, _) in pairs]
