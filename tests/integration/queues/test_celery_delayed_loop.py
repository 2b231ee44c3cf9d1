"""What comes of a delayed job: from a real Redis through the reader and the loop to a decision and a status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
import redis

from workerpool_operator.core.decision import Decision
from workerpool_operator.core.spec import PoolSpec, ScaleDown
from workerpool_operator.kube.status import project
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.loop import BrokerLoop, Pool
from workerpool_operator.ports import (
    CycleRecord,
    Notice,
    Outcome,
    OutcomeKind,
    PoolKey,
    QueueSource,
    ReplicaState,
    WorkerBeat,
)
from workerpool_operator.queues import reader_for
from workerpool_operator.report.numbers import numbers
from workerpool_worker.messages.delayed import add, promote

pytestmark = pytest.mark.integration
KEY = PoolKey(namespace="shop", name="mail")
LEAD_S = 0.5


class World:
    """Replicas that are a number, and a list of all that was reported."""

    def __init__(self) -> None:
        self.size = 0
        self.records: list[CycleRecord] = []

    async def replicas(self, key: PoolKey, beats: Sequence[WorkerBeat]) -> ReplicaState:  # noqa: ARG002 - as the port has it
        return ReplicaState(current=self.size, ready=self.size, leaving=0, silent=0)

    async def scale(self, key: PoolKey, decision: Decision) -> Outcome:  # noqa: ARG002 - as the port has it
        self.size = decision.target
        return Outcome(kind=OutcomeKind.APPLIED)

    def record(self, record: CycleRecord) -> None:
        self.records.append(record)

    def notice(self, notice: Notice) -> None:
        raise AssertionError(notice)

    async def until(self, condition: Callable[[CycleRecord], bool]) -> CycleRecord:
        """The first record from now on that meets a condition."""
        seen = len(self.records)
        async with asyncio.timeout(15):
            while True:
                for record in self.records[seen:]:
                    if condition(record):
                        return record
                await asyncio.sleep(0.005)


@asynccontextmanager
async def at_zero(url: str) -> AsyncIterator[World]:
    """A pool at zero that has been at rest for a moment."""
    world = World()
    loop = BrokerLoop(reader=reader_for("Celery", url), scaler=world, sink=world, rest_s=0.1)
    spec = PoolSpec(
        min_replicas=0,
        max_replicas=5,
        backlog_per_replica=2,
        poll_interval_s=0.05,
        lead_s=LEAD_S,
        scale_down=ScaleDown(stabilization_s=1),
    )
    loop.put(Pool(source=QueueSource(key=KEY, queues=("mail",)), spec=spec))
    task = asyncio.create_task(loop.run())
    try:
        await world.until(lambda record: record.decision.target == 0)
        yield world
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def backlog(record: CycleRecord) -> dict[str, int]:
    status = project(
        record, name="mail", generation=1, selector="", previous=None, deployment=None, now_s=record.observation.time_s
    )
    found: dict[str, int] = status["backlog"]
    return found


async def test_a_pool_at_zero_is_awake_when_a_delayed_job_comes_due(
    redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    async with at_zero(redis_server.url) as world:
        due_s = time.time() + 2
        add(redis_client, "mail", tag="a", list_key="mail", message="{}", due_s=due_s)
        waiting = await world.until(lambda record: numbers(record).scheduled == 1)
        assert (waiting.decision.target, waiting.decision.reason.value) == (0, "Idle")
        assert backlog(waiting) == {"ready": 0, "running": 0, "scheduled": 1}
        woken = await world.until(lambda record: record.decision.target > 0)
        assert (woken.decision.target, woken.decision.reason.value) == (1, "DueWork")
        assert due_s - LEAD_S - 0.01 <= woken.observation.time_s < due_s
        # Nobody promotes it: from now on it is a job that waits, and its age is that of a waiting job.
        late = await world.until(lambda record: (numbers(record).oldest_job_s or 0) > 0.2)
        assert late.observation.time_s == pytest.approx(due_s + 0.2, abs=0.2)
        assert (late.decision.target, late.decision.reason.value) == (1, "WorkWaiting")
        assert backlog(late) == {"ready": 1, "running": 0, "scheduled": 0, "oldestJobSeconds": 0}
        assert promote(redis_client, ["mail"]).count == 1
        redis_client.delete("mail")
        await world.until(lambda record: (numbers(record).ready, record.decision.target) == (0, 0))


async def test_jobs_past_due_wake_a_pool_at_zero(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    async with at_zero(redis_server.url) as world:
        for at in range(5):
            add(redis_client, "mail", tag=str(at), list_key="mail", message="{}", due_s=time.time() - 100 - at)
        woken = await world.until(lambda record: numbers(record).ready == 5)
        assert (woken.decision.target, woken.decision.reason.value) == (3, "WorkWaiting")
        assert numbers(woken).oldest_job_s == pytest.approx(104, abs=2)
        assert backlog(woken) == {"ready": 5, "running": 0, "scheduled": 0, "oldestJobSeconds": 60}


async def test_jobs_of_next_week_do_not_keep_a_pool_awake(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    async with at_zero(redis_server.url) as world:
        add(redis_client, "mail", tag="a", list_key="mail", message="{}", due_s=time.time() + 7 * 86400)
        redis_client.lpush("mail", "{}")
        await world.until(lambda record: record.decision.target == 1)
        redis_client.delete("mail")
        asleep = await world.until(lambda record: record.decision.target == 0)
        assert backlog(asleep) == {"ready": 0, "running": 0, "scheduled": 1}
