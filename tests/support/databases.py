"""The worker's database for tests: empty, on SQLite and PostgreSQL, and as it was before its tables had versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from workerpool_worker.runtime.database import make_engine
from workerpool_worker.store.schema import VERSION_TABLE, load_tables

BEFORE = Path(__file__).with_name("tables_before_versions.sql")
_WORDS = {"sqlite": ("INTEGER", "BLOB"), "postgresql": ("SERIAL", "BYTEA")}
_VERSIONS = sa.Table(VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32)))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with nothing in it; of a file that is not there yet on SQLite."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return emptied(request.getfixturevalue("postgres"))


@pytest.fixture
def database(database_url: str) -> Iterator[sa.Engine]:
    """An engine upon it. It makes no tables."""
    made = make_engine(database_url)
    yield made
    made.dispose()


def emptied(postgres_url: str) -> str:
    """The URL, its database without any table."""
    engine = make_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return postgres_url


def make_tables_of_before(engine: sa.Engine) -> None:
    """As `metadata.create_all` made them."""
    serial, blob = _WORDS[engine.dialect.name]
    text = BEFORE.read_text(encoding="utf-8").replace("{serial}", serial).replace("{blob}", blob)
    with engine.begin() as connection:
        for statement in text.split(";\n\n"):
            connection.exec_driver_sql(statement)


def differences(engine: sa.Engine) -> list[object]:
    """How the database differs from the models, as Alembic sees it."""
    ours = load_tables()

    def is_ours(_thing: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
        return kind != "table" or name in ours.tables

    options = {"version_table": VERSION_TABLE, "compare_type": True, "include_object": is_ours}
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), ours))


def version(engine: sa.Engine) -> list[str]:
    """What the table of the version holds; one, if all is well."""
    with engine.connect() as connection:
        return [row[0] for row in connection.execute(sa.select(_VERSIONS.c.version_num))]


def set_version(engine: sa.Engine, number: str) -> None:
    """Make the database say it has this version."""
    with engine.begin() as connection:
        connection.execute(_VERSIONS.update().values(version_num=number))


def names_of_before() -> list[str]:
    """The tables there were then."""
    lines = BEFORE.read_text(encoding="utf-8").splitlines()
    return [line.split()[2] for line in lines if line.startswith("CREATE TABLE")]
