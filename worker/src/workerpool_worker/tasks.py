"""The Celery tasks: one thin shell around every job, made from one table (`registry`).

A job's code is imported when it first runs (or by `preload` in a fresh child), never by the parent process. A try that
does not end well is judged here, in the child; the parent moves the message (`parent.request`).
"""

# ruff: noqa: PLC0415 - the parent process starts without SQLAlchemy and the jobs' code; only children load them

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from celery import Task, signals

from workerpool_worker.messages import headers
from workerpool_worker.messages.history import History
from workerpool_worker.monitoring import logs, outcomes
from workerpool_worker.registry import JobSpec, all_jobs
from workerpool_worker.runtime.errors import TransientError
from workerpool_worker.runtime.retry import judge
from workerpool_worker.runtime.verdict import NotDoneError, not_done

if TYPE_CHECKING:
    from celery import Celery

    from workerpool_worker.models import Job
    from workerpool_worker.runtime.context import Outcome
    from workerpool_worker.runtime.following import Following
    from workerpool_worker.runtime.limits import RateLimit
    from workerpool_worker.settings import Settings


def register(app: Celery, settings: Settings) -> None:
    """Give the app a task for every job."""
    for spec in all_jobs(settings):
        app.register_task(_task(spec, settings))


def preload(settings: Settings) -> None:
    """Import what the worker's queues need and open the database, so that the first job need not wait for it."""
    try:
        from workerpool_worker.outbox.handing_over import see_to_leftovers
        from workerpool_worker.runtime.attempt import code_of
        from workerpool_worker.runtime.database import engine_for

        for spec in all_jobs(settings):
            if spec.message.queue in settings.queues:
                code_of(spec)
        engine_for(settings.database)
        see_to_leftovers(settings)
    except Exception as error:  # noqa: BLE001 - a child that cannot reach the database now may do so at its first job
        outcomes.preload_failed(error)


def _task(spec: JobSpec, settings: Settings) -> Task[..., Any]:
    class JobTask(Task):  # type: ignore[type-arg]
        name = spec.message.task
        Request = "workerpool_worker.parent.request:PoolRequest"
        Strategy = "workerpool_worker.parent.strategy:strategy"
        # What a child says is in the exception it raises; nothing is published by Celery itself.
        max_retries = None

        @staticmethod
        def workerpool_limits(queue: str) -> tuple[RateLimit, ...]:
            """The rate limits of a job of this task in this queue."""
            return settings.limits_of(queue=queue, provider=spec.provider(settings) if spec.provider else None)

        def run(self, **arguments: Any) -> Outcome:
            return _run(self, spec, settings, arguments)

    return JobTask()


def _run(task: Any, spec: JobSpec, settings: Settings, arguments: Mapping[str, Any]) -> Outcome:
    request = task.request
    with logs.job_fields(
        job_id=request.id, correlation_id=request.correlation_id, task=task.name, queue=outcomes.queue_of(request)
    ):
        began = time.monotonic()
        following = None
        try:
            following = _following(task, settings)
            result = _attempt(task, spec, settings, arguments, following)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job is not done
            raise _judged(task, settings, error, following, seconds=time.monotonic() - began) from None
        outcome = str(result.get("outcome", "done"))
        seconds = time.monotonic() - began
        outcomes.job_ended(request, task.name, outcome, seconds=seconds, repeated=result.get("repeated") or None)
        return result


def _attempt(
    task: Any, spec: JobSpec, settings: Settings, arguments: Mapping[str, Any], following: Following | None
) -> Outcome:
    from workerpool_worker.runtime.attempt import attempt
    from workerpool_worker.runtime.following import watched

    request = task.request
    # In a child, Celery's request shows the message's property of this name, never the header.
    correlation_id = request.correlation_id or request.id
    more: dict[str, Any] = {} if following is None else {"progress": following.progress}
    with watched(following) if following is not None else nullcontext():
        result = attempt(
            spec,
            settings,
            arguments,
            job_id=request.id,
            correlation_id=correlation_id,
            redelivered=_history(request).cut_off,
            publish=lambda job: _publish(task.app, job, correlation_id),
            **more,
        )
    _set_off_hooks(task, settings, result)
    if following is not None:
        following.completed(result)
    return result


def _following(task: Any, settings: Settings) -> Following | None:
    """Who keeps the status of this try; None where nobody is to."""
    if not settings.job_status:
        return None
    from workerpool_worker.runtime.database import engine_for, transient_outside_errors
    from workerpool_worker.runtime.following import Following
    from workerpool_worker.store.records import Try

    request = task.request
    with transient_outside_errors():
        engine = engine_for(settings.database)
    this = Try(
        job_id=request.id,
        task=task.name,
        queue=outcomes.queue_of(request) or "",
        attempt=_history(request).tries + 1,
        enqueued_at=(request.headers or {}).get(headers.ENQUEUED_AT),
        correlation_id=request.correlation_id or request.id,
        worker=request.hostname,
        started_at=time.time(),
    )
    return Following(engine, this)


def _set_off_hooks(task: Any, settings: Settings, result: Outcome) -> None:
    """Tell those who want to know that the job is done. Before it is acknowledged, so that nobody is forgotten."""
    if not settings.hooks:
        return
    from workerpool_worker.jobs.hooks.choose import Final, hooks_for

    request = task.request
    final = Final(
        job_id=request.id,
        task=task.name,
        queue=outcomes.queue_of(request) or "",
        state="completed",
        result=result,
        attempts=_history(request).tries + 1,
        finished_at_s=time.time(),
    )
    for hook in hooks_for(settings, final):
        _publish(task.app, hook.job, request.correlation_id or request.id, queue=hook.queue)


def _judged(
    task: Any, settings: Settings, error: Exception, following: Following | None, *, seconds: float
) -> NotDoneError:
    """What is to become of the job; kept and logged."""
    request = task.request
    verdict = judge(
        error,
        _history(request),
        settings.retry_policy(task.name),
        random=random.random(),  # noqa: S311 - jitter, not a secret
        unknown_retries=settings.unknown_error_retries,
        max_deferrals=settings.max_deferrals,
    )
    made = not_done(error, verdict, seconds=seconds)
    text = f"{made.error}: {made.text}"
    if made.delay_s is None:
        if following is not None:
            following.failed(made.error, made.text)
        outcomes.job_ended(request, task.name, "failed", seconds=seconds, error=text)
    else:
        if following is not None:
            following.put_off(made.error, made.text, made.delay_s)
        outcome = "deferred" if made.deferred else "retried"
        wait_s = round(made.delay_s, 3)
        outcomes.job_ended(request, task.name, outcome, seconds=seconds, error=text, retry_in_seconds=wait_s)
    return made


def _history(request: Any) -> History:
    """What the job has behind it. kombu itself only marks a message that it restores."""
    history = History.of(request.headers)
    if (request.delivery_info or {}).get("redelivered"):
        return History(**{**history.as_header(), "cut_off": True})
    return history


def _publish(app: Celery, job: Job, correlation_id: str, *, queue: str | None = None) -> None:
    from kombu.exceptions import OperationalError

    from workerpool_worker.sending import follow_up

    try:
        follow_up.send(app, job, correlation_id=correlation_id, queue=queue)
    except (OperationalError, OSError) as error:
        raise TransientError(f"cannot publish {job.job_id}: {error}") from error


def preload_in_children(settings: Settings) -> None:
    """Have every forked child call `preload` before its first job."""

    def on_child_start(**_: object) -> None:
        preload(settings)

    signals.worker_process_init.connect(on_child_start, weak=False, dispatch_uid="workerpool-preload")
