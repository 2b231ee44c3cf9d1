"""The Celery tasks: one thin shell around every job, made from one table (`registry`).

A job's code is imported when it first runs (or by `preload` in a fresh child), never by the parent process.
"""

# ruff: noqa: PLC0415 - the parent process starts without SQLAlchemy and the jobs' code; only children load them

from __future__ import annotations

import importlib
import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from celery import Task, signals
from celery.exceptions import Reject, Retry, SoftTimeLimitExceeded

from workerpool_worker.messages.headers import AWAITS_CLAIM, CUT_OFF
from workerpool_worker.registry import JobSpec, all_jobs
from workerpool_worker.runtime import outcomes
from workerpool_worker.runtime.errors import EffectBusyError, TransientError
from workerpool_worker.runtime.retry import backoff_of

if TYPE_CHECKING:
    from celery import Celery

    from workerpool_worker.models import Job
    from workerpool_worker.runtime.context import Outcome
    from workerpool_worker.settings import Settings


def register(app: Celery, settings: Settings) -> None:
    """Give the app a task for every job."""
    for spec in all_jobs(settings):
        app.register_task(_task(spec, settings))


def preload(settings: Settings) -> None:
    """Import what the worker's queues need and open the database, so that the first job need not wait for it."""
    try:
        for spec in all_jobs(settings):
            if spec.message.queue in settings.queues:
                _code(spec.code)
        _engine(settings)
    except Exception as error:  # noqa: BLE001 - a child that cannot reach the database now may do so at its first job
        outcomes.preload_failed(error)


def _task(spec: JobSpec, settings: Settings) -> Task[..., Any]:
    class JobTask(Task):  # type: ignore[type-arg]
        name = spec.message.task
        max_retries = settings.max_retries
        # What Celery itself waits before it retries a job whose child was lost.
        default_retry_delay = 1

        def run(self, **arguments: Any) -> Outcome:
            return _run(self, spec, settings, arguments)

    return JobTask()


def _run(task: Any, spec: JobSpec, settings: Settings, arguments: Mapping[str, Any]) -> Outcome:
    request = task.request
    began = time.monotonic()

    def ended(outcome: str, **more: object) -> None:
        outcomes.job_ended(request, task.name, outcome, seconds=time.monotonic() - began, **more)

    try:
        result = _attempt(task, spec, settings, arguments)
    except (TransientError, SoftTimeLimitExceeded) as error:
        _try_again(task, settings, error, ended)
        raise  # _try_again always raises; this is for the reader
    except Exception as error:
        ended("failed", error=f"{type(error).__name__}: {error}")
        raise
    ended(str(result.get("outcome", "done")), repeated=result.get("repeated") or None)
    return result


def _attempt(task: Any, spec: JobSpec, settings: Settings, arguments: Mapping[str, Any]) -> Outcome:
    from workerpool_worker.runtime.attempt import attempt

    request = task.request
    correlation_id = (request.headers or {}).get("correlation_id") or request.id
    return attempt(
        spec,
        settings,
        arguments,
        job_id=request.id,
        correlation_id=correlation_id,
        redelivered=_cut_off_before(request),
        publish=lambda job: _publish(task.app, job, correlation_id),
    )


def _try_again(task: Any, settings: Settings, error: Exception, ended: Callable[..., None]) -> None:
    backoff = backoff_of(settings)
    delay = backoff.delay_s(task.request.retries, random.random())  # noqa: S311 - jitter, not a secret
    soonest = error.retry_after_s if isinstance(error, TransientError) else None
    if soonest is not None:
        # Earlier is of no use and would only spend tries; later than a job may live, kombu restores what waits here.
        delay = max(delay, min(soonest, settings.hard_time_limit_seconds))
    text = f"{type(error).__name__}: {error}"
    try:
        task.retry(exc=error, countdown=delay, headers=_headers_after(task.request, error))
    except Retry:
        ended("retried", error=text, retry_in_seconds=round(delay, 3))
        raise
    except Reject as reject:
        # The new message could not be sent. Celery would drop the job; it must go back instead.
        ended("requeued", error=text)
        raise Reject(error, requeue=True) from reject
    except Exception:
        ended("failed", error=f"{text} (given up after {task.request.retries} retries)")
        raise


def _headers_after(request: Any, error: Exception) -> dict[str, Any]:
    """The headers of the message that tries again.

    A new message is not redelivered. One that only waits for the claim of a try that was cut off has to say so, or it
    would wait for that claim as for a living one's: minutes instead of seconds.
    """
    headers = {name: value for name, value in (request.headers or {}).items() if name != AWAITS_CLAIM}
    if isinstance(error, EffectBusyError) and _cut_off_before(request):
        headers[AWAITS_CLAIM] = True
    return headers


def _publish(app: Celery, job: Job, correlation_id: str) -> None:
    from kombu.exceptions import OperationalError

    try:
        app.send_task(
            job.task,
            kwargs=job.arguments(),
            task_id=job.job_id,
            queue=job.queue,
            declare=(),
            headers={"correlation_id": correlation_id},
        )
    except (OperationalError, OSError) as error:
        raise TransientError(f"cannot publish {job.job_id}: {error}") from error


def _cut_off_before(request: Any) -> bool:
    headers = request.headers or {}
    return bool((request.delivery_info or {}).get("redelivered") or headers.get(CUT_OFF) or headers.get(AWAITS_CLAIM))


def _code(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _engine(settings: Settings) -> Any:
    from workerpool_worker.runtime.database import engine_for

    return engine_for(settings.database)


def preload_in_children(settings: Settings) -> None:
    """Have every forked child call `preload` before its first job."""

    def on_child_start(**_: object) -> None:
        preload(settings)

    signals.worker_process_init.connect(on_child_start, weak=False, dispatch_uid="workerpool-preload")
