"""Brings the database's tables to this program's version, by Alembic, one process at a time.

All of it is one transaction: a process that is killed in the middle leaves the tables as they were. PostgreSQL's
advisory lock keeps others out, on SQLite the write lock that BEGIN IMMEDIATE takes; whoever had to wait finds the work
done.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import exc

from workerpool_worker.store.schema import HEAD, Standing, standing_of, too_new, version_of

_log = logging.getLogger("workerpool_worker.database")

# Any number will do, as long as it is always the same.
_LOCK_ID = 0x776F726B6572706F
_WAIT_FOR_OTHERS = "10min"
# ALTER TABLE waits behind running transactions, and new ones queue up behind it: rather give way and come back.
_WAIT_FOR_A_TABLE = "3s"
_TRIES = 20
_BETWEEN_TRIES_S = 0.5
# lock_timeout, deadlock, serialization; and two that name one table at the same moment, one of whom did not ask here.
_PASSING = frozenset({"55P03", "40P01", "40001", "23505", "42P07"})


def upgrade(engine: sa.Engine) -> str | None:
    """Upgrade if need be; the version there was before, None where there was none.

    Raises:
        SchemaError: the tables are newer than this program, or not this program's at all.
        sqlalchemy.exc.SQLAlchemyError: the database cannot be used.
    """
    for left in reversed(range(_TRIES)):
        try:
            return _upgrade(engine)
        except exc.DBAPIError as error:
            if not left or not _passes(error):
                raise
            _log.warning("upgrading the database's tables: %s; trying again", str(error.orig).strip())
            time.sleep(_BETWEEN_TRIES_S)
    raise AssertionError("the last try returns or raises")


def alembic_config(connection: sa.Connection) -> Config:
    """Alembic's configuration: the versions of this package, on this connection."""
    config = Config()
    folder = Path(__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _upgrade(engine: sa.Engine) -> str | None:
    began = time.monotonic()
    with engine.begin() as connection:
        _lock(connection)
        before = _version_within(connection)
        standing = standing_of(before)
        if standing is Standing.NEWER_MAJOR:
            raise too_new(before)
        if standing in {Standing.CURRENT, Standing.NEWER_MINOR}:
            return before
        # One line of ours instead of Alembic's four.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        command.upgrade(alembic_config(connection), HEAD)
    took = time.monotonic() - began
    _log.info("the database's tables went from version %s to %s in %.2f s", before or "none", HEAD, took)
    return before


def _lock(connection: sa.Connection) -> None:
    if connection.dialect.name != "postgresql":
        return  # the engine begins every transaction on SQLite with the write lock
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_WAIT_FOR_OTHERS}'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_ID})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_WAIT_FOR_A_TABLE}'")


def _version_within(connection: sa.Connection) -> str | None:
    # In a savepoint: a failed statement would abort the transaction, which holds the lock.
    savepoint = connection.begin_nested()
    try:
        return version_of(connection)
    finally:
        savepoint.rollback()


def _passes(error: exc.DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) in _PASSING or "database is locked" in str(error.orig)
