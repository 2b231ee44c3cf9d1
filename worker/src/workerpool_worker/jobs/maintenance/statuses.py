"""Statuses that say a job is under way while nobody has it any more."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from workerpool_worker.runtime.broker import client_for
from workerpool_worker.runtime.context import JobContext
from workerpool_worker.runtime.database import reading
from workerpool_worker.store.jobs import ended
from workerpool_worker.store.records import Ending, Try
from workerpool_worker.store.status import JobStatus, status
from workerpool_worker.store.tables import jobs

LOST = "MessageLost"
"""The error's class of a job whose message is nowhere."""

_AT_ONCE = 200
_LONGEST_S = 30.0


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
    ids = _doubtful(context.engine, now_s - after_s)
    settled = 0
    if not ids:
        return {"statuses_settled": 0}
    deadline = time.monotonic() + _LONGEST_S
    with client_for(settings) as client:
        for job_id in ids:
            if time.monotonic() > deadline:
                break
            found = status(context.engine, client, job_id, queues=settings.queues)
            ending = ending_of(found, now_s)
            if ending is not None and ended(context.engine, ending.this, ending.ending):
                settled += 1
    return {"statuses_settled": settled}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is to be written of a job."""

    this: Try
    ending: Ending


def ending_of(found: JobStatus, now_s: float) -> Found | None:
    """What became of a job that was said to be under way; None where it is, or where that is not known. Pure."""
    record, place = found.record, found.place
    if record is None or record.state not in {"active", "delayed"}:
        return None
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
    if place is not None and place.kind == "dead letters":
        at_s = place.died_at or now_s
        return Found(
            this=this, ending=Ending(state="failed", at=at_s, error_class=place.error_class, error=place.error)
        )
    if place is not None or found.gave_up or not found.looked_at:
        return None
    text = f"the job was {record.state}, and its message is at none of the places looked at; send it again"
    return Found(this=this, ending=Ending(state="failed", at=now_s, error_class=LOST, error=text))


def _doubtful(engine: sa.Engine, before_s: float) -> list[str]:
    query = (
        sa.select(jobs.c.id)
        .where(
            jobs.c.state.in_(("active", "delayed")),
            jobs.c.updated_at < before_s,
            sa.or_(jobs.c.due_at.is_(None), jobs.c.due_at < before_s),
        )
        .order_by(jobs.c.updated_at)
        .limit(_AT_ONCE)
    )
    with reading(engine) as connection:
        return list(connection.execute(query).scalars())
