"""Alembic's way in. The connection, its transaction and its lock are the caller's: see `store.upgrade`."""

from __future__ import annotations

from alembic import context

from workerpool_worker.store.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    # Both databases can take back a CREATE TABLE; Alembic believes that SQLite cannot.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
