"""Sending a job from within a worker: what a job asks for next, and the hooks of one that is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workerpool_worker.messages import headers

if TYPE_CHECKING:
    from workerpool_worker.models import Job


def send(app: Any, job: Job, *, correlation_id: str, queue: str | None = None, retry: bool = True) -> None:
    """Send it, as belonging to what `correlation_id` names, to its own queue or another.

    Without `retry` a Redis that is away is told of at once: an event loop has no time to wait.

    Raises:
        kombu.exceptions.OperationalError: Redis is away.
        OSError: the same.
    """
    app.send_task(
        job.task,
        kwargs=job.arguments(),
        task_id=job.job_id,
        queue=queue or job.queue,
        headers=headers.fresh(correlation_id),
        correlation_id=correlation_id,
        # The default exchange needs no binding, so nothing is declared: one command a job.
        declare=(),
        retry=retry,
    )
