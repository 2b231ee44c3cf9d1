"""Putting jobs into the outbox, in the transaction of whoever asks for them. Imports no SQLAlchemy until it is used."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from workerpool_worker.models import Job
from workerpool_worker.sending.outgoing import Outgoing, outgoing

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

ParamStyle = Literal["named", "pyformat", "qmark", "format"]

_COLUMNS = ("job_id", "task", "queue", "kwargs", "priority", "due_at", "correlation_id", "created_at")
_STYLES: dict[ParamStyle, str] = {"named": ":{}", "pyformat": "%({})s", "qmark": "?", "format": "%s"}


def _sql(style: ParamStyle) -> str:
    values = ", ".join(_STYLES[style].format(name) for name in _COLUMNS)
    return f"INSERT INTO outbox ({', '.join(_COLUMNS)}) VALUES ({values})"  # noqa: S608 - names of ours only


SQL = _sql("named")
"""The statement that puts a job into the outbox, with named parameters."""


def add(
    connection: Connection | Session,
    job: Job,
    *,
    due_at: datetime | None = None,
    priority: int | None = None,
    correlation_id: str | None = None,
    relay_after_s: float = 0.0,
) -> str:
    """Put a job into the outbox, in the caller's transaction; the job's id.

    Args:
        connection: SQLAlchemy's connection or session, in the transaction that the job belongs to.
        job: The job.
        due_at: When it may run at the earliest, with a time zone.
        priority: 0 (first) to 9 (last) among the jobs of its queue.
        correlation_id: What it belongs to; None: its own id.
        relay_after_s: For how long the relays leave it to the caller, who sends it right after the commit.

    Raises:
        ValueError: a time or priority that cannot be.
    """
    out = outgoing(job, due_at=due_at, priority=priority, correlation_id=correlation_id)
    add_all(connection, [out], relay_after_s=relay_after_s)
    return out.job_id


def add_all(connection: Connection | Session, outs: Iterable[Outgoing], *, relay_after_s: float = 0.0) -> None:
    """Put several into the outbox, by one statement."""
    from workerpool_worker.outbox.table import outbox  # noqa: PLC0415 - a program may use another driver only

    now = time.time()
    relay_at = now + relay_after_s if relay_after_s else 0.0
    if rows := [{**_values(out, now), "relay_at": relay_at} for out in outs]:
        connection.execute(outbox.insert(), rows)


def insert_statement(
    job: Job,
    *,
    style: ParamStyle = "named",
    due_at: datetime | None = None,
    priority: int | None = None,
    correlation_id: str | None = None,
) -> tuple[str, Any]:
    """The statement and its parameters, for a cursor of any driver in the transaction that the job belongs to.

        cursor.execute(*insert_statement(job, style="pyformat"))   # psycopg
        cursor.execute(*insert_statement(job))                     # sqlite3

    Args:
        job: The job.
        style: The driver's `paramstyle`, as PEP 249 names it.
        due_at: As for `add`.
        priority: As for `add`.
        correlation_id: As for `add`.

    Raises:
        ValueError: a time or priority that cannot be, or a style that is not known.
    """
    if style not in _STYLES:
        raise ValueError(f"style must be one of {', '.join(_STYLES)} (got {style!r})")
    out = outgoing(job, due_at=due_at, priority=priority, correlation_id=correlation_id)
    values = _values(out, time.time())
    return _sql(style), values if style in ("named", "pyformat") else tuple(values[name] for name in _COLUMNS)


def _values(out: Outgoing, now: float) -> dict[str, Any]:
    return {
        "job_id": out.job_id,
        "task": out.task,
        "queue": out.queue,
        "kwargs": json.dumps(out.kwargs, ensure_ascii=False),
        "priority": out.priority,
        "due_at": out.due_at_s,
        "correlation_id": out.correlation_id,
        "created_at": now,
    }
