"""Jobs that do harm, given to the workers by WORKERPOOL_JOBS. The product has none of them."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, ClassVar, Literal

from celery.exceptions import SoftTimeLimitExceeded

from workerpool_worker.api import Job, JobContext, JobSpec, Outcome, TransientError

QUEUE = "torture"


class Crash(Job):
    """Takes its child with it, or the whole worker."""

    task: ClassVar[str] = "torture.crash"
    queue: ClassVar[str] = QUEUE
    prefix: ClassVar[str] = "crash"

    victim: Literal["child", "worker"] = "child"


class Stuck(Job):
    """Does not end, whoever asks; sent with a time limit of its own."""

    task: ClassVar[str] = "torture.stuck"
    queue: ClassVar[str] = QUEUE
    prefix: ClassVar[str] = "stuck"


class Slow(Job):
    """Takes its time, and fails now and then in a way that passes."""

    task: ClassVar[str] = "torture.slow"
    queue: ClassVar[str] = QUEUE
    prefix: ClassVar[str] = "slow"

    seconds: float = 0.5
    fails: float = 0.2


def crash(_context: JobContext, job: Crash) -> Outcome:
    """Die."""
    if job.victim == "worker":
        os.kill(os.getppid(), signal.SIGKILL)
    os._exit(1)


def stuck(_context: JobContext, _job: Stuck) -> Outcome:
    """Hang."""
    while True:
        try:
            time.sleep(60)
        except SoftTimeLimitExceeded:
            continue


def slow(_context: JobContext, job: Slow) -> Outcome:
    """Sleep."""
    time.sleep(job.seconds)
    if os.urandom(1)[0] < 256 * job.fails:
        raise TransientError("not this time")
    done: dict[str, Any] = {"outcome": "done"}
    return done


JOBS = (
    JobSpec(Crash, f"{__name__}:crash"),
    JobSpec(Stuck, f"{__name__}:stuck"),
    JobSpec(Slow, f"{__name__}:slow"),
)
