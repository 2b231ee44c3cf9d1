"""Headers of our own on every job.

`enqueued_at`: unix seconds of the first sending. Celery stamps no time, and the autoscaler needs the age of what waits.
`cut_off`: this message was sent in place of one whose child process died, so that try's claims are nobody's any more.
`awaits_claim`: this try was put off because of the claim of an earlier one that was cut off, and may take that claim.
"""

from __future__ import annotations

import time
from typing import Any

from celery import signals

from workerpool_worker.runtime.process import is_main

ENQUEUED_AT = "enqueued_at"
CUT_OFF = "cut_off"
AWAITS_CLAIM = "awaits_claim"


def install() -> None:
    """Stamp every job this process sends."""
    signals.before_task_publish.connect(_stamp, dispatch_uid="workerpool-headers")


def _stamp(headers: dict[str, Any] | None = None, **_: object) -> None:
    if headers is None:
        return
    # setdefault: a retry carries the first sending's time along.
    headers.setdefault(ENQUEUED_AT, time.time())
    # Jobs publish from children: the main process itself only replaces a job whose child died.
    if is_main():
        headers[CUT_OFF] = True
    else:
        # A retry carries this along too, but the try before it ended in order.
        headers.pop(CUT_OFF, None)
