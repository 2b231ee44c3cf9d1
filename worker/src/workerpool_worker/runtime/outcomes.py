"""How jobs end, one log line a try. Children report the jobs they ran, the main process those whose child could not."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import signals

from workerpool_worker.messages.headers import ENQUEUED_AT
from workerpool_worker.runtime.process import is_main

_log = logging.getLogger("workerpool_worker.jobs")


def job_ended(request: Any, task: str, outcome: str, *, seconds: float | None = None, **more: object) -> None:
    """Log how a try of a job ended.

    Args:
        request: Celery's request of the try.
        task: The task's name.
        outcome: One word: what the job answered, or "failed", "retried", "requeued", "cut_off".
        seconds: How long the try ran.
        more: Further fields; those that are None are left out.
    """
    fields: dict[str, object] = {"job_id": request.id, "task": task, "queue": _queue(request), "outcome": outcome}
    fields["seconds"] = None if seconds is None else round(seconds, 4)
    fields["wait_seconds"] = waited_s(request, seconds or 0.0)
    level = logging.ERROR if outcome == "failed" else logging.INFO
    known = {name: value for name, value in (fields | more).items() if value is not None}
    _log.log(level, "job %s", outcome, extra={"fields": known})


def waited_s(request: Any, ran_s: float) -> float | None:
    """Seconds from the first sending until the try began; None when the message says no time."""
    sent = (getattr(request, "headers", None) or {}).get(ENQUEUED_AT)
    return round(max(time.time() - ran_s - sent, 0.0), 3) if isinstance(sent, int | float) else None


def preload_failed(error: Exception) -> None:
    """A fresh child could not get ready ahead of its first job."""
    _log.warning("not ready yet: %s: %s", type(error).__name__, error)


def install() -> None:
    """Report what only the main process sees: lost children, the hard time limit, messages that are no job of ours."""
    signals.task_failure.connect(_on_failure, dispatch_uid="workerpool-failure")
    signals.task_retry.connect(_on_retry, dispatch_uid="workerpool-retry")
    signals.task_unknown.connect(_on_unknown, dispatch_uid="workerpool-unknown")


def _on_failure(sender: Any = None, task_id: str = "", exception: Any = None, **_: object) -> None:
    if is_main():
        text = f"{type(exception).__name__}: {exception}"
        _log.error(
            "job failed",
            extra={"fields": {"job_id": task_id, "task": sender.name, "outcome": "failed", "error": text}},
        )


def _on_retry(sender: Any = None, request: Any = None, reason: Any = None, **_: object) -> None:
    if is_main():
        job_ended(request, sender.name, "cut_off", error=str(reason))


def _on_unknown(name: str = "", id: str = "", **_: object) -> None:  # noqa: A002 - Celery's name
    _log.error(
        "job failed", extra={"fields": {"job_id": id, "task": name, "outcome": "failed", "error": "no such task"}}
    )


def _queue(request: Any) -> str | None:
    info = getattr(request, "delivery_info", None) or {}
    return info.get("routing_key")
