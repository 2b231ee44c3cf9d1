"""When a job was first sent: Celery stamps no time, and the autoscaler needs the age of what waits."""

from __future__ import annotations

import time
from typing import Any

from celery import signals

ENQUEUED_AT = "enqueued_at"


def _stamp(headers: dict[str, Any] | None = None, **_: object) -> None:
    # setdefault: a retry carries the first sending's time along.
    if headers is not None:
        headers.setdefault(ENQUEUED_AT, time.time())


def install() -> None:
    """Stamp every task message this process sends with `enqueued_at` (unix seconds) unless it has one."""
    signals.before_task_publish.connect(_stamp, dispatch_uid="workerpool-enqueued-at")
