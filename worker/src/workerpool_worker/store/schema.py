"""Which version the database's tables have, told by one cheap SELECT; Alembic is imported only where one is missing.

A version is MAJOR.MINOR. A new minor only adds (a table, a column that may be empty, an index), so a program that knows
an older minor goes on working beside one that brought a newer: pods of both run during a rollout. A new major does
not let older programs work; they say so and do not touch the database.
"""

# ruff: noqa: PLC0415 - a database that is up to date needs neither Alembic nor the tables

from __future__ import annotations

import enum

import sqlalchemy as sa
from sqlalchemy import exc

from workerpool_worker.runtime.errors import TransientError

HEAD = "1.3"
"""The version this program brings a database to."""

VERSION_TABLE = "workerpool_schema"
"""Not Alembic's usual `alembic_version`: the shop's own programs may use that in the same database."""

_UNDEFINED_TABLE = "42P01"
_LOOK_AGAIN_S = 30.0


class SchemaError(TransientError):
    """The database's tables are not what this program can work with; somebody has to see to it.

    Transient for jobs: during a rollout the next try may run in a newer worker, and no job is lost meanwhile.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text, retry_after_s=_LOOK_AGAIN_S)


class Standing(enum.Enum):
    """How a database's version stands to this program's."""

    CURRENT = "current"
    NEWER_MINOR = "newer, and this program can work with it"
    NEWER_MAJOR = "newer than this program can work with"
    OLDER = "older"
    NONE = "without a version"


def version_of(connection: sa.Connection) -> str | None:
    """The version the tables have; None in a database without one (empty, or made before there were versions).

    The connection's transaction is of no use afterwards if there was none: PostgreSQL aborts it.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database cannot be read.
    """
    try:
        found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar_one_or_none()  # noqa: S608 - a constant
    except exc.DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _UNDEFINED_TABLE or "no such table" in str(error.orig):
            return None
        raise
    return None if found is None else str(found)


def standing_of(version: str | None) -> Standing:
    """How a version stands to this program's.

    Raises:
        SchemaError: it is none that any version of this program writes.
    """
    if version is None:
        return Standing.NONE
    if version == HEAD:
        return Standing.CURRENT
    major, _, minor = version.partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        raise SchemaError(f"the table {VERSION_TABLE} says {version!r}, which is no version; restore it from a back-up")
    (our_major, our_minor), theirs = map(int, HEAD.split(".")), (int(major), int(minor))
    if theirs[0] != our_major:
        return Standing.NEWER_MAJOR if theirs[0] > our_major else Standing.OLDER
    return Standing.NEWER_MINOR if theirs[1] > our_minor else Standing.OLDER


def bring_up_to_date(engine: sa.Engine) -> None:
    """See to it that the tables are those of this program, or newer ones it can work with.

    Raises:
        SchemaError: they are of a version that this program cannot work with, or it may not make them.
        sqlalchemy.exc.SQLAlchemyError: the database cannot be reached.
    """
    try:
        _bring_up_to_date(engine)
    except (exc.OperationalError, exc.InterfaceError):
        raise  # away, or locked for long: it passes by itself
    except exc.DBAPIError as error:
        why = str(error.orig).strip().partition("\n")[0]
        raise SchemaError(
            f"cannot bring the database's tables to version {HEAD}: {why}; "
            "run workerpool-worker migrate as a user who may change tables"
        ) from error


def _bring_up_to_date(engine: sa.Engine) -> None:
    from workerpool_worker.runtime.database import reading

    with reading(engine) as connection:
        version = version_of(connection)
    standing = standing_of(version)
    if standing is Standing.NEWER_MAJOR:
        raise too_new(version)
    if standing in {Standing.OLDER, Standing.NONE}:
        from workerpool_worker.store.upgrade import upgrade

        upgrade(engine)


def too_new(version: str | None) -> SchemaError:
    """The error of a database that is ahead of the program."""
    return SchemaError(
        f"the database's tables have version {version}, made by a newer workerpool-worker; this one knows {HEAD}: "
        "run the newer one, or restore the database from before its migration"
    )


def load_tables() -> sa.MetaData:
    """All tables as this program's models have them. A module that defines one is imported here."""
    import workerpool_worker.jobs.orders.tables
    import workerpool_worker.jobs.payments.books
    import workerpool_worker.jobs.payments.sandbox
    import workerpool_worker.jobs.sms.sandbox
    import workerpool_worker.outbox.table
    import workerpool_worker.runtime.idempotency
    import workerpool_worker.store.tables  # noqa: F401 - each adds its tables to the metadata
    from workerpool_worker.runtime.database import metadata

    return metadata
