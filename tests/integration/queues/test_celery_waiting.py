"""Waiting jobs, as real Celery producers put them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import redis
from celery import Celery

from tests.support.celery_apps.contract import Watch, Worker, source
from workerpool_operator.core.observation import Cause, QueueDepth, Unavailable
from workerpool_operator.local.redis_server import RedisServer

pytestmark = pytest.mark.integration
Make = Callable[..., Watch]
Producer = Callable[..., Celery]


async def test_nothing_is_zero_not_unknown(watch: Make) -> None:
    reading = await watch(source("mail", "sms")).broker()
    (pool,) = reading.pools.values()
    assert pool.queues == {"mail": QueueDepth(ready=0), "sms": QueueDepth(ready=0)}  # type: ignore[union-attr]
    assert (pool.held, pool.scheduled, pool.vanished, pool.due_in_s) == (0, 0, 0, ())  # type: ignore[union-attr]
    assert reading.commands == 2 * (1 + 2 * 4) + 2 + 2


async def test_priorities_add_up(watch: Make, producer: Producer, redis_client: redis.Redis) -> None:
    app = producer()
    for priority in (None, 0, 3, 5, 6, 9):
        app.send_task("quick", queue="mail", priority=priority)
    assert {key: redis_client.llen(key) for key in redis_client.keys("mail*")} == {
        "mail": 2, "mail\x06\x163": 2, "mail\x06\x166": 1, "mail\x06\x169": 1,
    }  # fmt: skip
    assert (await watch(source("mail")).depth("mail")).ready == 6
    assert (await watch(source("mail", priorities=(0,))).depth("mail")).ready == 2


async def test_other_priority_steps(watch: Make, producer: Producer) -> None:
    app = producer(broker_transport_options={"priority_steps": [0, 5]})
    app.send_task("quick", queue="mail", priority=7)
    assert (await watch(source("mail", priorities=(0, 5))).depth("mail")).ready == 1


async def test_global_keyprefix(watch: Make, producer: Producer) -> None:
    producer(broker_transport_options={"global_keyprefix": "eu:"}).send_task("quick", queue="mail", priority=3)
    both = watch(source("mail"), source("mail", name="eu", key_prefix="eu:"))
    assert (await both.pool(0)).queues == {"mail": QueueDepth(ready=0)}
    depth = (await both.pool(1)).queues["mail"]
    assert isinstance(depth, QueueDepth)
    assert depth.ready == 1


async def test_another_database(watch: Make, producer: Producer, redis_server: RedisServer) -> None:
    url = redis_server.url_for(database=5)
    producer(url).send_task("quick", queue="mail")
    assert (await watch(source("mail"), url=url).depth("mail")).ready == 1
    assert (await watch(source("mail")).depth("mail")).ready == 0


async def test_two_pools_may_list_the_same_queue(watch: Make, producer: Producer) -> None:
    producer().send_task("quick", queue="mail")
    both = watch(source("mail", "sms"), source("mail", name="other"))
    assert [(await both.pool(index)).queues["mail"].ready for index in (0, 1)] == [1, 1]  # type: ignore[union-attr]


async def test_age_is_known_where_the_producer_stamps_it(watch: Make, producer: Producer) -> None:
    app = producer()
    app.send_task("quick", queue="mail", headers={"enqueued_at": time.time() - 100})
    app.send_task("quick", queue="mail", priority=9, headers={"enqueued_at": time.time() - 300})
    assert (await watch(source("mail")).depth("mail")).oldest_job_s == pytest.approx(300, abs=5)


async def test_age_begins_when_the_job_came_due(watch: Make, producer: Producer) -> None:
    app = producer()
    eta = datetime.now(UTC) - timedelta(seconds=20)
    app.send_task("quick", queue="mail", eta=eta, headers={"enqueued_at": time.time() - 100})
    assert (await watch(source("mail")).depth("mail")).oldest_job_s == pytest.approx(20, abs=5)


async def test_without_a_stamp_age_is_how_long_it_was_seen(watch: Make, producer: Producer) -> None:
    app, now_s = producer(), [1000.0]
    one = watch(source("mail"), clock=lambda: now_s[0])
    app.send_task("quick", queue="mail")
    assert (await one.depth("mail")).oldest_job_s == 0
    now_s[0] += 7
    app.send_task("quick", queue="mail")
    assert await one.depth("mail") == QueueDepth(ready=2, oldest_job_s=7)


async def test_what_is_not_a_celery_message_counts_and_has_no_age(watch: Make, redis_client: redis.Redis) -> None:
    one = watch(source("mail"))
    for value in (b"\xff\xfe", b"[1]", b"{}", b'{"headers": 3}', b'{"headers": {"eta": "soon", "enqueued_at": "x"}}'):
        redis_client.delete("mail")
        redis_client.lpush("mail", value)
        assert (await one.depth("mail")).ready == 1


async def test_a_large_message_is_read_at_every_tenth_poll(
    watch: Make, producer: Producer, redis_client: redis.Redis
) -> None:
    app, now_s = producer(), [time.time()]
    app.send_task("quick", args=["x" * 1_000_000], queue="mail", headers={"enqueued_at": now_s[0] - 50})
    one = watch(source("mail"), clock=lambda: now_s[0])
    await one.depth("mail")
    redis_client.config_resetstat()
    for poll in range(1, 10):
        now_s[0] += 1
        assert (await one.depth("mail")).oldest_job_s == pytest.approx(50 + poll, abs=1)
    calls = redis_client.info("commandstats")["cmdstat_lindex"]["calls"]
    assert calls == 9 * 3
    await one.depth("mail")
    assert redis_client.info("commandstats")["cmdstat_lindex"]["calls"] == 9 * 3 + 4
    redis_client.delete("mail")
    assert await one.depth("mail") == QueueDepth(ready=0)


async def test_jobs_in_the_list_that_are_not_due_wake_nobody(watch: Make, producer: Producer) -> None:
    app = producer()
    one = watch(source("mail"))
    for hours in (10, 11, 12):
        app.send_task("quick", queue="mail", countdown=hours * 3600)
    pool = await one.pool()
    assert pool.queues == {"mail": QueueDepth(ready=0)}
    assert pool.scheduled == 3
    assert pool.due_in_s == pytest.approx((36000, 39600, 43200), abs=60)
    app.send_task("quick", queue="mail")
    app.send_task("quick", queue="mail", priority=3, countdown=3600)
    pool = await one.pool()
    assert (pool.queues["mail"].ready, pool.scheduled) == (1, 4)  # type: ignore[union-attr]


async def test_many_jobs_that_are_not_due(watch: Make, producer: Producer) -> None:
    app = producer()
    with app.producer_pool.acquire() as connection:
        for _ in range(300):
            app.send_task("quick", queue="mail", countdown=36000, producer=connection)
    one = watch(source("mail"))
    first = await one.broker()
    pool = await one.pool()
    assert (pool.queues["mail"].ready, pool.scheduled) == (0, 300)  # type: ignore[union-attr]
    assert first.commands == 13 + 1
    assert (await one.broker()).commands == 13, "nothing changed, so nothing more was asked"


async def test_the_next_job_being_due_ends_it(watch: Make, producer: Producer) -> None:
    app, now_s = producer(), [time.time()]
    one = watch(source("mail"), clock=lambda: now_s[0])
    app.send_task("quick", queue="mail", countdown=60)
    app.send_task("quick", queue="mail", countdown=120)
    assert (await one.pool()).scheduled == 2
    now_s[0] += 90
    pool = await one.pool()
    assert (pool.queues["mail"].ready, pool.scheduled) == (2, 0)  # type: ignore[union-attr]


async def test_a_worker_that_stops_puts_them_back(
    watch: Make, producer: Producer, worker: Callable[..., Worker], redis_client: redis.Redis
) -> None:
    one = watch(source("mail"))
    started = worker("mail")
    app = producer()
    for _ in range(5):
        app.send_task("quick", queue="mail", countdown=36000)
    pool = await one.until(lambda _: redis_client.hlen("unacked") == 5)
    assert (pool.queues["mail"], pool.held, pool.scheduled) == (QueueDepth(ready=0), 0, 5)
    started.stop()
    assert redis_client.llen("mail") == 5
    pool = await one.pool()
    assert (pool.queues["mail"], pool.held, pool.scheduled) == (QueueDepth(ready=0), 0, 5)


async def test_a_key_of_another_type_spoils_its_queue_only(
    watch: Make, producer: Producer, redis_client: redis.Redis
) -> None:
    producer().send_task("quick", queue="sms")
    redis_client.set("mail\x06\x163", "x")
    one = watch(source("mail", "sms"), source("sms", name="other"))
    pool = await one.pool()
    wrong = pool.queues["mail"]
    assert isinstance(wrong, Unavailable)
    assert wrong.cause is Cause.WRONG_TYPE
    assert r"mail\x06\x163 is not a list" in wrong.message
    assert (pool.queues["sms"].ready, pool.held) == (1, 0)  # type: ignore[union-attr]
    assert (await one.pool(1)).queues["sms"].ready == 1  # type: ignore[union-attr]
    redis_client.delete("mail\x06\x163")
    assert await one.depth("mail") == QueueDepth(ready=0)
    redis_client.set("unacked", "x")
    held = (await one.pool()).held
    assert isinstance(held, Unavailable)
    assert "unacked is not a hash" in held.message
