"""The SQL side: one engine a process, its tables in place."""

# ruff: noqa: PLC0415 - the versions of the tables build upon this module; dialects are needed one at a time

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from workerpool_worker.runtime.errors import TransientError

metadata = sa.MetaData()

_BUSY_MS = 15_000
_READING = "workerpool_reading"
_engines: dict[tuple[int, str], sa.Engine] = {}


def engine_for(url: str) -> sa.Engine:
    """This process's engine for a URL, its tables in place. A forked child makes its own: connections do not fork."""
    key = (os.getpid(), url)
    if key not in _engines:
        engine = make_engine(url)
        try:
            create_tables(engine)
        except BaseException:
            engine.dispose()
            raise
        _engines[key] = engine
    return _engines[key]


def make_engine(url: str, *, read_only: bool = False) -> sa.Engine:
    """An engine set up for many writing processes. A read-only one never waits for a writer, nor a writer for it."""
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_pre_ping=True, pool_size=2)
    place = sa.make_url(url).database
    if place and place != ":memory:":
        Path(place).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_MS / 1000})
    sa.event.listen(engine, "connect", _sqlite_connect)
    if not read_only:
        sa.event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(connection: Any, _record: object) -> None:
    # The driver's own implicit BEGIN comes too late and is deferred; ours is below.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    # Readers do not block the writer. In WAL mode NORMAL survives a killed process; only a power cut can
    # take back the last commits.
    _patiently(lambda: cursor.execute("PRAGMA journal_mode = WAL"))
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _sqlite_begin(connection: sa.Connection) -> None:
    # A deferred transaction that reads, then writes, fails at once when another wrote in between, whatever the
    # busy timeout; IMMEDIATE waits for its turn first.
    if not connection.get_execution_options().get(_READING):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _patiently(action: Any, tries: int = 50) -> None:
    # Switching to WAL takes an exclusive lock and ignores the busy timeout.
    for left in reversed(range(tries)):
        try:
            action()
        except Exception as error:
            if "locked" not in str(error) or not left:
                raise
            time.sleep(0.02)
        else:
            return


def create_tables(engine: sa.Engine) -> None:
    """See to it that the tables are there, at this program's version; costs one SELECT where they are.

    Raises:
        SchemaError: the database is one that this program cannot work with.
    """
    from workerpool_worker.store.schema import bring_up_to_date

    bring_up_to_date(engine)


def create_missing(engine: sa.Engine, tables: sa.MetaData) -> None:
    """Create those of these tables that are not there; for a job's own. Losing the race to another is fine."""
    for left in reversed(range(5)):
        try:
            tables.create_all(engine)
        except (exc.OperationalError, exc.ProgrammingError, exc.IntegrityError):
            if not left:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that only reads: on SQLite it waits for no writer, and no writer for it."""
    with engine.connect().execution_options(**{_READING: True}) as connection:
        yield connection


@contextmanager
def transient_outside_errors() -> Iterator[None]:
    """Make "locked", "connection lost", "no space left" and the like worth another try."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        raise TransientError(f"database: {error.__cause__ or error}") from error
    except OSError as error:
        raise TransientError(f"{type(error).__name__}: {error}") from error


def insert_once(connection: sa.Connection, table: sa.Table, values: dict[str, object], *, on: str) -> bool:
    """Insert unless the unique column `on` is taken; whether it was inserted. SQLite's and PostgreSQL's same clause."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    # RETURNING, because the row count of an INSERT is -1 with psycopg.
    statement = insert(table).values(values).on_conflict_do_nothing(index_elements=[on]).returning(table.c[on])
    return connection.execute(statement).first() is not None
