"""1.2: the status of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1.2"
down_revision = "1.1"


def upgrade() -> None:
    """Add the table `jobs`."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(300), primary_key=True),
        sa.Column("task", sa.String(300), nullable=False),
        sa.Column("queue", sa.String(300), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("stage", sa.SmallInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("percent", sa.Float),
        sa.Column("message", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("error_class", sa.String(300)),
        sa.Column("error", sa.Text),
        sa.Column("correlation_id", sa.String(300)),
        sa.Column("worker", sa.String(300)),
        sa.Column("enqueued_at", sa.Float),
        sa.Column("started_at", sa.Float),
        sa.Column("finished_at", sa.Float),
        sa.Column("due_at", sa.Float),
        sa.Column("updated_at", sa.Float, nullable=False),
    )
    op.create_index("ix_jobs_state_updated_at", "jobs", ["state", "updated_at", "id"])
    op.create_index("ix_jobs_updated_at", "jobs", ["updated_at", "id"])
