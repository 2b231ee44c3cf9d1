"""Sending right after the commit what a job's transaction put into the outbox, so that normally nothing waits there.

What cannot be sent then stays, and a relay in a thread of this process sees to it until the outbox is empty. Where the
process ends before that, the relay of another one does, or `workerpool-worker relay`.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from workerpool_worker.outbox.adding import add_all
from workerpool_worker.outbox.table import due_within, outbox
from workerpool_worker.runtime.errors import TransientError
from workerpool_worker.sending.outgoing import outgoing

if TYPE_CHECKING:
    import sqlalchemy as sa

    from workerpool_worker.models import Job
    from workerpool_worker.runtime.context import JobContext
    from workerpool_worker.settings import Settings

OURS_FOR_S = 10.0
"""How long the relays leave to us what we mean to send ourselves; for making an invoice it is plenty."""

_POLL_S = 0.5
_TIMEOUT_S = 2.0
_log = logging.getLogger("workerpool_worker.outbox")
_starting = threading.Lock()
_thread: threading.Thread | None = None


def put(connection: sa.Connection, context: JobContext, jobs: Iterable[Job]) -> None:
    """Put a job's follow-up jobs into the outbox, in the transaction of what they follow from."""
    correlation_id = context.correlation_id or context.job_id
    outs = [outgoing(job, correlation_id=correlation_id) for job in jobs]
    add_all(connection, outs, relay_after_s=OURS_FOR_S)


def hand_over(context: JobContext, jobs: Sequence[Job]) -> bool:
    """Send them now, and again at every repeat; whether Redis took them. It may be away: then they stay."""
    theirs = outbox.c.job_id.in_([job.job_id for job in jobs])
    try:
        for job in jobs:
            context.publish(job)
    except TransientError as error:
        fields = {"job_id": context.job_id, "correlation_id": context.correlation_id, "error": str(error)}
        _log.warning("follow-up jobs wait in the outbox", extra={"fields": fields})
        with context.engine.begin() as connection:
            # No longer ours alone.
            connection.execute(outbox.update().where(theirs).values(relay_at=0.0))
        see_to_it(context.settings)
        return False
    with context.engine.begin() as connection:
        connection.execute(outbox.delete().where(theirs))
    return True


def see_to_leftovers(settings: Settings) -> None:
    """At the start of a process: if an earlier one ended with jobs in the outbox, see to them. One SELECT."""
    from workerpool_worker.runtime.database import engine_for, reading  # noqa: PLC0415 - as below

    with reading(engine_for(settings.database)) as connection:
        if connection.execute(due_within(OURS_FOR_S)).first() is not None:
            see_to_it(settings)


def see_to_it(settings: Settings) -> None:
    """Have a thread of this process relay the outbox until it is empty; nothing if there is one already."""
    global _thread  # noqa: PLW0603 - a fact about this process
    with _starting:
        if _thread is not None and _thread.is_alive():
            return
        _thread = threading.Thread(target=_relay, args=(settings,), name="outbox-relay", daemon=True)
        # A thread inherits the mask. A signal that another thread may take would end a job in the middle of what
        # `uninterrupted` keeps together.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            _thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _relay(settings: Settings) -> None:
    from workerpool_worker.outbox.process import keep_going  # noqa: PLC0415 - needed when Redis was away, not before
    from workerpool_worker.outbox.relay import Relay  # noqa: PLC0415
    from workerpool_worker.producer import Producer  # noqa: PLC0415
    from workerpool_worker.runtime.database import engine_for  # noqa: PLC0415

    # A worker runs jobs; JOBS_MODE is about those who send them.
    settings = settings.model_copy(update={"jobs_mode": "queue"})
    try:
        with Producer.from_settings(settings, timeout_s=_TIMEOUT_S) as producer:
            relay = Relay(engine_for(settings.database), producer, batch=settings.outbox_batch)
            keep_going(relay, threading.Event(), poll_s=_POLL_S, done=lambda: not relay.more_within(OURS_FOR_S))
    except Exception:  # noqa: BLE001 - a thread has nobody to raise to; what is not sent is still in the outbox
        _log.exception("the relay of this process ended; the outbox is left to others")
