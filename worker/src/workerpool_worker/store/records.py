"""What is known of a job and its tries. Times are Unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from workerpool_worker.runtime.errors import TransientError

State = Literal["waiting", "active", "completed", "failed", "delayed"]
STATES: Final[tuple[State, ...]] = ("waiting", "delayed", "active", "completed", "failed")


class StatusError(TransientError):
    """A status could not be written. That is no reason to fail or repeat a job that is well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Try:
    """One try of a job.

    Attributes:
        job_id: The Celery task's id.
        attempt: 1 for the first.
        enqueued_at: When the job was sent, as its message says. A later sending of the same id is a new job to the
            status, an earlier one an old one; None where the message does not say.
        correlation_id: What it belongs to.
        worker: Who does it.
        started_at: When this try began; None where it never did.
    """

    job_id: str
    task: str
    queue: str
    attempt: int
    enqueued_at: float | None = None
    correlation_id: str | None = None
    worker: str | None = None
    started_at: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a try ended.

    Attributes:
        state: "delayed" where another try is put off until `due_at`, "waiting" where it went back to its queue.
        at: When.
        result: What the job answered, if it completed.
        error_class: The class of what went wrong.
        error: What it said.
        due_at: When the next try comes due.
    """

    state: Literal["completed", "failed", "delayed", "waiting"]
    at: float
    result: Mapping[str, Any] | None = None
    error_class: str | None = None
    error: str | None = None
    due_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job as the database has it.

    Attributes:
        attempts: The number of the latest try; 0 before the first.
        percent: Progress of the latest try, 0 to 100.
        message: What the job said last of its progress.
        result: What it answered, once completed.
        error_class: Of the latest error. While another try runs it is the one of the try before.
        finished_at: When it completed or failed.
        due_at: When the next try begins, while it is delayed.
        updated_at: When any of this changed last.
    """

    id: str
    task: str
    queue: str
    state: State
    attempts: int = 0
    percent: float = 0.0
    message: str | None = None
    result: Any = None
    error_class: str | None = None
    error: str | None = None
    correlation_id: str | None = None
    worker: str | None = None
    enqueued_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    due_at: float | None = None
    updated_at: float
