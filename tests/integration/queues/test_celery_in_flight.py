"""Jobs that real, stock Celery workers hold, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Exchange, Queue

from tests.support.celery_apps.contract import Gate, Watch, Worker, source
from workerpool_operator.core.observation import InFlight
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.ports import BrokerReading, PoolReading, ReplicaState
from workerpool_operator.queues.inflight import Acknowledgement, InFlightMemory, estimate

pytestmark = pytest.mark.integration
Make = Callable[..., Watch]
Producer = Callable[..., Celery]
Start = Callable[..., Worker]


class Loop:
    """The part of the loop that turns readings into estimates, with one replica."""

    def __init__(self) -> None:
        self.memory = InFlightMemory()
        self.seen = InFlight()
        self.busy: int | None = None
        self.heartbeat_age_s = 0.0

    def step(self, reading: BrokerReading) -> bool:
        (pool,) = reading.pools.values()
        assert isinstance(pool, PoolReading)
        beats = tuple(reading.beats)
        self.heartbeat_age_s = min((beat.age_s for beat in beats), default=0.0)
        state = ReplicaState(current=1, ready=1, leaving=0, silent=1 - len(beats), beats=beats)
        seen, self.busy, self.memory = estimate(pool, state, self.memory, reading.time_s)
        assert isinstance(seen, InFlight)
        self.seen = seen
        return True

    def until(self, condition: Callable[[Loop], bool]) -> Callable[[BrokerReading], bool]:
        return lambda reading: self.step(reading) and condition(self)


async def test_early_acknowledgement_hides_the_running_job(
    watch: Make, producer: Producer, worker: Start, gate: Gate, redis_client: redis.Redis
) -> None:
    one, loop = watch(source("mail")), Loop()
    running = worker("mail")
    app = producer()
    app.send_task("hold", args=[gate.path], queue="mail")
    await one.until_broker(loop.until(lambda seen: seen.busy == seen.seen.running == 1))
    assert redis_client.hlen("unacked") == 0
    await one.until_broker(loop.until(lambda seen: seen.memory.acknowledgement is Acknowledgement.EARLY))
    for _ in range(2):
        app.send_task("hold", args=[gate.path], queue="mail")
    await one.until_broker(loop.until(lambda seen: seen.seen.running == 3))
    gate.open()
    await one.until_broker(loop.until(lambda seen: seen.seen.running == 0 and seen.busy == 0))
    assert loop.seen.started_total in {2, 3}
    (beat,) = (await one.broker()).beats
    assert (beat.pid, beat.active, beat.processed) == (running.pid, 0, 3)
    assert beat.finished is None, "a stock worker does not tell how long its jobs ran"
    assert beat.hostname.startswith("celery@")
    assert 0 <= beat.age_s < 10
    running.stop()
    await one.until_broker(lambda reading: not reading.beats)


async def test_a_busy_worker_is_not_taken_for_idle_before_it_could_be_heard(
    watch: Make, producer: Producer, worker: Start, gate: Gate, redis_client: redis.Redis
) -> None:
    worker("mail")
    producer().send_task("hold", args=[gate.path], queue="mail")
    before = watch(source("mail"))
    await before.until_broker(lambda reading: any(beat.active for beat in reading.beats))
    # Acknowledged at its start, the job is in no key, and an operator that starts now has heard nobody.
    assert redis_client.hlen("unacked") == 0
    one, loop = watch(source("mail")), Loop()

    def heard(reading: BrokerReading) -> bool:
        loop.step(reading)
        assert loop.busy == 1
        return bool(reading.beats)

    assert not heard(await one.broker())
    await one.until_broker(heard)
    gate.open()
    await one.until_broker(loop.until(lambda seen: seen.busy == 0))


async def test_late_acknowledgement_keeps_it_in_sight(
    watch: Make, producer: Producer, worker: Start, gate: Gate, tmp_path: Path
) -> None:
    one, loop = watch(source("mail")), Loop()
    worker("mail", task_acks_late=True, worker_prefetch_multiplier=2)
    app = producer()
    for _ in range(2):
        app.send_task("hold", args=[gate.path], queue="mail")
    await one.until_broker(loop.until(lambda seen: seen.busy == 1 and seen.seen.running == 2))
    gate.open()
    await one.until_broker(loop.until(lambda seen: seen.seen.running == 0))
    assert loop.memory.acknowledgement is not Acknowledgement.EARLY
    other = Gate(tmp_path / "other")
    app.send_task("hold", args=[other.path], queue="mail")
    # Clear of the heartbeat, so that it is known to have come before the job ended.
    await one.until_broker(loop.until(lambda seen: seen.busy == 1 and seen.heartbeat_age_s > 0.5))
    other.open()
    await one.until_broker(loop.until(lambda seen: seen.memory.acknowledgement is Acknowledgement.LATE))


async def test_jobs_not_due_in_a_worker_are_scheduled(watch: Make, producer: Producer, worker: Start) -> None:
    worker("mail", "-P", "solo")
    app = producer()
    one = watch(source("mail"))
    for seconds in (3600, 7200):
        app.send_task("quick", queue="mail", countdown=seconds)
    pool = await one.until(lambda pool: pool.scheduled == 2 and one.reader._parts.held["unacked"].size == 2)
    assert pool.held == 0
    assert pool.due_in_s == pytest.approx((3600, 7200), abs=60)


async def test_what_a_killed_worker_held_is_stranded_until_a_new_one_comes(
    watch: Make, producer: Producer, worker: Start, gate: Gate
) -> None:
    options: dict[str, Any] = {"task_acks_late": True, "broker_transport_options": {"visibility_timeout": 1}}
    one = watch(source("mail"))
    lost = worker("mail", **options)
    producer().send_task("hold", args=[gate.path], queue="mail")
    await one.until_broker(lambda reading: any(beat.active for beat in reading.beats))
    lost.kill()
    pool = await one.pool()
    assert (pool.queues["mail"].ready, pool.held) == (0, 1)  # type: ignore[union-attr]
    gone = ReplicaState(current=0, ready=0, leaving=0, silent=0)
    assert estimate(pool, gone, InFlightMemory(), 0)[:2] == (InFlight(stranded=1), 0)
    gate.open()
    worker("mail", **options)
    assert (await one.until(lambda pool: pool.held == 0)).vanished >= 0


async def test_pools_share_the_default_keys_of_a_database(
    watch: Make, producer: Producer, worker: Start, gate: Gate
) -> None:
    one = watch(source("mail"), source("sms", name="sms"))
    worker("mail,sms", "-c", "4", task_acks_late=True)
    app = producer()
    for queue in ("mail", "sms", "mail"):
        app.send_task("hold", args=[gate.path], queue=queue)
    await one.until(lambda pool: pool.held == 2)
    assert (await one.until(lambda pool: pool.held == 1, index=1)).queues["sms"].ready == 0  # type: ignore[union-attr]
    gate.open()
    reading = await one.until_broker(
        lambda reading: all(isinstance(pool, PoolReading) and pool.held == 0 for pool in reading.pools.values())
    )
    assert reading.pools.keys() == {one.sources[0].key, one.sources[1].key}


async def test_pools_with_keys_of_their_own(
    watch: Make, producer: Producer, worker: Start, gate: Gate, redis_client: redis.Redis
) -> None:
    own = "workerpool:shop:mail:unacked"
    options = {
        "global_keyprefix": "eu:",
        "unacked_key": own,
        "unacked_index_key": f"{own}_index",
        "unacked_mutex_key": f"{own}_mutex",
    }
    one = watch(source("mail", key_prefix="eu:"), source("mail", name="other", key_prefix="eu:"))
    worker("mail", task_acks_late=True, broker_transport_options=options)
    app = producer(broker_transport_options={"global_keyprefix": "eu:"})
    app.send_task("hold", args=[gate.path], queue="mail")
    await one.until(lambda pool: pool.held == 1)
    assert redis_client.hlen(f"eu:{own}") == 1
    assert (await one.pool(1)).held == 0
    heard = await one.until_broker(lambda reading: any(beat.active for beat in reading.beats))
    assert len(heard.beats) == 1
    gate.open()
    await one.until(lambda pool: pool.held == 0)


async def test_heartbeats_of_a_key_prefix_that_came_later(watch: Make, worker: Start) -> None:
    one = watch(source("mail"))
    heartbeats = one.reader._heartbeats
    assert heartbeats
    await one.until_broker(lambda _: heartbeats.listening.is_set())
    one.sources = (source("mail"), source("mail", name="eu", key_prefix="eu:"))
    await one.broker()
    worker("mail", "-P", "solo", broker_transport_options={"global_keyprefix": "eu:"})
    await one.until_broker(lambda reading: len(reading.beats) == 1)


async def test_heartbeats_of_another_database_are_not_heard(
    watch: Make, worker: Start, redis_server: RedisServer
) -> None:
    url = redis_server.url_for(database=3)
    here, there = watch(source("mail")), watch(source("mail"), url=url)
    await here.broker()
    worker("mail", "-P", "solo", broker=url)
    await there.until_broker(lambda reading: len(reading.beats) == 1)
    assert not (await here.broker()).beats


@pytest.mark.parametrize(
    ("type_", "binding", "sent"), [("direct", "m.sms", "m.sms"), ("topic", "*.sms.#", "eu.sms.now")]
)
async def test_messages_sent_through_an_exchange_find_their_queue(
    watch: Make, producer: Producer, worker: Start, gate: Gate, type_: str, binding: str, sent: str
) -> None:
    # kombu remembers for the whole process what it has bound, even after the test before emptied Redis: new names.
    mail, sms = f"mail-{type_}", f"sms-{type_}"
    exchange = Exchange(f"media-{type_}", type=type_)
    queues = [Queue(mail, exchange, routing_key="m.mail"), Queue(sms, exchange, routing_key=binding)]
    one = watch(source(mail), source(sms, name="sms"))
    app = producer(task_queues=queues)
    app.send_task("hold", args=[gate.path], exchange=exchange.name, routing_key=sent, declare=queues)
    # This worker declares nothing of it, but fetches from the list what was put there.
    worker(f"{mail},{sms}", task_acks_late=True)
    assert (await one.until(lambda pool: pool.held == 1, index=1)).vanished == 0
    assert (await one.pool(0)).held == 0
    gate.open()
    await one.until(lambda pool: pool.held == 0, index=1)
