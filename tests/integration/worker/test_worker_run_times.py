"""How long jobs ran: what a real worker's heartbeats say of it, and what the operator's reader makes of them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable

import pytest
from celery import Celery

from tests.integration.worker.bench import Bench, until
from workerpool_operator.core.observation import JobSeconds
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.ports import PoolKey, PoolReading, QueueSource, ReplicaState, WorkerBeat
from workerpool_operator.queues.celery import CeleryReader
from workerpool_operator.queues.inflight import InFlightMemory, estimate
from workerpool_worker.models import Payment

pytestmark = pytest.mark.integration

LATENCY_S = 0.25
SOURCE = QueueSource(key=PoolKey(namespace="default", name="shop"), queues=("payment",))


class Ears:
    """An operator's reader of the bench's broker, and what it makes of the readings."""

    def __init__(self, bench: Bench) -> None:
        self.reader, self._bench = CeleryReader(bench.url), bench
        self.memory = InFlightMemory()

    async def until(self, condition: Callable[[WorkerBeat], bool], timeout_s: float = 30.0) -> WorkerBeat:
        """Wait for a heartbeat of the one worker."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            reading = await self.reader.read((SOURCE,))
            pool, beats = reading.pools[SOURCE.key], tuple(reading.beats)
            if isinstance(pool, PoolReading):
                state = ReplicaState(current=1, ready=1, leaving=0, silent=max(0, 1 - len(beats)), beats=beats)
                self.memory = estimate(pool, state, self.memory, reading.time_s)[2]
            for beat in beats:
                if condition(beat):
                    return beat
            assert time.monotonic() < deadline_s, (beats, self._bench.logs())
            await asyncio.sleep(0.05)


@pytest.fixture
async def ears(bench: Bench) -> AsyncIterator[Ears]:
    made = Ears(bench)
    yield made
    await made.reader.close()


def jobs(beat: WorkerBeat) -> int:
    assert beat.finished is not None, "a bundled worker always tells"
    return beat.finished.jobs


async def test_mean_and_spread_come_with_the_heartbeats(bench: Bench, ears: Ears) -> None:
    await ears.reader.read((SOURCE,))
    # no port for metrics: the heartbeat does not depend on it
    bench.start(SANDBOX_LATENCY_MS=int(LATENCY_S * 1000), WORKERPOOL_CONCURRENCY=2).ready()
    first = await ears.until(lambda _: True)
    assert first.finished == JobSeconds(jobs=0, seconds=0.0, squared=0.0)
    bench.producer.send_many(Payment(id=f"p{n}", amount_minor=500) for n in range(12))
    beat = await ears.until(lambda beat: jobs(beat) == 12)
    assert beat.finished is not None
    assert beat.processed == 12
    assert beat.active == 0
    mean_s = beat.finished.seconds / 12
    assert LATENCY_S <= mean_s < 4 * LATENCY_S
    deviation_s = math.sqrt(max(0.0, beat.finished.squared / 12 - mean_s**2))
    # the first job of each child is longer: it connects to its database
    assert deviation_s < 4 * LATENCY_S
    assert ears.memory.finished == beat.finished, "it was heard before its first job"
    # what is told is cumulative
    bench.producer.payment(Payment(id="one-more", amount_minor=500))
    more = await ears.until(lambda beat: jobs(beat) == 13)
    assert more.finished is not None
    assert LATENCY_S <= more.finished.seconds - beat.finished.seconds < 8 * LATENCY_S


async def test_every_run_of_a_job_counts_and_a_message_that_never_ran_does_not(bench: Bench, ears: Ears) -> None:
    await ears.reader.read((SOURCE,))
    bench.start(PAYMENT_PROVIDER="stripe", STRIPE_API_KEY="sk_test_x", STRIPE_API_URL="http://127.0.0.1:1").ready()
    with Celery(broker=bench.url, set_as_current=False) as app:
        app.send_task("somebody.elses", queue="payment")
    until(lambda: bench.redis.keys("*dead*"), what=bench.logs)
    buried_s = time.monotonic()
    assert jobs(await ears.until(lambda beat: time.monotonic() - beat.age_s > buried_s)) == 0
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    beat = await ears.until(lambda beat: jobs(beat) >= 2)
    assert jobs(beat) <= beat.processed
    assert ("payment-p1", "retried") in bench.outcomes()
    assert bench.charges() == []


async def test_the_numbers_outlive_a_lost_connection_and_begin_anew_with_the_worker(
    bench_on: Callable[[RedisServer], Bench], make_redis: Callable[..., RedisServer]
) -> None:
    server = make_redis()
    bench = bench_on(server)
    ears = Ears(bench)
    try:
        await ears.reader.read((SOURCE,))
        worker = bench.start(WORKERPOOL_WORKER_NAME="shop-1").ready()
        bench.producer.payment(Payment(id="p1", amount_minor=500))
        before = await ears.until(lambda beat: jobs(beat) == 1)
        server.stop()
        until(lambda: worker.said("cannot reach the broker"), what=bench.logs)
        server.start()
        until(lambda: worker.said("reached the broker again"), what=bench.logs)
        bench.producer.payment(Payment(id="p2", amount_minor=500))
        after = await ears.until(lambda beat: jobs(beat) == 2)
        assert (after.hostname, after.pid) == (before.hostname, before.pid)
        worker.terminate()
        assert worker.exit_status() == 0
        bench.start(WORKERPOOL_WORKER_NAME="shop-1").ready()
        assert jobs(await ears.until(lambda beat: beat.pid != before.pid)) == 0
        bench.producer.payment(Payment(id="p3", amount_minor=500))
        await ears.until(lambda beat: beat.pid != before.pid and jobs(beat) == 1)
        assert (ears.memory.started_total, ears.memory.finished and ears.memory.finished.jobs) == (3, 3)
    finally:
        await ears.reader.close()
