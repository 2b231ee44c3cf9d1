"""The relay: what is committed to the outbox goes into Redis, in the order it was written, in batches.

One batch is one transaction: its rows are locked, their jobs handed to Redis, the rows deleted. A relay that is killed
before the commit leaves them for the next one, which sends them again: the same ids, so the same jobs.

Several relays share the work on PostgreSQL (SKIP LOCKED); whoever writes to the outbox waits for none of them. On
SQLite a batch takes the one write lock there is: so Redis is asked before whether it is there, and a batch is small.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from workerpool_worker.outbox.table import due_within, outbox
from workerpool_worker.producer import BrokerUnreachableError, Producer
from workerpool_worker.runtime.database import reading
from workerpool_worker.sending.errors import NotQueuedModeError
from workerpool_worker.sending.outgoing import Outgoing

UNREADABLE_AGAIN_S = 3600.0
"""After how long a row that is no job is looked at again: somebody may have mended it."""

_log = logging.getLogger("workerpool_worker.outbox")


class Relay:
    """Empties the outbox.

    Args:
        engine: The database with the outbox.
        producer: Where the jobs go; its mode has to be "queue".
        batch: Jobs of one transaction and one round trip.

    Raises:
        NotQueuedModeError: the producer puts nothing into Redis.
    """

    def __init__(self, engine: sa.Engine, producer: Producer, *, batch: int = 200) -> None:
        if producer.mode != "queue":
            raise NotQueuedModeError(
                f"JOBS_MODE: the relay puts jobs into Redis, which is the mode queue (got {producer.mode!r})"
            )
        self._engine = engine
        self._producer = producer
        self._batch = batch

    def run_once(self) -> int:
        """Send all that is there now; how many. What others are sending at the moment is theirs.

        Raises:
            BrokerUnreachableError: Redis is away; what was not sent is still in the outbox.
            sqlalchemy.exc.SQLAlchemyError: the database cannot be used.
        """
        sent = 0
        while moved := self.step():
            sent += moved
        return sent

    def step(self) -> int:
        """Send one batch; how many rows were dealt with, 0 when there are none for us.

        Raises:
            BrokerUnreachableError: Redis is away.
            sqlalchemy.exc.SQLAlchemyError: the database cannot be used.
        """
        first = self._due()
        if not first:
            return 0
        try:
            # Outside the transaction: on SQLite nobody else could write while a silent Redis is waited for.
            self._producer.ping()
            return self._move()
        except BrokerUnreachableError as error:
            self._note(first, str(error))
            raise

    def waiting(self) -> int:
        """How many rows are in the outbox, those included that are not to be sent yet."""
        with reading(self._engine) as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one())

    def more_within(self, seconds: float) -> bool:
        """Whether there is anything to send now or within this time."""
        with reading(self._engine) as connection:
            return connection.execute(due_within(seconds)).first() is not None

    def _due(self) -> Sequence[int]:
        with reading(self._engine) as connection:
            return connection.execute(self._rows(outbox.c.id)).scalars().all()

    def _move(self) -> int:
        with self._engine.begin() as connection:
            # FOR UPDATE SKIP LOCKED; SQLite has the whole database locked already.
            rows = connection.execute(self._rows(outbox).with_for_update(skip_locked=True)).all()
            jobs: dict[int, Outgoing] = {}
            for row in rows:
                try:
                    jobs[row.id] = _job_of(row)
                except ValueError as error:
                    _put_aside(connection, row, str(error))
            self._producer.hand_over(jobs.values())
            connection.execute(outbox.delete().where(outbox.c.id.in_(list(jobs))))
        return len(rows)

    def _rows(self, *columns: Any) -> sa.Select[Any]:
        due = outbox.c.relay_at <= time.time()
        return sa.select(*columns).where(due).order_by(outbox.c.id).limit(self._batch)

    def _note(self, ids: Sequence[int], error: str) -> None:
        """Write down what was in the way; for people, so that it must not be in the way itself."""
        with self._engine.begin() as connection:
            free = sa.select(outbox.c.id).where(outbox.c.id.in_(ids)).with_for_update(skip_locked=True)
            connection.execute(
                outbox.update()
                .where(outbox.c.id.in_(connection.execute(free).scalars().all()))
                .values(tries=outbox.c.tries + 1, last_error=error[:1000])
            )


def _job_of(row: Any) -> Outgoing:
    """The job of a row.

    Raises:
        ValueError: it is none. Anybody can write a row.
    """
    kwargs = json.loads(row.kwargs)
    if not isinstance(kwargs, dict):
        raise ValueError("kwargs is not a JSON object")  # noqa: TRY004 - of the row, as the others
    if not (row.job_id and row.task and row.queue):
        raise ValueError("job_id, task and queue must not be empty")
    if row.due_at is not None:
        try:
            datetime.fromtimestamp(row.due_at, UTC)
        except (OverflowError, OSError) as error:
            raise ValueError(f"due_at is no time in Unix seconds: {row.due_at!r}") from error
    return Outgoing(
        job_id=row.job_id,
        task=row.task,
        queue=row.queue,
        kwargs=kwargs,
        priority=row.priority,
        due_at_s=row.due_at,
        correlation_id=row.correlation_id or row.job_id,
        asked_at_s=row.created_at,
    )


def _put_aside(connection: sa.Connection, row: Any, error: str) -> None:
    # The rest of the outbox goes on; the row stays, because it was committed as a job.
    _log.error(
        "row %s of the outbox is no job: %s; left for %g s", row.id, error, UNREADABLE_AGAIN_S,
        extra={"fields": {"row": row.id, "job_id": row.job_id}},
    )  # fmt: skip
    connection.execute(
        outbox.update()
        .where(outbox.c.id == row.id)
        .values(tries=outbox.c.tries + 1, last_error=error, relay_at=time.time() + UNREADABLE_AGAIN_S)
    )
