"""Celery's request in the parent, where a job ends: the message goes where it belongs, in one move.

Celery itself publishes a retry as a new message, then acknowledges the old one, and drops a job that failed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from billiard.einfo import ExceptionWithTraceback  # type: ignore[attr-defined]
from billiard.exceptions import SoftTimeLimitExceeded, Terminated, TimeLimitExceeded, WorkerLostError
from celery.exceptions import Ignore, Reject, Retry
from celery.worker import state
from celery.worker.request import Request
from celery.worker.state import task_ready

from workerpool_worker.messages import wire
from workerpool_worker.messages.ending import Cause, Endings, Loss
from workerpool_worker.messages.history import History
from workerpool_worker.messages.letters import LONGEST_TRACE
from workerpool_worker.monitoring import outcomes
from workerpool_worker.runtime.verdict import NotDoneError

_log = logging.getLogger("workerpool_worker.messages")
_Moved = TypeVar("_Moved")
_TOO_LONG = Cause(error="TimeLimitExceeded", text="not done within WORKERPOOL_HARD_TIME_LIMIT_SECONDS")
_LEFT_TO_CELERY = (Terminated, Retry, Reject, Ignore, MemoryError)


class PoolRequest(Request):
    """A job in the hands of a child."""

    # celery-types lacks them.
    _already_cancelled: bool
    _already_revoked: bool
    _revoking = False

    def acknowledge(self) -> None:
        """The job is done."""
        if not self.acknowledged and not self._revoking:
            outcomes.job_finished(self, "completed", seconds=self._seconds())
        super().acknowledge()

    def maybe_expire(self) -> bool:  # type: ignore[override]  # its stub says True or None
        """Whether it came too late. Celery also revokes the id for hours: ours are business ids, and come again."""
        return bool(self.expires and datetime.now(self.expires.tzinfo and UTC) > self.expires)

    def _announce_revoked(self, *args: Any, **kwargs: Any) -> None:
        self._revoking = True
        super()._announce_revoked(*args, **kwargs)  # type: ignore[misc]  # celery-types lacks it

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
        due_s = self.message.channel.now_s() + verdict.delay_s
        self._moved(lambda payload: self._endings.put_off(payload, verdict.history, due_s=due_s))
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
        # Where the channel is closed, the message has been given back, or nobody holds it and recovery finds it.
        self._moved(self._endings.give_back)
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
        loss = self._moved(lambda payload: self._endings.lost(payload, cause))
        if loss is None or loss is Loss.NOT_OURS:
            return
        outcomes.job_finished(self, "lost", seconds=self._seconds())
        outcomes.job_cut_off(self, cause.error, cause.text, again=loss is Loss.AGAIN)
        if loss is Loss.DEAD:
            outcomes.job_finished(self, "dead")
        self.send_event("task-failed", exception=f"{cause.error}: {cause.text}", traceback=cause.trace)

    def _bury(self, history: History, cause: Cause, *, seconds: float | None = None) -> None:
        if self._moved(lambda payload: self._endings.bury(payload, history, cause)):
            outcomes.job_finished(self, "failed", seconds=self._seconds() if seconds is None else seconds)
            outcomes.job_finished(self, "dead")
        self.send_event("task-failed", exception=f"{cause.error}: {cause.text}", traceback=cause.trace)

    def _moved(self, move: Callable[[wire.Payload], _Moved]) -> _Moved | None:
        """Move the message; what it says. A message that cannot be moved as a job is buried as what it is."""
        self.acknowledged = True
        payload = self.message._raw  # noqa: SLF001 - kombu's name for what came
        try:
            return move(payload)
        except Exception as error:  # noqa: BLE001 - billiard would swallow it, and the job would be held for ever
            _log.exception("a message cannot be moved")
            queue = str((payload.get("properties") or {}).get("delivery_info", {}).get("queue") or "unknown")
            text = f"it cannot be moved: {error!r}"
            self._endings.bury_unreadable(self.message.delivery_tag, wire.encode(payload), text, queue=queue)
            return None

    def _history_after(self) -> History:
        before = History.of(self.request_dict)
        return History(**{**before.as_header(), "tries": before.tries + 1})

    def _seconds(self) -> float | None:
        return None if self.time_start is None else max(time.time() - self.time_start, 0.0)


def _raised(exc_info: Any) -> BaseException:
    raised: Any = exc_info.exception
    found: BaseException = raised.exc if isinstance(raised, ExceptionWithTraceback) else raised
    return found
