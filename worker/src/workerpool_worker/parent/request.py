"""Celery's request in the parent, where a job ends: the message goes where it belongs, in one move.

Celery itself publishes a retry as a new message, then acknowledges the old one, and drops a job that failed.
"""

from __future__ import annotations

import time
from typing import Any

from billiard.einfo import ExceptionWithTraceback  # type: ignore[attr-defined]
from billiard.exceptions import SoftTimeLimitExceeded, Terminated, TimeLimitExceeded, WorkerLostError
from celery.exceptions import Ignore, Reject, Retry
from celery.worker import state
from celery.worker.request import Request
from celery.worker.state import task_ready

from workerpool_worker.messages.ending import Cause, Endings, Loss
from workerpool_worker.messages.history import History
from workerpool_worker.messages.letters import LONGEST_TRACE
from workerpool_worker.monitoring import outcomes
from workerpool_worker.runtime.verdict import NotDoneError

_TOO_LONG = Cause(error="TimeLimitExceeded", text="not done within WORKERPOOL_HARD_TIME_LIMIT_SECONDS")
_LEFT_TO_CELERY = (Terminated, Retry, Reject, Ignore, MemoryError)


class PoolRequest(Request):
    """A job in the hands of a child."""

    # celery-types lacks them.
    _already_cancelled: bool
    _already_revoked: bool

    def acknowledge(self) -> None:
        """The job is done."""
        if not self.acknowledged:
            outcomes.job_finished(self, "completed", seconds=self._seconds())
        super().acknowledge()

    def on_retry(self, exc_info: Any) -> None:
        """The child says what is to become of a job that is not done."""
        verdict = _raised(exc_info)
        if not isinstance(verdict, NotDoneError):
            super().on_retry(exc_info)
            return
        if self.acknowledged:
            return
        cause = Cause(error=verdict.error, text=verdict.text, trace=verdict.trace)
        if verdict.delay_s is None:
            self._bury(verdict.history, cause, seconds=verdict.seconds)
            return
        self.acknowledged = True
        self._endings.put_off(self.message._raw, verdict.history, due_s=time.time() + verdict.delay_s)  # noqa: SLF001
        outcomes.job_finished(self, "deferred" if verdict.deferred else "retried", seconds=verdict.seconds)
        self.send_event("task-retried", exception=f"{verdict.error}: {verdict.text}", traceback=verdict.trace)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """The child died, or Celery itself could not run the job."""
        raised = _raised(exc_info)
        if isinstance(raised, Terminated) and self.id not in state.revoked:
            self._ended_from_outside()
            return
        gone = isinstance(raised, WorkerLostError | SystemExit | KeyboardInterrupt)
        if isinstance(raised, _LEFT_TO_CELERY) or (gone and (self._already_cancelled or self._already_revoked)):
            super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)
            return
        task_ready(self)
        if self.acknowledged:
            return
        if isinstance(raised, TimeLimitExceeded):
            # The pool says so before it calls `on_timeout`, then kills the child.
            self._lost(_TOO_LONG)
            return
        if gone or isinstance(raised, SoftTimeLimitExceeded):
            self._lost(Cause(error=type(raised).__name__, text=str(raised)))
            return
        text = str(getattr(exc_info, "traceback", "") or "")[-LONGEST_TRACE:]
        self._bury(self._history_after(), Cause(error=type(raised).__name__, text=str(raised), trace=text))

    def _ended_from_outside(self) -> None:
        """Its child was ended after a lost connection or at the end of a drain, for this job or for the one before it.

        Celery takes a job that it did not mean to cancel for revoked and acknowledges it, through a channel that is as
        good as new when Redis is back: the job would be gone.
        """
        task_ready(self)
        if self.acknowledged:
            return
        self.acknowledged = True
        # Where the channel is closed, the message has been given back, or nobody holds it and recovery finds it.
        self._endings.give_back(self.message._raw)  # noqa: SLF001
        outcomes.job_cut_off(self, "Terminated", "its child was ended; it runs again", again=True)

    def on_timeout(self, soft: bool, timeout: float) -> None:  # noqa: ARG002 - Celery's signature
        """The hard time limit: the pool kills the child right after this."""
        if soft:
            return
        task_ready(self)
        if not self.acknowledged:
            self._lost(_TOO_LONG)

    @property
    def _endings(self) -> Endings:
        endings: Endings = self.message.channel.endings
        return endings

    def _lost(self, cause: Cause) -> None:
        self.acknowledged = True
        loss = self._endings.lost(self.message._raw, cause)  # noqa: SLF001 - kombu's name for what came
        if loss is Loss.NOT_OURS:
            return
        outcomes.job_finished(self, "lost", seconds=self._seconds())
        outcomes.job_cut_off(self, cause.error, cause.text, again=loss is Loss.AGAIN)
        if loss is Loss.DEAD:
            outcomes.job_finished(self, "dead")
        self.send_event("task-failed", exception=f"{cause.error}: {cause.text}", traceback=cause.trace)

    def _bury(self, history: History, cause: Cause, *, seconds: float | None = None) -> None:
        self.acknowledged = True
        if self._endings.bury(self.message._raw, history, cause):  # noqa: SLF001
            outcomes.job_finished(self, "failed", seconds=self._seconds() if seconds is None else seconds)
            outcomes.job_finished(self, "dead")
        self.send_event("task-failed", exception=f"{cause.error}: {cause.text}", traceback=cause.trace)

    def _history_after(self) -> History:
        before = History.of(self.request_dict)
        return History(**{**before.as_header(), "tries": before.tries + 1})

    def _seconds(self) -> float | None:
        return None if self.time_start is None else max(time.time() - self.time_start, 0.0)


def _raised(exc_info: Any) -> BaseException:
    raised: Any = exc_info.exception
    found: BaseException = raised.exc if isinstance(raised, ExceptionWithTraceback) else raised
    return found
