"""Real Celery producers and workers, and a reader of what they do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, signals

from tests.support.celery_apps.contract import Gate, Watch, Worker
from tests.support.celery_apps.plain import make_app
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.ports import QueueSource


@pytest.fixture
async def watch(redis_server: RedisServer) -> AsyncIterator[Callable[..., Watch]]:
    """``watch(source("mail"), url=…)``: a reader, closed at the end."""
    made: list[Watch] = []

    def make(*sources: QueueSource, url: str | None = None, **options: Any) -> Watch:
        made.append(Watch(redis_server.url if url is None else url, *sources, **options))
        return made[-1]

    yield make
    for one in made:
        await one.reader.close()


@pytest.fixture
def producer(redis_server: RedisServer) -> Iterator[Callable[..., Celery]]:
    """``producer(**options)``: a Celery app that sends to the test's Redis, and stamps nothing, as stock Celery."""
    # the bundled worker's producer, where another test of this process used it, stamps all that the process sends
    signals.before_task_publish.disconnect(dispatch_uid="workerpool-headers")
    apps: list[Celery] = []

    def make(broker: str | None = None, **options: Any) -> Celery:
        apps.append(make_app(broker or redis_server.url, **options))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def worker(redis_server: RedisServer, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """``worker("mail", task_acks_late=True)``: a worker of the test's Redis, killed at the end."""
    workers: list[Worker] = []

    def start(queues: str, *arguments: str, broker: str | None = None, **options: Any) -> Worker:
        log = tmp_path / f"worker-{len(workers)}.log"
        workers.append(Worker(log, broker or redis_server.url, queues, arguments, options))
        return workers[-1]

    yield start
    for one in workers:
        one.kill()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """What every ``hold`` job of the test waits for."""
    return Gate(tmp_path / "gate")
