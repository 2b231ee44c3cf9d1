"""The outbox on SQLite and PostgreSQL: committed with its cause or not at all, in order, shared, in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import sqlalchemy as sa
from sqlalchemy.orm import Session

from tests.integration.worker.outbox_world import fresh_database, payment, rows, write
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker import outbox
from workerpool_worker.messages import keys
from workerpool_worker.models import Job
from workerpool_worker.outbox.relay import UNREADABLE_AGAIN_S, Relay
from workerpool_worker.outbox.table import outbox as table
from workerpool_worker.producer import BrokerUnreachableError, Producer
from workerpool_worker.runtime.database import make_engine

pytestmark = pytest.mark.integration


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    postgres = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    made = make_engine(fresh_database(request.param, tmp_path, postgres))
    yield made
    made.dispose()


@pytest.fixture
def producer(redis_server: RedisServer) -> Iterator[Producer]:
    with Producer(redis_server.url, timeout_s=1.0) as made:
        yield made


@pytest.fixture
def relay(engine: sa.Engine, producer: Producer) -> Relay:
    return Relay(engine, producer, batch=10)


def sent(client: redis.Redis, key: str = "payment") -> list[str]:
    """The ids of what lies in a list, first sent first."""
    raw: Any = client.lrange(key, 0, -1)
    return [json.loads(message)["headers"]["id"] for message in reversed(raw)]


def test_a_job_commits_with_its_cause_or_not_at_all(engine: sa.Engine, relay: Relay, redis_client: redis.Redis) -> None:
    def order(number: int, *, fail: bool) -> None:
        with engine.begin() as connection:
            outbox.add(connection, payment(number))
            if fail:
                raise ZeroDivisionError

    order(1, fail=False)
    with pytest.raises(ZeroDivisionError):
        order(2, fail=True)
    with Session(engine) as session, session.begin():
        assert outbox.add(session, payment(3)) == "payment-p3"
    with Session(engine) as session:
        outbox.add(session, payment(4))
        session.rollback()
    assert relay.run_once() == 2
    assert sent(redis_client) == ["payment-p1", "payment-p3"]
    assert rows(engine) == []
    assert relay.run_once() == 0


def test_a_program_without_sqlalchemy_writes_a_row_by_its_own_driver(
    engine: sa.Engine, relay: Relay, redis_client: redis.Redis
) -> None:
    due_at = datetime.fromtimestamp(time.time() + 900, UTC)
    url = engine.url
    connection: Any
    if url.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(url.database))
        statements = [
            outbox.insert_statement(payment(1)),
            outbox.insert_statement(payment(2), style="qmark", due_at=due_at, priority=9, correlation_id="request-7"),
        ]
    else:
        connection = psycopg.connect(host=url.host, port=url.port, user=url.username, dbname=url.database)
        statements = [
            outbox.insert_statement(payment(1), style="pyformat"),
            outbox.insert_statement(payment(2), style="format", due_at=due_at, priority=9, correlation_id="request-7"),
        ]
    cursor = connection.cursor()
    cursor.execute(*statements[0])
    connection.rollback()
    for statement in statements:
        cursor.execute(*statement)
    connection.commit()
    connection.close()
    assert relay.run_once() == 2
    assert sent(redis_client) == ["payment-p1"]
    entries: Any = redis_client.hvals(keys.delayed_messages("payment"))
    place, _, message = entries[0].partition("\n")
    assert (place, json.loads(message)["headers"]["correlation_id"]) == ("payment\x06\x169", "request-7")
    assert redis_client.zscore(keys.delayed("payment"), json.loads(message)["properties"]["delivery_tag"]) == (
        pytest.approx(due_at.timestamp())
    )


def test_what_waits_is_sent_in_its_order_over_many_batches(
    engine: sa.Engine, relay: Relay, redis_client: redis.Redis
) -> None:
    write(engine, *range(35))
    asked = [row.created_at for row in rows(engine)]
    assert relay.step() == 10
    assert relay.waiting() == 25
    assert relay.run_once() == 25
    assert sent(redis_client) == [f"payment-p{number}" for number in range(35)]
    raw: Any = redis_client.lrange("payment", 0, -1)
    # The age of a job counts from when the shop asked for it.
    assert [json.loads(message)["headers"]["enqueued_at"] for message in reversed(raw)] == asked


def test_what_another_means_to_send_itself_is_left_to_it_for_a_while(
    engine: sa.Engine, relay: Relay, redis_client: redis.Redis
) -> None:
    with engine.begin() as connection:
        outbox.add(connection, payment("theirs"), relay_after_s=60)
        outbox.add(connection, payment("ours"))
    assert relay.run_once() == 1
    assert sent(redis_client) == ["payment-pours"]
    assert (relay.more_within(30), relay.more_within(90)) == (False, True)
    with engine.begin() as connection:
        connection.execute(table.update().values(relay_at=time.time()))
    assert relay.run_once() == 1


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kwargs": "{"}, "Expecting property name"),
        ({"kwargs": "[1]"}, "kwargs is not a JSON object"),
        ({"task": ""}, "must not be empty"),
        ({"due_at": 1e300}, "due_at is no time"),
    ],
)
def test_a_row_that_is_no_job_stays_and_holds_nothing_up(
    engine: sa.Engine,
    relay: Relay,
    redis_client: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    values: dict[str, object],
    says: str,
) -> None:
    write(engine, 1, 2)
    with engine.begin() as connection:
        connection.execute(table.update().where(table.c.job_id == "payment-p1").values(values))
    assert relay.run_once() == 2
    assert sent(redis_client) == ["payment-p2"]
    (left,) = rows(engine)
    assert (left.job_id, left.tries) == ("payment-p1", 1)
    assert says in left.last_error
    assert left.relay_at > time.time() + UNREADABLE_AGAIN_S / 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    # Mended, it goes the way of the others.
    good = outbox.insert_statement(payment(1))[1]
    with engine.begin() as connection:
        connection.execute(table.update().values({**good, "relay_at": 0.0}))
    assert relay.run_once() == 1
    assert sent(redis_client) == ["payment-p2", "payment-p1"]


def test_while_redis_is_away_all_stays_and_the_row_says_why(
    engine: sa.Engine, relay: Relay, redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    write(engine, *range(12))
    redis_server.stop()
    for _ in range(2):
        with pytest.raises(BrokerUnreachableError):
            relay.run_once()
    found = rows(engine)
    # Of the batch that is first in line; what is behind it was not tried.
    assert [row.tries for row in found] == [2] * 10 + [0] * 2
    assert "refused the connection" in found[0].last_error
    assert found[-1].last_error is None
    redis_server.start()
    assert relay.run_once() == 12
    assert len(set(sent(redis_client))) == 12


def test_a_redis_that_takes_nothing_leaves_all_in_the_outbox(
    engine: sa.Engine, relay: Relay, redis_client: redis.Redis
) -> None:
    """It answers, so this fails in the middle of the transaction."""
    write(engine, *range(3))
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerUnreachableError, match="raise its maxmemory"):
            relay.run_once()
        assert [(row.job_id, row.tries) for row in rows(engine)] == [(f"payment-p{number}", 1) for number in range(3)]
    finally:
        redis_client.config_set("maxmemory", 0)
    assert relay.run_once() == 3
    assert sent(redis_client) == [f"payment-p{number}" for number in range(3)]


def test_relays_share_the_work(engine: sa.Engine, redis_server: RedisServer, redis_client: redis.Redis) -> None:
    write(engine, *range(300))
    together = threading.Barrier(4)

    def run(_: int) -> int:
        with Producer(redis_server.url) as producer:
            relay = Relay(engine, producer, batch=7)
            together.wait(20)
            return relay.run_once()

    with ThreadPoolExecutor(4) as pool:
        moved = list(pool.map(run, range(4)))
    assert sum(moved) == 300
    # Nobody was killed, so nothing went twice.
    assert sorted(sent(redis_client)) == sorted(f"payment-p{number}" for number in range(300))
    assert rows(engine) == []


class _Held(Producer):
    """A Redis that takes long over a batch: it is handed over when told."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.inside, self.go_on = threading.Event(), threading.Event()

    def hand_over(self, outs: Any) -> None:
        self.inside.set()
        assert self.go_on.wait(20)
        super().hand_over(outs)


