"""Removing what is kept long enough: in small batches with pauses as long, so that those who write hardly wait.

What is never removed: orders, invoices, stock and its movements, the books of charges and refunds, and effects that
were begun and not finished. Of a settled charge the name and the mail address go, which were for its receipt.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from workerpool_worker.jobs.payments.books import provider_charges
from workerpool_worker.jobs.sms.sandbox import messages as sandbox_sms
from workerpool_worker.runtime.database import reading
from workerpool_worker.runtime.idempotency import effects
from workerpool_worker.store.tables import jobs

DAY_S = 86_400.0
_ABANDONED_S = 30 * DAY_S
_LONGEST_PAUSE_S = 0.5
_SETTLED = ("succeeded", "declined", "failed")

Pause = Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What a clean-up removed.

    Attributes:
        completed: Statuses of completed jobs.
        failed: Statuses of failed jobs.
        abandoned: Statuses of jobs in no final state that nobody has touched for a month, or for as long as failed ones
            are kept if that is longer; their time to run is past. A job buried by a worker's main process is one.
        effects: Marks of effects that happened.
        sms: Messages of the sandbox.
        customers: Charges whose customer's name and address were removed.
    """

    completed: int = 0
    failed: int = 0
    abandoned: int = 0
    effects: int = 0
    sms: int = 0
    customers: int = 0


def clean_up(
    engine: sa.Engine,
    *,
    keep_completed_s: float,
    keep_failed_s: float,
    keep_completed: int,
    keep_failed: int,
    keep_effects_s: float,
    now_s: float,
    batch: int = 1000,
    pause: Pause = time.sleep,
) -> Removed:
    """Remove what is too old or too much. Each batch is a transaction of its own; being cut off loses nothing.

    Args:
        engine: The database, its tables in place.
        keep_completed_s: How long the status of a completed job is kept.
        keep_failed_s: The same of a failed one.
        keep_completed: How many of the completed ones are kept, the latest.
        keep_failed: The same of failed ones.
        keep_effects_s: How long effects are remembered. A job that comes again later has its effect again.
        now_s: Unix seconds.
        batch: Rows a transaction.
        pause: Waits for so many seconds; called after each batch. What it raises ends the clean-up.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database cannot be used.
    """
    work = _Batches(engine=engine, size=batch, pause=pause)
    abandoned_before = now_s - max(keep_failed_s, _ABANDONED_S)
    forgotten_before = now_s - keep_effects_s
    return Removed(
        completed=_final(work, "completed", now_s - keep_completed_s, keep_completed),
        failed=_final(work, "failed", now_s - keep_failed_s, keep_failed),
        abandoned=sum(_open(work, state, abandoned_before) for state in ("waiting", "active", "delayed")),
        sms=work.walk(sandbox_sms.c.id, sandbox_sms.c.at < forgotten_before, sandbox_sms.delete()),
        customers=work.walk(
            provider_charges.c.payment_id,
            sa.and_(
                provider_charges.c.status.in_(_SETTLED),
                provider_charges.c.updated_at < forgotten_before,
                sa.or_(provider_charges.c.email.is_not(None), provider_charges.c.customer != ""),
            ),
            provider_charges.update().values(email=None, customer=""),
        ),
        # The last, because it is the longest: whoever has no time for all of it has done the rest.
        effects=work.walk(
            effects.c.key,
            sa.and_(effects.c.state == "done", effects.c.done_at < forgotten_before),
            effects.delete(),
        ),
    )


def _final(work: _Batches, state: str, before: float, keep: int) -> int:
    old = sa.and_(jobs.c.state == state, jobs.c.updated_at < before)
    removed = work.delete_jobs(old)
    place = sa.tuple_(jobs.c.updated_at, jobs.c.id)
    query = sa.select(jobs.c.updated_at, jobs.c.id).where(jobs.c.state == state)
    query = query.order_by(jobs.c.updated_at.desc(), jobs.c.id.desc()).offset(keep).limit(1)
    with reading(work.engine) as connection:
        first_too_many = connection.execute(query).first()
    if first_too_many is None:
        return removed
    limit = sa.tuple_(*(sa.literal(value) for value in first_too_many))
    return removed + work.delete_jobs(sa.and_(jobs.c.state == state, place <= limit))


def _open(work: _Batches, state: str, before: float) -> int:
    past = sa.or_(jobs.c.due_at.is_(None), jobs.c.due_at < before)
    return work.delete_jobs(sa.and_(jobs.c.state == state, jobs.c.updated_at < before, past))


@dataclass(frozen=True, kw_only=True)
class _Batches:
    engine: sa.Engine
    size: int
    pause: Pause

    def delete_jobs(self, condition: sa.ColumnElement[bool]) -> int:
        """Delete by an index of `jobs`, the oldest first."""
        some = sa.select(jobs.c.id).where(condition).order_by(jobs.c.updated_at, jobs.c.id).limit(self.size)
        removed = 0
        while True:
            began = time.monotonic()
            # Not one statement: PostgreSQL without statistics of the table took seconds for a batch of it.
            with reading(self.engine) as connection:
                ids = connection.execute(some).scalars().all()
            if ids:
                with self.engine.begin() as connection:
                    # The condition again: a job that got news since is no longer one of these.
                    removed += connection.execute(jobs.delete().where(jobs.c.id.in_(ids), condition)).rowcount
            if len(ids) < self.size:
                return removed
            self._rest(began)

    def walk(self, key: sa.Column[Any], condition: sa.ColumnElement[bool], change: sa.Delete | sa.Update) -> int:
        """Go through a table by its key and change what meets the condition.

        No index on the times: it would cost every job something, and this runs once a day.
        """
        changed, last = 0, None
        while True:
            began = time.monotonic()
            query = sa.select(key, sa.case((condition, 1), else_=0)).order_by(key).limit(self.size)
            with reading(self.engine) as connection:
                rows = connection.execute(query if last is None else query.where(key > last)).all()
            hits = [row[0] for row in rows if row[1]]
            if hits:
                with self.engine.begin() as connection:
                    changed += connection.execute(change.where(key.in_(hits), condition)).rowcount
            if len(rows) < self.size:
                return changed
            last = rows[-1][0]
            if hits:
                self._rest(began)
            else:
                self.pause(0.0)  # nobody waits for a reader; the caller may still want to end here

    def _rest(self, began: float) -> None:
        self.pause(min(time.monotonic() - began, _LONGEST_PAUSE_S))
