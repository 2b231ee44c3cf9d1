"""What workers add up themselves, as differences of one heartbeat and the next. Everything here is pure.

A worker's own counts begin with its process. In a container a worker that was restarted has the name and process number
it had: counts that fall say that they began again, and then all they hold is new.
"""

from __future__ import annotations

from workerpool_operator.core.observation import JobSeconds

NO_JOBS = JobSeconds(jobs=0, seconds=0.0, squared=0.0)


def started_since(before: int, now: int) -> int:
    """Jobs that a worker started between two heartbeats."""
    return now - before if now >= before else now


def finished_since(before: JobSeconds, now: JobSeconds) -> JobSeconds:
    """The jobs that it finished between them."""
    if now == before:
        return NO_JOBS
    if not (now.jobs > before.jobs and now.seconds >= before.seconds and now.squared >= before.squared):
        return now
    return JobSeconds(
        jobs=now.jobs - before.jobs, seconds=now.seconds - before.seconds, squared=now.squared - before.squared
    )


def added(total: JobSeconds | None, more: JobSeconds) -> JobSeconds:
    """Both together."""
    if total is None or more.jobs == 0:
        return total or more
    return JobSeconds(
        jobs=total.jobs + more.jobs, seconds=total.seconds + more.seconds, squared=total.squared + more.squared
    )
