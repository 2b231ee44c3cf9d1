"""The versions of the worker's tables, on SQLite and on PostgreSQL, by processes that start at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.databases import (
    differences,
    emptied,
    make_tables_of_before,
    names_of_before,
    set_version,
    version,
)
from workerpool_worker.effects import EffectsReader
from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.store.schema import HEAD, VERSION_TABLE, SchemaError, load_tables
from workerpool_worker.store.upgrade import upgrade

pytestmark = pytest.mark.integration


def tables(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names())


def shape(engine: sa.Engine) -> object:
    look = sa.inspect(engine)
    return {
        name: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in look.get_columns(name)],
            sorted((index["name"] or "", tuple(index["column_names"])) for index in look.get_indexes(name)),
            look.get_pk_constraint(name)["constrained_columns"],
            sorted(tuple(one["column_names"]) for one in look.get_unique_constraints(name)),
        )
        for name in tables(engine)
    }


def test_the_models_are_what_the_versions_make(database: sa.Engine) -> None:
    create_tables(database)
    assert differences(database) == [], "a model has changed: it needs a version, see CONTRIBUTING.md"
    assert version(database) == [HEAD]


def test_the_comparison_sees_what_is_missing(database: sa.Engine) -> None:
    create_tables(database)
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs DROP COLUMN worker")
        connection.exec_driver_sql("DROP INDEX ix_jobs_updated_at")
    assert len(differences(database)) == 2


def test_a_database_of_before_is_taken_over_with_what_is_in_it(
    database: sa.Engine, database_url: str, tmp_path: Path
) -> None:
    make_tables_of_before(database)
    with database.begin() as connection:
        connection.exec_driver_sql("INSERT INTO stock VALUES ('tea', 7)")
        connection.exec_driver_sql(
            "INSERT INTO orders VALUES ('o', 'paid', NULL, 'Ada', 'a@x.y', 'EUR', 500, 0, 'INV-000001', 1.5, 1.5)"
        )
        connection.exec_driver_sql(
            "INSERT INTO effects VALUES ('order:o', 'h', 'done', 'order-o', 1, 0, '{}', 1.5, 1.5)"
        )
    create_tables(database)
    assert version(database) == [HEAD]
    assert differences(database) == []
    reader = EffectsReader(database_url)
    assert reader.stock() == {"tea": 7}
    assert [(order.id, order.invoice_number) for order in reader.orders()] == [("o", "INV-000001")]
    assert reader.effects_by_state() == {"done": 1}
    reader.close()
    taken_over = shape(database)
    if database.dialect.name == "postgresql":
        emptied(database_url)
        fresh = database
    else:
        fresh = make_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
    create_tables(fresh)
    assert shape(fresh) == taken_over
    fresh.dispose()


def test_what_is_missing_of_a_database_of_before_is_made(database: sa.Engine) -> None:
    make_tables_of_before(database)
    with database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE sandbox_sms")
        connection.exec_driver_sql("DROP INDEX ix_provider_refunds_payment_id")
    create_tables(database)
    assert differences(database) == []


def test_a_shops_own_table_of_that_name_is_left_alone(database: sa.Engine) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, basket TEXT)")
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('a1b2c3')")
    with pytest.raises(SchemaError, match="the table orders of the database is not this worker's: it has no column"):
        create_tables(database)
    assert tables(database) == {"orders", "alembic_version"}, "all or nothing"
    with database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE orders")
    create_tables(database)
    with database.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one() == "a1b2c3"
    assert differences(database) == []


def test_a_schema_of_its_own_beside_the_shops_tables(postgres: str) -> None:
    admin = make_engine(emptied(postgres))
    with admin.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA IF EXISTS workerpool CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA workerpool")
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, basket TEXT)")
    engine = make_engine(f"{postgres}?options=-csearch_path%3Dworkerpool")
    create_tables(engine)
    assert version(engine) == [HEAD]
    assert set(sa.inspect(admin).get_table_names(schema="workerpool")) == {*load_tables().tables, VERSION_TABLE}
    assert tables(admin) == {"orders"}
    for one in (engine, admin):
        one.dispose()


START = """
import sys, time
from workerpool_worker.runtime.database import engine_for
import workerpool_worker.store.upgrade, alembic.command  # so that all of them come to the database at once
print("ready", flush=True)
sys.stdin.readline()
engine_for(sys.argv[1])
print("up")
"""


def test_ten_processes_that_start_at_once_all_come_up(database: sa.Engine, database_url: str) -> None:
    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", START, database_url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    processes = [start() for _ in range(10)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        ends = [process.communicate(timeout=90) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [out for out, _ in ends] == ["up\n"] * 10, "\n".join(error for _, error in ends)
    assert version(database) == [HEAD]
    assert differences(database) == []


def test_a_database_that_is_up_to_date_costs_no_alembic(database: sa.Engine, database_url: str) -> None:
    create_tables(database)
    look = "import sys; from workerpool_worker.runtime.database import engine_for; engine_for(sys.argv[1]); "
    look += "print(sorted({name.split('.')[0] for name in sys.modules} & {'alembic', 'mako'}))"
    done = subprocess.run([sys.executable, "-c", look, database_url], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_older_version_is_upgraded_and_a_newer_minor_is_left(database: sa.Engine) -> None:
    create_tables(database)
    assert upgrade(database) == HEAD, "nothing to do"
    major, _, minor = HEAD.partition(".")
    later = f"{major}.{int(minor) + 1}"
    set_version(database, later)
    create_tables(database)
    upgrade(database)
    assert version(database) == [later]
    with database.begin() as connection:
        for name in load_tables().tables.keys() - set(names_of_before()):
            connection.exec_driver_sql(f"DROP TABLE {name}")
    set_version(database, "1.1")
    create_tables(database)
    assert version(database) == [HEAD]
    assert differences(database) == []


UPGRADE = """
import logging, sys
from workerpool_worker.runtime.database import engine_for
logging.basicConfig()
engine_for(sys.argv[1])
"""


def test_an_upgrade_gives_way_to_a_transaction_that_is_at_a_table(postgres: str) -> None:
    engine = make_engine(emptied(postgres))
    make_tables_of_before(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX ix_provider_refunds_payment_id")
    with engine.connect() as busy:
        # As a job does that writes a refund and is not done: the index cannot be made meanwhile.
        busy.exec_driver_sql("LOCK TABLE provider_refunds IN ROW EXCLUSIVE MODE")
        command = [sys.executable, "-c", UPGRADE, postgres]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                assert "lock timeout; trying again" in process.stderr.readline()
                busy.rollback()
                rest = process.stderr.read()
                assert process.wait(30) == 0, rest
            finally:
                process.kill()
    assert version(engine) == [HEAD]
    assert differences(engine) == []
    engine.dispose()


def test_a_user_who_may_not_change_tables(postgres: str) -> None:
    admin = make_engine(emptied(postgres))
    with admin.begin() as connection:
        if not connection.exec_driver_sql("SELECT 1 FROM pg_roles WHERE rolname = 'reader'").first():
            connection.exec_driver_sql("CREATE ROLE reader LOGIN")
        connection.exec_driver_sql("GRANT USAGE ON SCHEMA public TO reader")
    theirs = make_engine(postgres.replace("//test@", "//reader@"))
    with pytest.raises(SchemaError, match="permission denied for schema public; run workerpool-worker migrate as"):
        create_tables(theirs)
    create_tables(admin)
    with pytest.raises(SchemaError, match=f"permission denied for table {VERSION_TABLE}"):
        create_tables(theirs)
    with admin.begin() as connection:
        connection.exec_driver_sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO reader")
    create_tables(theirs)
    for engine in (admin, theirs):
        engine.dispose()
