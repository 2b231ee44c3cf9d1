"""Writing the status of jobs: one statement in one transaction each, because children do it for every job.

Writes come late and out of order: a worker that hung goes on when another has long finished its job. So a row gives way
only to a write that is ahead of it:

1. a later sending of the same id (`enqueued_at`) is ahead of an earlier one; one that does not say counts as the same;
2. then a higher attempt of a lower one;
3. then "completed" of "failed", and both of the states a job passes through (waiting, delayed, active);
4. among those the later time.

And one exception: a try that began after the job had failed counts, whatever its number. Somebody requeued it.

The statement goes to the driver directly, in its autocommit mode. SQLAlchemy's own way to the same statement, begun,
built, run and committed, costs two to three times as much; see docs/jobs.md for the figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from workerpool_worker.store.records import Ending, StatusError, Try

LARGEST_RESULT: Final = 65_536
"""Characters of JSON; of a larger result only its size is kept."""

_LONGEST_NAME, _LONGEST_TEXT, _LONGEST_MESSAGE = 300, 4_000, 500
_STAGES = {"waiting": 0, "delayed": 0, "active": 0, "failed": 1, "completed": 2}

_COLUMNS = (
    "id", "task", "queue", "state", "stage", "attempts", "percent", "message", "result", "error_class", "error",
    "correlation_id", "worker", "enqueued_at", "started_at", "finished_at", "due_at", "updated_at",
)  # fmt: skip
_KEPT_IF_UNSAID = ("percent", "message", "correlation_id", "enqueued_at")
_ERROR = ("error_class", "error")


def _upsert(mark: str) -> str:
    sets = []
    for name in _COLUMNS[1:]:
        value = f"excluded.{name}"
        if name in _KEPT_IF_UNSAID:
            value = f"coalesce(excluded.{name}, jobs.{name})"
        elif name in _ERROR:
            # What the try before ended with stays to be seen while the next one runs.
            value = f"CASE WHEN excluded.state = 'active' AND excluded.attempts > 1 THEN jobs.{name} ELSE {value} END"
        sets.append(f"{name} = {value}")
    later = "CASE WHEN {0}.stage > 0 THEN 0 ELSE {0}.updated_at END"
    order = "({1}, {0}.attempts, {0}.stage, " + later + ")"
    ours = order.format("excluded", "coalesce(excluded.enqueued_at, jobs.enqueued_at, 0)")
    theirs = order.format("jobs", "coalesce(jobs.enqueued_at, 0)")
    return (
        f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join([mark] * len(_COLUMNS))}) "  # noqa: S608 - constants
        f"ON CONFLICT (id) DO UPDATE SET {', '.join(sets)} WHERE {ours} > {theirs} "
        "OR (jobs.state = 'failed' AND excluded.started_at > jobs.finished_at)"
    )


_MARKS = {"sqlite": "?", "postgresql": "%s"}
_UPSERT = {dialect: _upsert(mark) for dialect, mark in _MARKS.items()}
_PROGRESS = {
    dialect: (
        f"UPDATE jobs SET percent = {mark}, message = {mark}, updated_at = {mark} "  # noqa: S608 - constants
        f"WHERE id = {mark} AND state = 'active' AND attempts = {mark}"
    )
    for dialect, mark in _MARKS.items()
}


def begun(engine: sa.Engine, this: Try) -> bool:
    """A try has begun at its `started_at`. Whether that is news; so for all of these.

    Raises:
        StatusError: it could not be written; so for all of these.
    """
    at = this.started_at or 0.0
    return _run(engine, _UPSERT, _values(this, "active", at, percent=0.0, message=""))


def ended(engine: sa.Engine, this: Try, ending: Ending) -> bool:
    """A try has ended. It need not have been said that it began."""
    return _run(engine, _UPSERT, _ending(this, ending))


def progressed(engine: sa.Engine, job_id: str, percent: float, message: str, *, attempt: int, at: float) -> bool:
    """A try that was said to have begun has come this far: percent of 100, and a line of text."""
    values = (_part(percent), _clean(message, _LONGEST_MESSAGE), at, _clean(job_id, _LONGEST_NAME), attempt)
    return _run(engine, _PROGRESS, values)


def waiting(
    connection: sa.Connection,
    *,
    job_id: str,
    task: str,
    queue: str,
    enqueued_at: float,
    correlation_id: str | None = None,
    due_at: float | None = None,
) -> None:
    """A job is sent, in the caller's transaction: delayed where it has a `due_at`.

    Args:
        connection: Of the caller's transaction.
        job_id: The id it is sent with.
        task: Its task.
        queue: Where it will wait.
        enqueued_at: The header of its message of that name, the very same.
        correlation_id: What it belongs to.
        due_at: When it comes due; None: at once.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database refused it, and the caller's transaction with it.
    """
    this = Try(job_id=job_id, task=task, queue=queue, attempt=0, enqueued_at=enqueued_at, correlation_id=correlation_id)
    values = _values(
        this, "waiting" if due_at is None else "delayed", enqueued_at, percent=0.0, message="", due_at=due_at
    )
    connection.exec_driver_sql(_UPSERT[connection.dialect.name], values)


def _ending(this: Try, ending: Ending) -> tuple[Any, ...]:
    final = _STAGES[ending.state] > 0
    return _values(
        this,
        ending.state,
        ending.at,
        percent=100.0 if ending.state == "completed" else None,
        result=_json(ending.result),
        error_class=_clean(ending.error_class, _LONGEST_NAME),
        error=_clean(ending.error, _LONGEST_TEXT),
        finished_at=ending.at if final else None,
        due_at=ending.due_at,
    )


def _values(
    this: Try,
    state: str,
    at: float,
    *,
    percent: float | None = None,
    message: str | None = None,
    result: str | None = None,
    error_class: str | None = None,
    error: str | None = None,
    finished_at: float | None = None,
    due_at: float | None = None,
) -> tuple[Any, ...]:
    """The row, in the order of `_COLUMNS`."""
    return (
        _clean(this.job_id, _LONGEST_NAME),
        _clean(this.task, _LONGEST_NAME),
        _clean(this.queue, _LONGEST_NAME),
        state,
        _STAGES[state],
        this.attempt,
        percent,
        message,
        result,
        error_class,
        error,
        _clean(this.correlation_id, _LONGEST_NAME),
        _clean(this.worker, _LONGEST_NAME),
        this.enqueued_at,
        this.started_at,
        finished_at,
        due_at,
        at,
    )


def _run(engine: sa.Engine, statements: Mapping[str, str], values: tuple[Any, ...]) -> bool:
    try:
        raw = engine.raw_connection()
    except (SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as error:
        raise _not_written(error) from error
    driver: Any = raw.driver_connection
    try:
        if engine.dialect.name == "sqlite":
            return bool(driver.execute(statements["sqlite"], values).rowcount)
        # One round trip instead of three.
        driver.autocommit = True
        written = driver.execute(statements["postgresql"], values).rowcount
        driver.autocommit = False
        return bool(written)
    except engine.dialect.loaded_dbapi.Error as error:
        raw.invalidate(error)
        raise _not_written(error) from error
    except BaseException:
        # The soft time limit may strike anywhere. A connection that stays in autocommit mode would tear the next
        # transaction apart.
        raw.invalidate()
        raise
    finally:
        raw.close()


def _not_written(error: BaseException) -> StatusError:
    return StatusError(f"the status could not be written: {' '.join(str(error).split())}")


def _clean(text: str | None, longest: int) -> str | None:
    """As both databases take it: PostgreSQL knows no NUL, UTF-8 no half of a surrogate pair."""
    if text is None:
        return None
    return text[:longest].replace("\0", "").encode("utf-8", "replace").decode()


def _part(percent: float) -> float:
    return min(100.0, max(0.0, percent))


def _json(result: Mapping[str, Any] | None) -> str | None:
    if result is None:
        return None
    text = json.dumps(result, default=str)
    return text if len(text) <= LARGEST_RESULT else json.dumps({"too_large": True, "characters": len(text)})
