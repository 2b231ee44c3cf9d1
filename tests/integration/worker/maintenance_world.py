"""What the tests of maintenance stand on: a database, a Redis, and jobs that were published."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from celery import Celery

from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.messages.dead_letters import DeadLetters
from workerpool_worker.messages.letters import Letter
from workerpool_worker.messages.wire import encode, message_for
from workerpool_worker.models import Job
from workerpool_worker.runtime.context import JobContext
from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.settings import load_settings

HOUR_S = 3600.0
DAY_S = 86_400.0


@dataclass
class World:
    engine: sa.Engine
    client: redis.Redis
    broker_url: str
    database_url: str
    app: Celery
    published: list[Job] = field(default_factory=list)
    now_s: float = field(default_factory=time.time)

    def context(self, job_id: str = "maintenance", **environ: str) -> JobContext:
        ours = {"WORKERPOOL_BROKER_URL": self.broker_url, "DATABASE_URL": self.database_url}
        return JobContext(
            settings=load_settings(ours | environ),
            engine=self.engine,
            job_id=job_id,
            redelivered=False,
            publish=self.published.append,
        )

    def message(self, job_id: str, *, queue: str = "email", task: str = "email.send") -> str:
        headers = {"enqueued_at": self.now_s - 2 * HOUR_S}
        return encode(message_for(self.app, task, {}, job_id=job_id, queue=queue, headers=headers))

    def bury(self, job_id: str, *, queue: str = "email", died_at: float | None = None) -> None:
        letter = Letter(
            id=job_id,
            job_id=job_id,
            queue=queue,
            list_key=queue,
            error="MailRefusedError",
            text="no such mailbox",
            died_at=self.now_s if died_at is None else died_at,
            enqueued_at=self.now_s - 2 * HOUR_S,
        )
        assert DeadLetters(self.client).put(letter, self.message(job_id, queue=queue).encode())

    def execute(self, statement: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(statement)

    def rows(self, *columns: Any) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(*columns))]

    def waiting(self, queue: str) -> list[str]:
        found: Any = self.client.lrange(queue, 0, -1)
        return [json.loads(raw)["headers"]["id"] for raw in found]


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> Iterator[World]:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
    settings = load_settings({"DATABASE_URL": url})
    engine = make_engine(settings.database)
    if request.param == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    create_tables(engine)
    app = Celery("test", set_as_current=False)
    with redis.Redis.from_url(redis_server.url) as client:
        yield World(engine, client, redis_server.url, url, app)
    app.close()
    engine.dispose()
