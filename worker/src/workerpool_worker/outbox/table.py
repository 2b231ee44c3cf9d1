"""The table `outbox`: jobs that are committed and not yet in Redis. Almost always it is empty.

Times are Unix seconds. `relay_at`: a relay leaves the row alone until then. Who writes a row and means to send it right
after the commit sets it a little ahead; it is also how a row that cannot be sent is kept from being tried all the time.
"""

from __future__ import annotations

import time

import sqlalchemy as sa

from workerpool_worker.runtime.database import metadata

outbox = sa.Table(
    "outbox",
    metadata,
    # SQLite counts up by itself only where the type is INTEGER.
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("job_id", sa.String(300), nullable=False, index=True),
    sa.Column("task", sa.String(300), nullable=False),
    sa.Column("queue", sa.String(300), nullable=False),
    # JSON as text: any driver can write it.
    sa.Column("kwargs", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer),
    sa.Column("due_at", sa.Float),
    sa.Column("correlation_id", sa.String(300)),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("relay_at", sa.Float, nullable=False, server_default="0"),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_error", sa.Text),
)


def due_within(seconds: float) -> sa.Select[tuple[int]]:
    """Finds a row that a relay may send now or within this time, if there is one."""
    return sa.select(outbox.c.id).where(outbox.c.relay_at <= time.time() + seconds).limit(1)
