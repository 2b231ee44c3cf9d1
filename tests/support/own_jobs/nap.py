"""A job that sleeps as long as it is told and notes when, for a worker whose WORKERPOOL_JOBS names `nap:JOBS`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import ClassVar

from workerpool_worker.api import Job, JobSpec


class Nap(Job):
    """Sleeps; the file that NAP_NOTES names gets a line: the job, when it began, the process that runs its worker."""

    task: ClassVar[str] = "nap.take"
    queue: ClassVar[str] = "nap"
    prefix: ClassVar[str] = "nap"

    seconds: float


JOBS = (JobSpec(Nap, "nap:take"),)


def take(context: object, job: Nap) -> dict[str, object]:
    """Note the beginning before the sleep: that is when the wait is over."""
    with Path(os.environ["NAP_NOTES"]).open("a") as file:
        file.write(f"{job.id} {time.time()!r} {os.getppid()}\n")
    time.sleep(job.seconds)
    return {"outcome": "done"}
