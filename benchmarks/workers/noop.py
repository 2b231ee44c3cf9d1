"""The bundled worker's no-op job: the same body as in `plain`."""

from __future__ import annotations

from typing import ClassVar

from workerpool_worker.api import Job, JobContext, JobSpec, Outcome


class Noop(Job):
    """A job that does nothing."""

    task: ClassVar[str] = "bench.noop"
    queue: ClassVar[str] = "bench"
    prefix: ClassVar[str] = "noop"


def noop(_context: JobContext, _job: Noop) -> Outcome:
    """Do nothing."""
    return {"outcome": "done"}


JOBS = (JobSpec(Noop, f"{__name__}:noop"),)
