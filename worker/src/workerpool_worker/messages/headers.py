"""Headers of our own on every job.

`enqueued_at`: Unix seconds of the first sending. Celery stamps no time, and the autoscaler needs the age of what waits.
`correlation_id`: what a job belongs to; the jobs it sends carry it on. Without one, the job's own id.
`due_at`: Unix seconds at which a delayed job came due, noted by the worker that fetched it.
`workerpool`: what happened to this job so far, written by the workers only: `messages.history`.
"""

from __future__ import annotations

import time
from typing import Any

from celery import signals

ENQUEUED_AT = "enqueued_at"
CORRELATION_ID = "correlation_id"
DUE_AT = "due_at"


def fresh(correlation_id: str) -> dict[str, Any]:
    """The headers of a job that is sent now for the first time."""
    return {ENQUEUED_AT: time.time(), CORRELATION_ID: correlation_id}


def install() -> None:
    """Stamp whatever this process sends: for a worker, whose jobs may send others in Celery's own way."""
    signals.before_task_publish.connect(_stamp, dispatch_uid="workerpool-headers")


def _stamp(headers: dict[str, Any] | None = None, **_: object) -> None:
    if headers is not None:
        headers.setdefault(ENQUEUED_AT, time.time())
