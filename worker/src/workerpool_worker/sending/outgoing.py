"""A job on its way: what a message says, before it is one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from workerpool_worker.models import Job

LOWEST_PRIORITY = 9


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A job to send.

    Attributes:
        job_id: The same id is the same job.
        kwargs: The task's arguments, as JSON types.
        due_at_s: When it may run at the earliest, Unix seconds; None: now.
        priority: 0 (first) to 9 (last) within its queue; None: 0, as with Celery on Redis.
        correlation_id: What it belongs to; follow-up jobs inherit it.
        asked_at_s: When it was asked for, Unix seconds; None: when it is sent. The age of a job counts from here.
    """

    job_id: str
    task: str
    queue: str
    kwargs: dict[str, Any]
    correlation_id: str
    due_at_s: float | None = None
    priority: int | None = None
    asked_at_s: float | None = None


def outgoing(
    job: Job,
    *,
    job_id: str | None = None,
    due_at: datetime | None = None,
    delay_s: float | None = None,
    priority: int | None = None,
    correlation_id: str | None = None,
) -> Outgoing:
    """The job as it is to be sent.

    Raises:
        ValueError: both or an impossible time, a time without an offset, or a priority outside 0 to 9.
    """
    id_ = job_id or job.job_id
    return Outgoing(
        job_id=id_,
        task=job.task,
        queue=job.queue,
        kwargs=job.arguments(),
        due_at_s=_due_at_s(due_at, delay_s),
        priority=_checked(priority),
        correlation_id=correlation_id or id_,
    )


def _due_at_s(due_at: datetime | None, delay_s: float | None) -> float | None:
    if due_at is not None and delay_s is not None:
        raise ValueError("name due_at or delay_s, not both")
    if due_at is not None:
        if due_at.tzinfo is None:
            raise ValueError(f"due_at needs a time zone (got {due_at.isoformat()})")
        return due_at.timestamp()
    if delay_s is None:
        return None
    try:
        return (datetime.now(UTC) + timedelta(seconds=delay_s)).timestamp()
    except (OverflowError, ValueError):
        # Infinity, "not a number", and what lies beyond the year 9999.
        raise ValueError(f"delay_s must be a number of seconds from now (got {delay_s!r})") from None


def _checked(priority: int | None) -> int | None:
    if priority is not None and not 0 <= priority <= LOWEST_PRIORITY:
        raise ValueError(f"priority must be 0 (first) to {LOWEST_PRIORITY} (last) (got {priority})")
    return priority
