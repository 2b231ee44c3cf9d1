"""What a job is given besides its message."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workerpool_worker.runtime import idempotency

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from workerpool_worker.models import Job
    from workerpool_worker.settings import Settings

Outcome = dict[str, object]


def untold(percent: float, message: str) -> None:
    """Progress that nobody keeps."""


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """The world of one try of a job.

    Attributes:
        job_id: The Celery task's id.
        redelivered: Whether an earlier try was cut off and this message is the same one again.
        publish: Sends a follow-up job.
        correlation_id: What the job belongs to; its follow-ups belong to the same. None: the job's own id.
        progress: Tells how far the job is: 0 to 100, and a short line for people.
    """

    settings: Settings
    engine: Engine
    job_id: str
    redelivered: bool
    publish: Callable[[Job], None]
    correlation_id: str | None = None
    progress: Callable[[float, str], None] = untold

    def effect(
        self, key: str, params: object, *, takeover_after_s: float = 0.0
    ) -> AbstractContextManager[idempotency.Effect]:
        """Claim an effect outside the database for this job; see `runtime.idempotency`."""
        return idempotency.effect(
            self.engine,
            key,
            params,
            owner=self.job_id,
            redelivered=self.redelivered,
            # No try outlives the hard limit, so a claim that old is nobody's.
            lease_s=self.settings.hard_time_limit_seconds,
            takeover_after_s=takeover_after_s,
        )
