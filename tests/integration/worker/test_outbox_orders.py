"""Orders and the jobs that follow them, when Redis does not take those at that moment: by real workers."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from tests.integration.worker.bench import Bench, until
from tests.integration.worker.outbox_world import fresh_database, rows
from tests.support.smtp import Mailbox
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.effects import EffectsReader
from workerpool_worker.jobs.orders.process import process_order
from workerpool_worker.jobs.orders.stock import set_stock
from workerpool_worker.models import Job, Order, OrderLine
from workerpool_worker.producer import Producer
from workerpool_worker.runtime.context import JobContext
from workerpool_worker.runtime.database import make_engine
from workerpool_worker.runtime.errors import TransientError
from workerpool_worker.settings import load_settings

pytestmark = pytest.mark.integration
ADMIN = "of-the-test"


def an_order(number: int) -> Order:
    lines = (OrderLine(sku="tea", quantity=1, unit_price_minor=499),)
    return Order(id=f"o{number}", customer="Ada", email=f"c{number}@example.org", lines=lines)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, bench: Bench) -> str:
    postgres = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    return fresh_database(request.param, bench.folder, postgres)


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    made = make_engine(url)
    set_stock(made, "tea", 1_000)
    yield made
    made.dispose()


@contextmanager
def taking_no_jobs(server: RedisServer, client: redis.Redis) -> Iterator[Producer]:
    """Everybody but the test may read and acknowledge, and put nothing into a list. The test's producer may."""
    acl: Any = functools.partial(client.execute_command, "ACL")
    acl("SETUSER", ADMIN, "on", ">" + ADMIN, "~*", "&*", "+@all")
    with Producer(server.url_for(user=ADMIN, password=ADMIN)) as producer:
        acl("SETUSER", "default", "-lpush")
        try:
            yield producer
        finally:
            acl("SETUSER", "default", "+lpush")
    acl("DELUSER", ADMIN)


def charges(url: str) -> list[str]:
    effects = EffectsReader(url)
    found = [entry.payment for entry in effects.ledger_entries()]
    effects.close()
    return found


def invoiced(url: str, wanted: int) -> bool:
    effects = EffectsReader(url)
    found = len(effects.invoices())
    effects.close()
    return found >= wanted


def all_came_once(url: str, mailbox: Mailbox, number: int) -> None:
    ids = [f"o{each}" for each in range(number)]
    effects = EffectsReader(url)
    assert effects.orders_by_state() == {"paid": number}
    assert sorted(entry.payment for entry in effects.ledger_entries()) == sorted(ids)
    assert sorted(invoice.order_id for invoice in effects.invoices()) == sorted(ids)
    effects.close()
    kinds = ("order-confirmation", "receipt")
    wanted = Counter(f"email-{kind}-{id_}" for id_ in ids for kind in kinds)
    came = Counter(mailbox.ids())
    assert came == wanted, f"too many: {came - wanted}, too few: {wanted - came}"


def test_what_redis_did_not_take_after_the_order_arrives_when_it_does(
    bench: Bench, redis_server: RedisServer, mailbox: Mailbox, url: str, engine: sa.Engine
) -> None:
    worker = bench.start(DATABASE_URL=url).ready()
    with taking_no_jobs(redis_server, bench.redis) as producer:
        for number in range(3):
            producer.send(an_order(number), correlation_id="request-7")
        # The orders are done, for good: what is left of them is in the database only.
        until(lambda: len(worker.outcomes()) == 3 and bench.all_done(), what=bench.logs)
        assert worker.outcomes() == [(f"order-o{number}", "reserved") for number in range(3)]
        assert [row.job_id for row in rows(engine)] == [
            f"{kind}-o{number}" for number in range(3) for kind in ("payment", "email-order-confirmation")
        ]
        assert {row.correlation_id for row in rows(engine)} == {"request-7"}
        assert charges(url) == []
    until(lambda: len(mailbox.mails) == 6 and bench.all_done(), timeout_s=30, what=bench.logs)
    all_came_once(url, mailbox, 3)
    assert rows(engine) == []
    said = [line["message"] for line in worker.lines()]
    assert said.count("follow-up jobs wait in the outbox") == 3
    assert sum(text.startswith("the outbox waits") for text in said) <= 1


def test_killed_with_jobs_in_the_outbox_they_are_sent_by_the_next(
    bench: Bench, redis_server: RedisServer, mailbox: Mailbox, url: str, engine: sa.Engine
) -> None:
    first = bench.start(DATABASE_URL=url).ready()
    with taking_no_jobs(redis_server, bench.redis) as producer:
        producer.send(an_order(0))
        until(lambda: len(first.outcomes()) == 1 and bench.all_done(), what=bench.logs)
        first.kill_group()
    assert len(rows(engine)) == 2
    bench.start(DATABASE_URL=url).ready()
    until(lambda: len(mailbox.mails) == 2 and bench.all_done(), timeout_s=40, what=bench.logs)
    all_came_once(url, mailbox, 1)
    assert rows(engine) == []


def test_redis_restarted_in_a_rush_of_orders_each_has_everything_once(
    bench: Bench, redis_server: RedisServer, mailbox: Mailbox, url: str, engine: sa.Engine
) -> None:
    bench.start(DATABASE_URL=url, WORKERPOOL_CONCURRENCY=2).ready()
    bench.producer.send_many(an_order(number) for number in range(40))
    for wanted in (5, 20):
        until(functools.partial(invoiced, url, wanted), timeout_s=30, what=bench.logs)
        redis_server.stop()
        redis_server.start()
    until(lambda: len(mailbox.mails) >= 80 and bench.all_done(), timeout_s=90, what=bench.logs)
    until(lambda: not rows(engine), what=bench.logs)
    all_came_once(url, mailbox, 40)


def test_a_redis_that_forgot_everything_after_the_commit_still_gets_the_follow_up_jobs(
    redis_server: RedisServer, redis_client: redis.Redis, url: str, engine: sa.Engine, tmp_path: Path
) -> None:
    """The order's own message is gone with it, so nothing repeats the order: only the outbox knows."""

    def away(job: Job) -> None:
        redis_server.stop()
        raise TransientError(f"cannot publish {job.job_id}")

    settings = load_settings({"DATABASE_URL": url, "WORKERPOOL_BROKER_URL": redis_server.url})
    context = JobContext(settings=settings, engine=engine, job_id="order-o0", redelivered=False, publish=away)
    assert process_order(context, an_order(0))["outcome"] == "reserved"
    redis_server.start()
    redis_client.flushall()
    until(lambda: not rows(engine), what=lambda: rows(engine))
    waiting: Any = [*redis_client.lrange("payment", 0, -1), *redis_client.lrange("email", 0, -1)]
    assert [json.loads(message)["headers"]["id"] for message in waiting] == [
        "payment-o0",
        "email-order-confirmation-o0",
    ]


def test_normally_nothing_waits_and_a_repeat_sends_again(engine: sa.Engine, tmp_path: Path) -> None:
    published: list[str] = []
    waiting: list[int] = []

    def publish(job: Job) -> None:
        waiting.append(len(rows(engine)))
        published.append(job.job_id)

    context = JobContext(
        settings=load_settings({"WORKERPOOL_STATE_DIR": str(tmp_path)}),
        engine=engine,
        job_id="order-o0",
        redelivered=False,
        publish=publish,
    )
    for _ in range(2):
        process_order(context, an_order(0))
        assert rows(engine) == []
    assert published == ["payment-o0", "email-order-confirmation-o0"] * 2
    # The first time they were in the outbox before they were sent; a repeat writes nothing.
    assert waiting == [2, 2, 0, 0]