def test_on_postgresql_a_relay_in_the_middle_of_a_batch_is_in_nobodys_way(
    tmp_path: Path, postgres: str, redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    engine = make_engine(fresh_database("postgresql", tmp_path, postgres))
    write(engine, *range(5))
    with _Held(redis_server.url) as held, Producer(redis_server.url) as producer:
        slow = threading.Thread(target=Relay(engine, held).run_once)
        slow.start()
        assert held.inside.wait(20)
        began = time.monotonic()
        write(engine, 5, 6)
        assert Relay(engine, producer).run_once() == 2
        took = time.monotonic() - began
        held.go_on.set()
        slow.join(20)
    assert took < 2
    assert sent(redis_client) == [f"payment-p{number}" for number in (5, 6, 0, 1, 2, 3, 4)]
    assert rows(engine) == []
    engine.dispose()


def test_a_silent_redis_keeps_no_writer_waiting(engine: sa.Engine, relay: Relay, redis_server: RedisServer) -> None:
    """Nobody holds SQLite's write lock while Redis is waited for."""
    write(engine, *range(5))
    assert relay.step() == 5
    write(engine, 5)
    assert redis_server.pid is not None
    failed: list[type[Exception]] = []

    def run() -> None:
        try:
            relay.run_once()
        except BrokerUnreachableError as error:
            failed.append(type(error))

    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        longest = 0.0
        while thread.is_alive():
            began = time.monotonic()
            write(engine, time.time_ns())
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.02)
        thread.join()
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    assert failed == [BrokerUnreachableError]
    assert longest < 0.8, f"a writer waited for {longest:.2f} s"


def test_a_relay_knows_any_task(engine: sa.Engine, relay: Relay, redis_client: redis.Redis) -> None:
    """A shop's own job is a row like another; only its worker has to know it."""

    class Own(Job):
        task = "own.task"
        queue = "own"
        prefix = "own"

    with engine.begin() as connection:
        outbox.add(connection, Own(id="1"))
    assert relay.run_once() == 1
    assert sent(redis_client, "own") == ["own-1"]


def test_the_statements_of_the_docs_are_the_workers_table(
    tmp_path: Path, postgres: str, redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "sending-jobs.md").read_text()
    create, insert = (part.partition("```")[0] for part in page.split("```sql\n")[1:])
    engine = make_engine(fresh_database("postgresql", tmp_path, postgres))
    columns = "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = 'outbox'"
    with engine.begin() as connection:
        ours = sorted(tuple(row) for row in connection.exec_driver_sql(columns))
        connection.exec_driver_sql("DROP TABLE outbox")
        connection.exec_driver_sql(create)
        assert sorted(tuple(row) for row in connection.exec_driver_sql(columns)) == ours
        connection.exec_driver_sql(insert)
    with Producer(redis_server.url) as producer:
        assert Relay(engine, producer).run_once() == 1
    assert sent(redis_client) == ["payment-p1"]
    engine.dispose()
