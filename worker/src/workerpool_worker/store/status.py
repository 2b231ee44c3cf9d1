"""The status of one job, from both who know of it: the database what became of its tries, Redis where it is now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from workerpool_worker.messages import keys
from workerpool_worker.outbox.table import outbox
from workerpool_worker.runtime.database import reading
from workerpool_worker.store.places import PRIORITY_STEPS, Place, Search, names, search
from workerpool_worker.store.queries import find
from workerpool_worker.store.records import JobRecord, State

_FINAL: Final = frozenset({"completed", "failed"})
_STATE_AT: Final[dict[str, State]] = {
    "queue": "waiting",
    "outbox": "waiting",
    "delayed": "delayed",
    "unacked": "active",
    "dead letters": "failed",
}
_NOTHING = Search(live=None, letter=None, looked_at=(), gave_up=())


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """How a job stands.

    Attributes:
        id: The Celery task's id.
        state: By both; see `decide`.
        record: What the database has; None where it has nothing.
        place: Where its message is; None where it was not found, or not looked for.
        note: What a person should know besides, a sentence; "" without one.
        looked_at: Where it was looked for in Redis.
        gave_up: What of that was not read to its end.
    """

    id: str
    state: State | None
    record: JobRecord | None
    place: Place | None
    note: str
    looked_at: tuple[str, ...]
    gave_up: tuple[str, ...]

    @property
    def known(self) -> bool:
        """Whether anybody knows the job."""
        return self.state is not None


def status(
    engine: sa.Engine,
    client: Any,
    job_id: str,
    *,
    queues: Sequence[str] = (),
    priority_steps: Sequence[int] = PRIORITY_STEPS,
    prefix: str = "",
) -> JobStatus:
    """How a job stands; its `state` is None where nobody knows it.

    Args:
        engine: The database, its tables in place.
        client: Of redis-py, without `decode_responses`; None: Redis is not asked.
        job_id: The Celery task's id.
        queues: Where it may have been sent, besides the one the database names and those that have dead letters.
        priority_steps: Of the lists of each queue.
        prefix: Celery's `global_keyprefix`.

    Raises:
        redis.exceptions.RedisError: Redis cannot be asked.
        sqlalchemy.exc.SQLAlchemyError: The database cannot be read.
    """
    record = find(engine, job_id)
    if client is None:
        return decide(job_id, record, _NOTHING, _in_outbox(engine, job_id))
    more = [record.queue] if record is not None else []
    more += sorted(_text(name) for name in client.smembers(prefix + keys.DEAD_LETTER_QUEUES))
    everywhere = tuple(dict.fromkeys([*more, *queues]))
    found = _NOTHING
    # Between two looks a message may have moved to where the first had been already, or the job may have ended.
    for _ in range(2):
        waits = _in_outbox(engine, job_id)
        found = search(client, job_id, queues=everywhere, priority_steps=priority_steps, prefix=prefix)
        record = find(engine, job_id)
        settled = record is not None and record.state in _FINAL
        if waits or found.live or found.letter or settled:
            return decide(job_id, record, found, waits)
    return decide(job_id, record, found, None)


def decide(job_id: str, record: JobRecord | None, found: Search, waits: Place | None) -> JobStatus:
    """Who of the two is right. Pure.

    - A job that has completed or failed stays so, whatever copies of its message are about, unless one was sent later,
      or a failed one was requeued.
    - Else its state is that of the place where its message is. A message among the dead letters means failed.
    - Else it is what the database says, with a note: nobody has the message any more.
    """
    live = found.live or waits
    if record is not None and record.state in _FINAL and not _sent_again(record, live):
        same = record.state == "failed" and found.letter is not None
        return _answer(job_id, record.state, record, found.letter if same else None, found)
    if live is not None:
        return _answer(job_id, _STATE_AT[live.kind], record, live, found)
    if found.letter is not None and (found.letter.died_at or 0.0) >= ((record and record.enqueued_at) or 0.0):
        return _answer(job_id, "failed", record, found.letter, found)
    note = ""
    if record is not None and found.looked_at:
        note = f"the database says {record.state}, but its message is at none of the places looked at"
    return _answer(job_id, None if record is None else record.state, record, None, found, note=note)


def _sent_again(record: JobRecord, live: Place | None) -> bool:
    if live is None:
        return False
    if live.enqueued_at is not None and record.enqueued_at is not None and live.enqueued_at > record.enqueued_at:
        return True
    return record.state == "failed" and live.kind in {"queue", "delayed", "outbox"}


def _answer(
    job_id: str, state: State | None, record: JobRecord | None, place: Place | None, found: Search, *, note: str = ""
) -> JobStatus:
    notes = [note] if note else []
    if found.gave_up and (place is None or place.kind == "dead letters") and state not in _FINAL:
        notes.append(f"not read to the end, because there is too much: {names(found.gave_up)}")
    return JobStatus(
        id=job_id,
        state=state,
        record=record,
        place=place,
        note="; ".join(notes),
        looked_at=found.looked_at,
        gave_up=found.gave_up,
    )


def _in_outbox(engine: sa.Engine, job_id: str) -> Place | None:
    query = sa.select(outbox).where(outbox.c.job_id == job_id).order_by(outbox.c.id.desc()).limit(1)
    with reading(engine) as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    return Place(
        kind="outbox",
        key="outbox",
        queue=row.queue,
        task=row.task,
        due_at=row.due_at,
        error=row.last_error,
        enqueued_at=row.created_at,
        correlation_id=row.correlation_id,
    )


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
