"""Statuses that say a job is under way while nobody has it any more."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from workerpool_worker.broker.connect import client_for
from workerpool_worker.jobs.maintenance.whereabouts import look_for
from workerpool_worker.messages.letters import Letter
from workerpool_worker.runtime.context import JobContext
from workerpool_worker.runtime.database import reading
from workerpool_worker.store.jobs import ended
from workerpool_worker.store.queries import find
from workerpool_worker.store.records import Ending, JobRecord, Try
from workerpool_worker.store.tables import jobs

LOST = "MessageLost"
"""The error's class of a job whose message is nowhere."""

_AT_ONCE = 500
_UNDER_WAY = ("active", "delayed")


def settle(context: JobContext, now_s: float) -> Mapping[str, int]:
    """Write what became of jobs that are "active" or "delayed" for too long: buried, or lost with a Redis.

    A message is at exactly one place at every moment, and a look that finds it nowhere is made twice. Where something
    was too long to be read to its end, nothing is concluded. The write gives way to whatever the job itself has said
    meanwhile.
    """
    settings = context.settings
    if not settings.job_status:
        return {"statuses_settled": 0}
    after_s = max(settings.recover_after_seconds, settings.hard_time_limit_seconds)
    doubtful = _doubtful(context.engine, now_s - after_s)
    if not doubtful:
        return {"statuses_settled": 0}
    with client_for(settings) as client:
        queues = sorted({*settings.queues, *(record.queue for record in doubtful.values())})
        found = look_for(context.engine, client, doubtful, queues=queues)
    settled = 0
    for job_id in sorted(found.gone):
        # Who said something meanwhile has the message.
        if find(context.engine, job_id) != doubtful[job_id]:
            continue
        this, ending = ending_of(doubtful[job_id], found.letters.get(job_id), now_s)
        settled += ended(context.engine, this, ending)
    return {"statuses_settled": settled}


def ending_of(record: JobRecord, letter: Letter | None, now_s: float) -> tuple[Try, Ending]:
    """What became of a job that was said to be under way and is nowhere, or in the dead letters. Pure."""
    this = Try(
        job_id=record.id,
        task=record.task,
        queue=record.queue,
        attempt=record.attempts,
        enqueued_at=record.enqueued_at,
        correlation_id=record.correlation_id,
        worker=record.worker,
        started_at=record.started_at,
    )
    # A letter that is older than the job is of an earlier sending of it.
    if letter is not None and letter.died_at >= (record.enqueued_at or 0.0):
        return this, Ending(state="failed", at=letter.died_at, error_class=letter.error, error=letter.text)
    text = f"the job was {record.state}, and its message is at none of the places looked at; send it again"
    return this, Ending(state="failed", at=now_s, error_class=LOST, error=text)


def _doubtful(engine: sa.Engine, before_s: float) -> dict[str, JobRecord]:
    query = (
        sa.select(jobs.c.id)
        .where(
            jobs.c.state.in_(_UNDER_WAY),
            jobs.c.updated_at < before_s,
            sa.or_(jobs.c.due_at.is_(None), jobs.c.due_at < before_s),
        )
        .order_by(jobs.c.updated_at)
        .limit(_AT_ONCE)
    )
    with reading(engine) as connection:
        ids = list(connection.execute(query).scalars())
    records = {job_id: find(engine, job_id) for job_id in ids}
    return {job_id: record for job_id, record in records.items() if record is not None and record.state in _UNDER_WAY}
