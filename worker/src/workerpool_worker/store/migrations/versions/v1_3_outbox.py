"""1.3: the transactional outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1.3"
down_revision = "1.2"


def upgrade() -> None:
    """Add the table `outbox`."""
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.String(300), nullable=False),
        sa.Column("task", sa.String(300), nullable=False),
        sa.Column("queue", sa.String(300), nullable=False),
        sa.Column("kwargs", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer),
        sa.Column("due_at", sa.Float),
        sa.Column("correlation_id", sa.String(300)),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("relay_at", sa.Float, nullable=False, server_default="0"),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_error", sa.Text),
    )
    op.create_index("ix_outbox_job_id", "outbox", ["job_id"])
