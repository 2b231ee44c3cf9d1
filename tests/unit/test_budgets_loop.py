"""A budget over the loops of two brokers that run side by side: the limit holds at every moment, and work flows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from workerpool_operator.budgets import Budgets
from workerpool_operator.core.decision import Decision, Reason
from workerpool_operator.core.observation import Cause, QueueDepth, Unavailable
from workerpool_operator.core.spec import Budget, PoolSpec, ScaleDown
from workerpool_operator.loop import BrokerLoop, Pool
from workerpool_operator.ports import (
    BrokerReading,
    CycleRecord,
    Notice,
    Outcome,
    OutcomeKind,
    PoolKey,
    PoolReading,
    QueueSource,
    ReplicaState,
    WorkerBeat,
)

pytestmark = pytest.mark.unit


class Broker:
    """A broker with so much work a queue; None: it is away."""

    def __init__(self, **work: int | None) -> None:
        self.work = work

    async def read(self, sources: Sequence[QueueSource]) -> BrokerReading:
        await asyncio.sleep(0.001)
        pools: dict[PoolKey, PoolReading | Unavailable] = {}
        for source in sources:
            ready = self.work[source.key.name]
            away = Unavailable(cause=Cause.UNREACHABLE, message="away")
            queues = {source.queues[0]: QueueDepth(ready=ready or 0)}
            pools[source.key] = away if ready is None else PoolReading(queues=queues, held=0)
        return BrokerReading(time_s=0.0, pools=pools, beats=(), duration_s=0.0, commands=1)

    async def close(self) -> None:
        """Nothing to close."""


class Fleet:
    """Replicas that take a moment to come and to go, over all brokers; ``most`` is how many there were at once."""

    def __init__(self) -> None:
        self.size: dict[str, int] = {}
        self.leaving: dict[str, int] = {}
        self.most = 0
        self._going: set[asyncio.Task[None]] = set()

    async def replicas(self, key: PoolKey, beats: Sequence[WorkerBeat]) -> ReplicaState:  # noqa: ARG002 - as the port has it
        size = self.size.get(key.name, 0)
        return ReplicaState(current=size, ready=size, leaving=self.leaving.get(key.name, 0), silent=0)

    async def scale(self, key: PoolKey, decision: Decision) -> Outcome:
        await asyncio.sleep(0.003)
        before = self.size.get(key.name, 0)
        self.size[key.name] = decision.target
        if decision.target < before:
            self.leaving[key.name] = self.leaving.get(key.name, 0) + before - decision.target
            going = asyncio.create_task(self._leave(key.name, before - decision.target))
            self._going.add(going)
            going.add_done_callback(self._going.discard)
        self.most = max(self.most, sum(self.size.values()) + sum(self.leaving.values()))
        return Outcome(kind=OutcomeKind.APPLIED)

    async def _leave(self, name: str, count: int) -> None:
        await asyncio.sleep(0.02)
        self.leaving[name] -= count


class Last:
    """The last record of each pool."""

    def __init__(self) -> None:
        self.of: dict[str, CycleRecord] = {}

    def record(self, record: CycleRecord) -> None:
        self.of[record.key.name] = record

    def notice(self, notice: Notice) -> None:
        raise AssertionError(notice)


def pool(name: str, *, weight: int = 1, most: int = 3, minimum: int = 0) -> Pool:
    return Pool(
        source=QueueSource(key=PoolKey(namespace="shop", name=name), queues=(name,)),
        spec=PoolSpec(
            min_replicas=minimum,
            backlog_per_replica=1,
            poll_interval_s=0.01,
            scale_down=ScaleDown(stabilization_s=0),
            budget=Budget(name="db", max_replicas=most, weight=weight),
        ),
    )


@asynccontextmanager
async def running(fleet: Fleet, last: Last, **brokers: tuple[Broker, list[Pool]]) -> AsyncIterator[list[BrokerLoop]]:
    budgets, loops = Budgets(), []
    for broker, pools in brokers.values():
        loops.append(BrokerLoop(reader=broker, scaler=fleet, sink=last, budgets=budgets, rest_s=60))
        for one in pools:
            loops[-1].put(one)
    tasks = [asyncio.create_task(loop.run()) for loop in loops]
    try:
        async with asyncio.timeout(20):
            yield loops
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def so(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    while not condition():  # noqa: ASYNC110 - of things that set no event
        await asyncio.sleep(0.002)


async def until(fleet: Fleet, **sizes: int) -> None:
    """Wait until the pools have these sizes, and nothing is leaving."""
    await so(lambda: all(fleet.size.get(name, 0) == sizes[name] and not fleet.leaving.get(name) for name in sizes))


async def test_pools_of_two_brokers_share_by_weight_and_use_what_the_other_does_not_want() -> None:
    fleet, last = Fleet(), Last()
    here, there = Broker(email=50), Broker(order=50)
    async with running(fleet, last, a=(here, [pool("email", weight=2)]), b=(there, [pool("order")])):
        await until(fleet, email=2, order=1)
        found = last.of["order"]
        assert found.decision.reason is Reason.BUDGET_EXHAUSTED
        assert found.observation.allotment is not None
        assert found.observation.allotment.budget == "db"
        here.work["email"] = 0
        await until(fleet, email=0, order=3)
        here.work["email"] = 50
        await until(fleet, email=2, order=1)
        there.work["order"] = 0
        await until(fleet, email=3, order=0)
    assert fleet.most == 3, "never more, while replicas were still leaving either"


async def test_a_broker_that_is_away_keeps_what_its_pool_has() -> None:
    fleet, last = Fleet(), Last()
    here, there = Broker(email=50), Broker(order=0)
    async with running(fleet, last, a=(here, [pool("email")]), b=(there, [pool("order")])):
        await until(fleet, email=3)
        here.work["email"], there.work["order"] = None, 50
        await so(lambda: last.of["email"].decision.reason is Reason.BROKER_UNREADABLE)
        for _ in range(3):
            await asyncio.sleep(0.02)
            assert fleet.size == {"email": 3}
        here.work["email"] = 50
        await until(fleet, email=2, order=1)
    assert fleet.most == 3


async def test_a_pool_that_the_budget_keeps_at_zero_does_not_rest() -> None:
    fleet, last = Fleet(), Last()
    here, there = Broker(email=50), Broker(order=0)
    first, second = pool("email", weight=2, most=1), pool("order", most=1, minimum=1)
    async with running(fleet, last, a=(here, [first]), b=(there, [second])) as loops:
        await until(fleet, order=1, email=0)
        loops[1].put(replace(second, spec=replace(second.spec, min_replicas=0)))
        await until(fleet, order=0, email=1)
        loops[1].put(second)
        await until(fleet, order=1, email=0)
    assert fleet.most == 1


async def test_a_pool_that_is_removed_is_counted_until_it_is_forgotten() -> None:
    fleet, last, budgets = Fleet(), Last(), Budgets()
    loop = BrokerLoop(reader=Broker(email=50, order=50), scaler=fleet, sink=last, budgets=budgets)
    for name in ("email", "order"):
        loop.put(pool(name, most=4))
    task = asyncio.create_task(loop.run())
    try:
        async with asyncio.timeout(20):
            await until(fleet, email=2, order=2)
            loop.remove(PoolKey(namespace="shop", name="order"))
            await asyncio.sleep(0.05)
            assert fleet.size["email"] == 2
            budgets.forget(PoolKey(namespace="shop", name="order"))
            await until(fleet, email=4)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
