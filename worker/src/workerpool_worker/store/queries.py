"""Reading the status of jobs. On SQLite nobody waits for a reader, nor a reader for anybody."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from workerpool_worker.runtime.database import reading
from workerpool_worker.store.records import JobRecord, State
from workerpool_worker.store.tables import jobs

_FIELDS = tuple(JobRecord.__dataclass_fields__)
_LONGEST_ID = 300


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some jobs, and where to go on; None where there are no more."""

    jobs: tuple[JobRecord, ...]
    cursor: str | None


@dataclass(frozen=True, kw_only=True)
class Count:
    """So many jobs of a queue are in a state."""

    queue: str
    state: State
    count: int


def find(engine: sa.Engine, job_id: str) -> JobRecord | None:
    """A job by its id; None where the database knows nothing of it."""
    query = sa.select(*(jobs.c[name] for name in _FIELDS)).where(jobs.c.id == job_id[:_LONGEST_ID])
    with reading(engine) as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else _record(row)


def listing(
    engine: sa.Engine,
    *,
    state: str | None = None,
    queue: str | None = None,
    task: str | None = None,
    since: float | None = None,
    before: float | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Jobs, the latest change first.

    No job comes twice on the pages of one listing, and none that stays as it is gets left out. One that changes
    meanwhile moves to the front.

    Args:
        engine: The database.
        state: Only those in it.
        queue: Only those of it.
        task: Only those of it.
        since: Only those that changed at that time or later.
        before: Only those that changed before.
        limit: How many at most.
        cursor: Of the page before.

    Raises:
        ValueError: the cursor is none.
    """
    query = sa.select(*(jobs.c[name] for name in _FIELDS))
    for column, wanted in ((jobs.c.state, state), (jobs.c.queue, queue), (jobs.c.task, task)):
        if wanted is not None:
            query = query.where(column == wanted)
    if since is not None:
        query = query.where(jobs.c.updated_at >= since)
    if before is not None:
        query = query.where(jobs.c.updated_at < before)
    if cursor is not None:
        query = query.where(sa.tuple_(jobs.c.updated_at, jobs.c.id) < sa.tuple_(*_position(cursor)))
    # One more than wanted tells whether there are more.
    query = query.order_by(jobs.c.updated_at.desc(), jobs.c.id.desc()).limit(limit + 1)
    with reading(engine) as connection:
        found = [_record(row) for row in connection.execute(query).mappings()]
    page = tuple(found[:limit])
    return Page(jobs=page, cursor=_cursor(page[-1]) if page and len(found) > limit else None)


def counts(engine: sa.Engine) -> tuple[Count, ...]:
    """How many jobs there are, by queue and state."""
    query = sa.select(jobs.c.queue, jobs.c.state, sa.func.count()).group_by(jobs.c.queue, jobs.c.state)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(jobs.c.queue, jobs.c.state)).all()
    return tuple(Count(queue=queue, state=state, count=count) for queue, state, count in rows)


def _cursor(job: JobRecord) -> str:
    return f"{job.updated_at!r}~{job.id}"


def _position(cursor: str) -> tuple[sa.BindParameter[float], sa.BindParameter[str]]:
    at, tilde, job_id = cursor.partition("~")
    try:
        # float("") is an error too, float of what has no tilde is not
        return sa.literal(float(at if tilde else "")), sa.literal(job_id)
    except ValueError:
        raise ValueError(f"{cursor!r} is no cursor of a page before") from None


def _record(row: sa.RowMapping) -> JobRecord:
    values: dict[str, Any] = {str(name): value for name, value in row.items()}
    values["percent"] = values["percent"] or 0.0
    values["message"] = values["message"] or None
    values["result"] = None if values["result"] is None else json.loads(values["result"])
    return JobRecord(**values)
