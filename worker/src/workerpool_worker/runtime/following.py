"""Keeps the status of the job a child works on: in SQL, at the end of each try, before the job is acknowledged.

That a job is active is written when it has been for half a second: most jobs are over by then, and one statement a job
is enough. A thread sees to it, because the job's own code has the child's only other one. What cannot be written is
told and forgotten: a job that is well must not fail because of its status.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workerpool_worker.store import jobs
from workerpool_worker.store.records import Ending, StatusError, Try

if TYPE_CHECKING:
    from sqlalchemy import Engine

SHOWN_AFTER_S = 0.5
PROGRESS_EVERY_S = 0.5
_COMPLAIN_EVERY_S = 60.0

_log = logging.getLogger("workerpool_worker.status")
_complained_at = float("-inf")


class Following:
    """The status of one try."""

    def __init__(self, engine: Engine, this: Try) -> None:
        self._engine = engine
        self._this = this
        self._lock = threading.Lock()
        self._shown = False
        self._over = False
        self._told_at = float("-inf")

    def progress(self, percent: float, message: str = "") -> None:
        """Keep how far the job is: 0 to 100, and a short line. Said more than twice a second, some are left out."""
        now = time.monotonic()
        if now - self._told_at < PROGRESS_EVERY_S:
            return
        self._told_at = now
        self.show()
        with _forgiving():
            jobs.progressed(
                self._engine, self._this.job_id, percent, message, attempt=self._this.attempt, at=time.time()
            )

    def show(self) -> None:
        """Write that the job is active, once, and not when it is over."""
        with self._lock:
            if self._shown or self._over:
                return
            self._shown = True
            with _forgiving():
                jobs.begun(self._engine, self._this)

    def completed(self, result: Mapping[str, Any]) -> None:
        """The job is done."""
        self._end(Ending(state="completed", at=time.time(), result=result))

    def put_off(self, error: str, text: str, delay_s: float) -> None:
        """It is tried again in so many seconds."""
        now = time.time()
        self._end(Ending(state="delayed", at=now, error_class=error, error=text, due_at=now + delay_s))

    def failed(self, error: str, text: str) -> None:
        """It was given up."""
        self._end(Ending(state="failed", at=time.time(), error_class=error, error=text))

    def _end(self, ending: Ending) -> None:
        with self._lock:
            self._over = True
            with _forgiving():
                jobs.ended(self._engine, self._this, ending)


class _Watch:
    """The thread that shows jobs that take long; one a process, asleep while no job runs."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._current: tuple[Following, float] | None = None
        # No signal is to be handled by this thread: `uninterrupted` blocks them in the other one only, and what the
        # process is sent goes to any thread that takes it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            threading.Thread(target=self._run, name="status", daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def set(self, following: Following | None) -> None:
        """This is the try that runs now."""
        with self._changed:
            idle = self._current is None
            self._current = None if following is None else (following, time.monotonic() + SHOWN_AFTER_S)
            if idle and following is not None:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._current is None:
                    self._changed.wait()
                following, due = self._current
                left_s = due - time.monotonic()
                if left_s > 0:
                    self._changed.wait(left_s)
                    continue
            following.show()
            with self._changed:
                # It is shown: there is nothing to do until the next one.
                if self._current is not None and self._current[0] is following:
                    self._current = None


_watch: tuple[int, _Watch] | None = None


@contextmanager
def watched(following: Following) -> Iterator[None]:
    """Within the block, this try runs."""
    watch = _watch_of_process()
    watch.set(following)
    try:
        yield
    finally:
        watch.set(None)


def _watch_of_process() -> _Watch:
    global _watch  # noqa: PLW0603 - threads do not fork: each process has its own
    if _watch is None or _watch[0] != os.getpid():
        _watch = (os.getpid(), _Watch())
    return _watch[1]


@contextmanager
def _forgiving() -> Iterator[None]:
    global _complained_at  # noqa: PLW0603 - one line a minute, not one a job
    try:
        yield
    except StatusError as error:
        now = time.monotonic()
        if now - _complained_at >= _COMPLAIN_EVERY_S:
            _complained_at = now
            _log.warning("%s; the jobs go on", error)
