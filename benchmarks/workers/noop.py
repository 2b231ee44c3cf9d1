"""The bundled worker's jobs for the benchmarks: the same bodies as in `plain`."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.workers.first import hold

from workerpool_worker.api import Job, JobContext, JobSpec, Outcome


class Noop(Job):
    """A job that does nothing."""

    task: ClassVar[str] = "bench.noop"
    queue: ClassVar[str] = "bench"
    prefix: ClassVar[str] = "noop"


class First(Job):
    """The first job of a worker: says that it began, and holds still until it was looked at."""

    task: ClassVar[str] = "bench.first"
    queue: ClassVar[str] = "bench"
    prefix: ClassVar[str] = "first"


def first(_context: JobContext, _job: First) -> Outcome:
    """Say so, and wait."""
    hold()
    return {"outcome": "done"}


def noop(_context: JobContext, _job: Noop) -> Outcome:
    """Do nothing."""
    return {"outcome": "done"}


JOBS = (JobSpec(Noop, f"{__name__}:noop"), JobSpec(First, f"{__name__}:first"))
