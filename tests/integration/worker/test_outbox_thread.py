"""The relay in a thread of the process that left jobs in the outbox."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from tests.integration.worker.bench import until
from tests.integration.worker.outbox_world import fresh_database, rows, write
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker import outbox
from workerpool_worker.models import Payment
from workerpool_worker.outbox import handing_over
from workerpool_worker.runtime.database import engine_for
from workerpool_worker.settings import Settings, load_settings

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(redis_server: RedisServer, tmp_path: Path) -> Settings:
    url = fresh_database("sqlite", tmp_path, None)
    # What JOBS_MODE is where a worker runs is of no interest to it.
    return load_settings({"DATABASE_URL": url, "WORKERPOOL_BROKER_URL": redis_server.url, "JOBS_MODE": "off"})


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    yield engine_for(settings.database)
    until(lambda: not relaying())


def relaying() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "outbox-relay"]


def test_it_waits_for_redis_sends_and_ends(
    settings: Settings, engine: sa.Engine, redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    write(engine, *range(3))
    redis_server.stop()
    for _ in range(3):
        handing_over.see_to_it(settings)
    assert len(relaying()) == 1
    until(lambda: rows(engine)[0].tries > 0)
    redis_server.start()
    until(lambda: not relaying())
    assert rows(engine) == []
    assert redis_client.llen("payment") == 3


def test_leftovers_are_seen_to_and_without_them_no_thread_is_started(
    settings: Settings, engine: sa.Engine, redis_client: redis.Redis
) -> None:
    with engine.begin() as connection:
        outbox.add(connection, Payment(id="p", amount_minor=5), relay_after_s=3600)
    handing_over.see_to_leftovers(settings)
    assert relaying() == []
    with engine.begin() as connection:
        # As a worker that was killed a moment ago leaves it: still its own for some seconds.
        outbox.add(connection, Payment(id="q", amount_minor=5), relay_after_s=2)
    handing_over.see_to_leftovers(settings)
    assert len(relaying()) == 1
    until(lambda: not relaying())
    assert redis_client.llen("payment") == 1
    assert [row.job_id for row in rows(engine)] == ["payment-p"]


def test_the_thread_takes_no_signal_that_a_job_keeps_away(
    settings: Settings, engine: sa.Engine, redis_server: RedisServer
) -> None:
    """Python runs a handler in the main thread, whichever thread the kernel gave the signal to.

    Sent to the thread itself: the tests' own process may have threads that take what the process is sent.
    """
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: came.append(number))
    redis_server.stop()
    write(engine, 1)
    try:
        handing_over.see_to_it(settings)
        (thread,) = relaying()
        assert thread.ident is not None
        signal.pthread_kill(thread.ident, signal.SIGUSR1)
        until(lambda: rows(engine)[0].tries > 0)
        assert came == []
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        until(lambda: came == [signal.SIGUSR1])
    finally:
        signal.signal(signal.SIGUSR1, before)
        redis_server.start()
