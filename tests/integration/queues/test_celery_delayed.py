"""The bundled worker's delayed jobs, as its own code puts them into a real Redis and takes them out."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.support.celery_apps.contract import Watch, source
from workerpool_operator.core.observation import Cause, QueueDepth, Unavailable
from workerpool_operator.ports import PoolReading
from workerpool_operator.queues.celery.delayed import DUE_LIMIT, REFRESH_S
from workerpool_operator.queues.celery.reader import CeleryReader
from workerpool_worker.messages import keys
from workerpool_worker.messages.delayed import add, promote

pytestmark = pytest.mark.integration
Make = Callable[..., Watch]
IDLE_COMMANDS = 13
"""Of a pool of one queue: its delayed set, four lists, two pairs of held keys."""


def put(client: redis.Redis, in_s: float, *, tag: str = "a", queue: str = "mail") -> float:
    due_s = time.time() + in_s
    add(client, queue, tag=tag, list_key=queue, message='{"headers": {}}', due_s=due_s)
    return due_s


def between_rounds(reader: CeleryReader, *steps: Callable[[], object]) -> None:
    """Let something happen in Redis after the first, the second, … round trip of the next reading."""
    connection, left = reader._connection, list(steps)
    assert connection
    execute = connection.execute

    async def stepping(commands: bytes, count: int) -> list[Any]:
        replies = await execute(commands, count)
        if left:
            left.pop(0)()
        return replies

    connection.execute = stepping  # type: ignore[method-assign]


async def test_before_and_past_its_time(watch: Make, redis_client: redis.Redis) -> None:
    now_s = [time.time()]
    one = watch(source("mail"), clock=lambda: now_s[0])
    for tag, in_s in (("a", 60), ("b", 3600)):
        put(redis_client, in_s, tag=tag)
    first = await one.broker()
    pool = await one.pool()
    assert pool.queues == {"mail": QueueDepth(ready=0)}
    assert (pool.held, pool.scheduled, pool.vanished) == (0, 2, 0)
    assert pool.due_in_s == pytest.approx((60, 3600), abs=5)
    assert first.commands == IDLE_COMMANDS + 1
    assert (await one.broker()).commands == IDLE_COMMANDS + 1, "nothing changed: one round trip"
    now_s[0] += 70
    pool = await one.pool()
    depth = pool.queues["mail"]
    assert isinstance(depth, QueueDepth)
    assert depth.ready == 1
    assert depth.oldest_job_s == pytest.approx(10, abs=5)
    assert (pool.scheduled, len(pool.due_in_s)) == (1, 1)
    redis_client.flushdb()
    assert await one.pool() == PoolReading(queues={"mail": QueueDepth(ready=0)}, held=0)
    assert (await one.broker()).commands == IDLE_COMMANDS


async def test_a_worker_promotes_it(watch: Make, redis_client: redis.Redis) -> None:
    one = watch(source("mail"))
    put(redis_client, -100)
    put(redis_client, 600, tag="later")
    assert (await one.depth("mail")).oldest_job_s == pytest.approx(100, abs=5)
    assert promote(redis_client, ["mail"]).count == 1
    pool = await one.pool()
    assert (pool.queues["mail"].ready, pool.scheduled) == (1, 1)  # type: ignore[union-attr]
    redis_client.delete("mail")
    pool = await one.pool()
    assert (pool.queues["mail"], pool.scheduled) == (QueueDepth(ready=0), 1)


@pytest.mark.parametrize("known", [True, False], ids=["seen before", "new"])
async def test_promoted_between_the_two_rounds_of_a_reading(
    watch: Make, redis_client: redis.Redis, *, known: bool
) -> None:
    one = watch(source("mail"))
    put(redis_client, 600, tag="later")
    if known:
        put(redis_client, -5)
    await one.pool()
    put(redis_client, -4, tag="b")
    between_rounds(one.reader, lambda: promote(redis_client, ["mail"]))
    pool = await one.pool()
    # The lists were read before it came there.
    assert pool.queues["mail"].ready >= 1  # type: ignore[union-attr]
    assert pool.scheduled == 1
    pool = await one.pool()
    assert (pool.queues["mail"].ready, pool.scheduled) == (2 if known else 1, 1)  # type: ignore[union-attr]


@pytest.mark.parametrize("what", ["deleted", "another type"])
async def test_gone_between_the_two_rounds_of_a_reading(watch: Make, redis_client: redis.Redis, what: str) -> None:
    one = watch(source("mail"))
    for at in range(50):
        put(redis_client, -at, tag=f"old-{at}")

    def happen() -> None:
        redis_client.delete(keys.delayed("mail"))
        if what == "another type":
            redis_client.set(keys.delayed("mail"), "x")

    between_rounds(one.reader, happen)
    depth = (await one.pool()).queues["mail"]
    if what == "deleted":
        assert depth == QueueDepth(ready=0)
    else:
        assert isinstance(depth, Unavailable)
        assert depth.cause is Cause.WRONG_TYPE
        redis_client.delete(keys.delayed("mail"))
    pool = await one.pool()
    assert pool == PoolReading(queues={"mail": QueueDepth(ready=0)}, held=0)


async def test_a_key_of_another_type_spoils_its_queue_only(watch: Make, redis_client: redis.Redis) -> None:
    redis_client.lpush("sms", "{}")
    redis_client.set(keys.delayed("mail"), "x")
    one = watch(source("mail", "sms"))
    pool = await one.pool()
    wrong = pool.queues["mail"]
    assert isinstance(wrong, Unavailable)
    assert wrong.cause is Cause.WRONG_TYPE
    assert wrong.message.endswith("key workerpool:delayed:mail is not a sorted set: something else uses this name"), (
        wrong.message
    )
    assert (pool.queues["sms"].ready, pool.held) == (1, 0)  # type: ignore[union-attr]
    redis_client.delete(keys.delayed("mail"))
    put(redis_client, -1)
    assert (await one.depth("mail")).ready == 1


async def test_a_hundred_thousand_jobs_are_counted_and_not_fetched(watch: Make, redis_client: redis.Redis) -> None:
    now_s = [time.time()]
    one = watch(source("mail"), clock=lambda: now_s[0])
    scores = {f"tag-{at}": now_s[0] + at + 1 for at in range(100_000)}
    redis_client.zadd(keys.delayed("mail"), scores)
    pool = await one.pool()
    assert (pool.queues["mail"], pool.scheduled) == (QueueDepth(ready=0), 100_000)
    assert pool.due_in_s == pytest.approx(range(1, DUE_LIMIT + 1), abs=0.1)
    now_s[0] += 30_000.5
    pool = await one.pool()
    assert (pool.queues["mail"].ready, pool.scheduled) == (30_000, 70_000)  # type: ignore[union-attr]
    redis_client.config_resetstat()
    sent = redis_client.info("stats")["total_net_output_bytes"]
    for _ in range(5):
        await one.pool()
    used = redis_client.info("stats")["total_net_output_bytes"] - sent
    assert used < 20_000, "small replies, while nothing changes"
    assert redis_client.info("commandstats")["cmdstat_zcount"]["calls"] == 5


async def test_the_pools_of_a_key_prefix_see_their_own(watch: Make, redis_client: redis.Redis) -> None:
    both = watch(source("mail"), source("mail", name="eu", key_prefix="eu:"), source("mail", name="too"))
    redis_client.zadd(f"eu:{keys.delayed('mail')}", {"a": time.time() + 60})
    assert [(await both.pool(at)).scheduled for at in range(3)] == [0, 1, 0]
    put(redis_client, -1)
    put(redis_client, 60, tag="b")
    # Two pools of one queue share what waits in it.
    assert [(await both.pool(at)).queues["mail"].ready for at in range(3)] == [1, 0, 1]  # type: ignore[union-attr]
    assert [(await both.pool(at)).scheduled for at in range(3)] == [1, 1, 1]


async def test_pools_that_come_and_go_do_not_mix_up_replies(watch: Make, redis_client: redis.Redis) -> None:
    names = [f"q{at}" for at in range(6)]
    one = watch(*(source(name, name=name) for name in names))
    everyone, chance = one.sources, random.Random(6)
    for turn in range(150):
        queue, what = chance.choice(names), chance.random()
        if what < 0.7:
            put(redis_client, chance.choice([-60, 3600]), tag=str(turn), queue=queue)
        elif what < 0.85:
            promote(redis_client, [queue])
        else:
            redis_client.delete(queue)
        one.sources = tuple(chance.sample(everyone, chance.randint(1, 6)))
        reading = await one.broker()
        now_s = time.time()
        for key, pool in reading.pools.items():
            assert isinstance(pool, PoolReading)
            (depth,) = pool.queues.values()
            assert isinstance(depth, QueueDepth)
            overdue = redis_client.zcount(keys.delayed(key.name), "-inf", now_s)
            waiting = redis_client.llen(key.name)
            delayed = redis_client.zcard(keys.delayed(key.name))
            assert (depth.ready, pool.scheduled) == (overdue + waiting, delayed - overdue)


async def test_one_replaced_in_the_middle_is_seen_after_a_while(watch: Make, redis_client: redis.Redis) -> None:
    now_s = [time.time()]
    one = watch(source("mail"), clock=lambda: now_s[0])
    for tag, in_s in (("a", 100), ("b", 200), ("c", 300)):
        put(redis_client, in_s, tag=tag)
    await one.pool()
    put(redis_client, 250, tag="b")
    now_s[0] += REFRESH_S
    assert (await one.pool()).due_in_s == pytest.approx((90, 240, 290), abs=5)
