"""`JOBS_MODE=inline`: a job runs at once, in the process that sends it, by the code that a worker's child runs.

For development, tests, and a shop too small for a worker. The effects are claimed and kept as ever, so a job that is
sent twice happens once. What differs:

- A job that fails, whether for now or for good, is not tried again: the error is the caller's, who has a customer
  waiting, and sending the job again goes on where it stopped.
- Follow-up jobs run after the job that asked for them, in the order they were asked for. Each gets its turn, whatever
  becomes of the others; then the first error of theirs is raised.
- Times and priorities do not count: all is now.
- One job at a time in a process, as in a worker's child: the jobs' code keeps one connection to the mail server. Other
  threads that send wait for their turn.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from workerpool_worker.registry import JobSpec, all_jobs
from workerpool_worker.runtime.errors import HandOverError, PermanentError
from workerpool_worker.sending.outgoing import Outgoing, outgoing

if TYPE_CHECKING:
    from workerpool_worker.models import Job
    from workerpool_worker.runtime.context import Outcome
    from workerpool_worker.settings import Settings

_log = logging.getLogger("workerpool_worker.producer")
# A job's code may itself send a job: the thread whose turn it is goes on.
_turn = threading.RLock()


def _new_turn() -> None:
    global _turn  # noqa: PLW0603 - a fact about this process
    _turn = threading.RLock()


# A process forked while another thread runs a job would wait for a thread that it does not have.
os.register_at_fork(after_in_child=_new_turn)


class Inline:
    """Runs jobs, from any number of threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def send(self, out: Outgoing) -> None:
        """Run it, then the jobs it asks for, and those that these ask for.

        Raises:
            JobError: what went wrong; a note says in which job, where it was not the one that was sent.
        """
        with _turn:
            self._run_all(out)

    def _run_all(self, out: Outgoing) -> None:
        waiting: deque[Outgoing] = deque()
        self._run(out, waiting)
        first: Exception | None = None
        while waiting:
            follow_up = waiting.popleft()
            try:
                self._run(follow_up, waiting)
            except Exception as error:  # noqa: BLE001 - raised below, when the others have had their turn
                error.add_note(f"in {follow_up.job_id}, a follow-up of {out.job_id}, which itself is done")
                first = first or error
        if first is not None:
            raise first

    def send_many(self, outs: Iterable[Outgoing]) -> None:
        """Run them one after the other, until one fails."""
        for out in outs:
            self.send(out)

    def ping(self) -> None:
        """This process is always there."""

    def close(self) -> None:
        """Nothing to close: the database's connections are kept for the process, as in a worker."""

    def _run(self, out: Outgoing, waiting: deque[Outgoing]) -> None:
        began = time.monotonic()
        try:
            outcome = self._outcome(out, waiting)
        except Exception as error:
            _say(out, "failed", began, error=f"{type(error).__name__}: {error}")
            raise
        _say(out, str(outcome.get("outcome", "done")), began)

    def _outcome(self, out: Outgoing, waiting: deque[Outgoing]) -> Outcome:
        # Only now: a program that sends nothing yet needs no SQLAlchemy.
        from workerpool_worker.runtime.attempt import attempt  # noqa: PLC0415

        def publish(job: Job) -> None:
            waiting.append(outgoing(job, correlation_id=out.correlation_id))

        while True:
            try:
                return attempt(
                    self._spec(out.task),
                    self._settings,
                    out.kwargs,
                    job_id=out.job_id,
                    correlation_id=out.correlation_id,
                    redelivered=False,
                    publish=publish,
                )
            except HandOverError:
                # A long job that has done a part; a worker would let others go first.
                continue

    def _spec(self, task: str) -> JobSpec:
        for spec in all_jobs(self._settings):
            if spec.message.task == task:
                return spec
        raise PermanentError(f"no such task: {task}")


def _say(out: Outgoing, outcome: str, began: float, **more: object) -> None:
    fields: dict[str, object] = {"job_id": out.job_id, "task": out.task, "queue": out.queue, "outcome": outcome}
    fields |= {"correlation_id": out.correlation_id, "seconds": round(time.monotonic() - began, 4), **more}
    _log.log(logging.ERROR if outcome == "failed" else logging.INFO, "job %s", outcome, extra={"fields": fields})
