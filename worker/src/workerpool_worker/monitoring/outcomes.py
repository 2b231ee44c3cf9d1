"""How jobs end, one log line a try. Children report the jobs they ran, the main process those whose child could not."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from workerpool_worker.messages import wire
from workerpool_worker.messages.headers import CORRELATION_ID, DUE_AT, ENQUEUED_AT
from workerpool_worker.monitoring import metrics, run_times
from workerpool_worker.runtime.limits import RateLimit

_log = logging.getLogger("workerpool_worker.jobs")


def job_ended(request: Any, task: str, outcome: str, *, seconds: float | None = None, **more: object) -> None:
    """Log how a try of a job ended.

    Args:
        request: Celery's request of the try.
        task: The task's name.
        outcome: One word: what the job answered, or "failed", "retried", "deferred".
        seconds: How long the try ran.
        more: Further fields; those that are None are left out.
    """
    fields: dict[str, object] = {"job_id": request.id, "task": task, "queue": queue_of(request), "outcome": outcome}
    fields["seconds"] = None if seconds is None else round(seconds, 4)
    fields["wait_seconds"] = waited_s(request, seconds or 0.0)
    level = logging.ERROR if outcome == "failed" else logging.INFO
    known = {name: value for name, value in (fields | more).items() if value is not None}
    _log.log(level, "job %s", outcome, extra={"fields": known})


def waited_s(request: Any, ran_s: float) -> float | None:
    """Seconds a job waited past its time, until the try began; None when the message says no time."""
    waited = _waited_s(getattr(request, "headers", None) or {}, time.time() - ran_s)
    return None if waited is None else round(waited, 3)


def preload_failed(error: Exception) -> None:
    """A fresh child could not get ready ahead of its first job."""
    _log.warning("not ready yet: %s: %s", type(error).__name__, error)


def job_finished(request: Any, outcome: metrics.Outcome, *, seconds: float | None = None) -> None:
    """Count how a job in the parent's hands ended. `request` is Celery's, of the worker."""
    if seconds is not None:
        run_times.OURS.add(seconds)
    waited = _waited_s(request.request_dict, request.time_start) if outcome == "completed" else None
    metrics.job_ended(
        queue=wire.queue_of(request.message._raw),  # noqa: SLF001 - kombu's name for what came
        task=request.name,
        outcome=outcome,
        seconds=seconds,
        wait_s=waited,
    )


def job_cut_off(request: Any, error: str, text: str, *, again: bool) -> None:
    """Log a job whose child could not say how it ended."""
    fields = _names(request.request_dict, request.name, wire.queue_of(request.message._raw))  # noqa: SLF001
    outcome = "cut_off" if again else "failed"
    level = logging.INFO if again else logging.ERROR
    _log.log(level, "job %s", outcome, extra={"fields": fields | {"outcome": outcome, "error": f"{error}: {text}"}})


def orphan_found(job_headers: Mapping[str, Any], queue: str, became: str) -> None:
    """Count a job whose worker is gone, by what became of it: "again" or "dead"; logged where it was given up."""
    task = str(job_headers.get("task"))
    if became in {"again", "dead"}:
        metrics.job_ended(queue=queue, task=task, outcome="lost")
    if became == "dead":
        metrics.job_ended(queue=queue, task=task, outcome="dead")
        why = {"outcome": "failed", "error": "WorkerLost: it keeps losing its workers"}
        _log.error("job failed", extra={"fields": _names(job_headers, task, queue) | why})


def job_put_off(
    job_headers: Mapping[str, Any], queue: str, task: str, wait_s: float, limits: Sequence[RateLimit]
) -> None:
    """Count a job that came too early for a rate limit."""
    metrics.job_ended(queue=queue, task=task, outcome="deferred")
    names = ", ".join(f"{limit.kind}:{limit.name}" for limit in limits)
    why = {"outcome": "deferred", "limit": names, "retry_in_seconds": round(wait_s, 3)}
    _log.debug("job deferred", extra={"fields": _names(job_headers, task, queue) | why})


def message_buried(queue: str, task: str | None, job_id: str | None, text: str) -> None:
    """A message that is no job of ours went to the dead letters."""
    metrics.job_ended(queue=queue, task=task or "unknown", outcome="dead")
    fields = {"job_id": job_id, "task": task, "queue": queue, "outcome": "failed", "error": text}
    known = {name: value for name, value in fields.items() if value is not None}
    _log.error("job failed", extra={"fields": known})


def _names(job_headers: Mapping[str, Any], task: str, queue: str) -> dict[str, object]:
    """What the lines of the job's own code say too; here, in the parent, nobody else says it."""
    job_id = job_headers.get("id")
    return {
        "job_id": job_id,
        "correlation_id": job_headers.get(CORRELATION_ID) or job_id,
        "task": task,
        "queue": queue,
    }


def _waited_s(job_headers: Mapping[str, Any], started_s: float | None) -> float | None:
    """Seconds a job waited past its time, until it was begun (Unix seconds); None where nobody knows."""
    sent, due = job_headers.get(ENQUEUED_AT), job_headers.get(DUE_AT)
    if started_s is None or not isinstance(sent, int | float):
        return None
    return max(started_s - max(sent, due if isinstance(due, int | float) else 0.0), 0.0)


def queue_of(request: Any) -> str | None:
    """The queue of a try, as the child knows it."""
    info = getattr(request, "delivery_info", None) or {}
    return info.get("routing_key")
