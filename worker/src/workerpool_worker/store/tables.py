"""The table of the status of jobs. Times are Unix seconds."""

from __future__ import annotations

import sqlalchemy as sa

from workerpool_worker.runtime.database import metadata

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(300), primary_key=True),
    sa.Column("task", sa.String(300), nullable=False),
    sa.Column("queue", sa.String(300), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    # The state as a number that only grows within one try; see store/jobs.py.
    sa.Column("stage", sa.SmallInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    # Of this try's progress; empty where nothing was said.
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
    sa.Index("ix_jobs_state_updated_at", "state", "updated_at", "id"),
    sa.Index("ix_jobs_updated_at", "updated_at", "id"),
)
