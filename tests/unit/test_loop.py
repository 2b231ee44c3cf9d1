"""The cycle: who is looked at when, while other pools change their size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from workerpool_operator.core.decision import Decision
from workerpool_operator.core.observation import QueueDepth
from workerpool_operator.core.spec import PoolSpec
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


class Reader:
    """Ten jobs in the queues of the pools that are named ``busy``."""

    def __init__(self) -> None:
        self.busy = "busy"
        self.reads: list[set[str]] = []
        self.closed = False

    async def read(self, sources: Sequence[QueueSource]) -> BrokerReading:
        self.reads.append({source.key.name for source in sources})
        pools = {
            source.key: PoolReading(
                queues={name: QueueDepth(ready=10 if source.key.name == self.busy else 0) for name in source.queues},
                held=0,
            )
            for source in sources
        }
        return BrokerReading(time_s=0.0, pools=pools, beats=(), duration_s=0.0, commands=1)

    async def close(self) -> None:
        self.closed = True


class Scaler:
    """Changes sizes once it is allowed to."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.asked: list[str] = []
        self.may_go_on = asyncio.Event()
        self.cancelled = False

    async def replicas(self, key: PoolKey, beats: Sequence[WorkerBeat]) -> ReplicaState:  # noqa: ARG002 - as the port has it
        size = self.sizes.get(key.name, 0)
        return ReplicaState(current=size, ready=size, leaving=0, silent=0)

    async def scale(self, key: PoolKey, decision: Decision) -> Outcome:
        self.asked.append(key.name)
        try:
            await self.may_go_on.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        self.sizes[key.name] = decision.target
        return Outcome(kind=OutcomeKind.APPLIED)


class Sink:
    def __init__(self) -> None:
        self.records: list[CycleRecord] = []

    def record(self, record: CycleRecord) -> None:
        self.records.append(record)

    def notice(self, notice: Notice) -> None:
        raise AssertionError(notice)

    def of(self, name: str) -> list[CycleRecord]:
        return [record for record in self.records if record.key.name == name]


def pool(name: str) -> Pool:
    source = QueueSource(key=PoolKey(namespace="shop", name=name), queues=(name,))
    return Pool(
        source=source, spec=PoolSpec(min_replicas=0, max_replicas=5, backlog_per_replica=5, poll_interval_s=0.01)
    )


@asynccontextmanager
async def running(
    reader: Reader, scaler: Scaler, sink: Sink, *names: str, rest_s: float = 0.0
) -> AsyncIterator[BrokerLoop]:
    loop = BrokerLoop(reader=reader, scaler=scaler, sink=sink, rest_s=rest_s)
    for name in names:
        loop.put(pool(name))
    task = asyncio.create_task(loop.run())
    try:
        async with asyncio.timeout(10):
            yield loop
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: object) -> None:
    while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - of things that set no event
        await asyncio.sleep(0.001)


async def test_a_slow_change_of_size_holds_back_nobody_else() -> None:
    reader, scaler, sink = Reader(), Scaler(), Sink()
    async with running(reader, scaler, sink, "busy", "idle"):
        await until(lambda: len(sink.of("idle")) >= 5)
        assert scaler.asked == ["busy"], "one change at a time of one pool"
        assert not sink.of("busy")
        assert sum("busy" in names for names in reader.reads) == 1, "it is not read while it moves"
        scaler.may_go_on.set()
        await until(lambda: len(sink.of("busy")) >= 3)
    assert scaler.asked == ["busy"]
    assert [record.outcome.kind for record in sink.of("busy")[:2]] == [OutcomeKind.APPLIED, OutcomeKind.UNCHANGED]


async def test_the_end_of_a_loop_ends_its_changes() -> None:
    reader, scaler, sink = Reader(), Scaler(), Sink()
    async with running(reader, scaler, sink, "busy"):
        await until(lambda: scaler.asked)
    assert scaler.cancelled
    assert reader.closed
    assert not sink.records


async def test_nothing_is_reported_of_a_pool_that_went_while_it_was_scaled() -> None:
    reader, scaler, sink = Reader(), Scaler(), Sink()
    async with running(reader, scaler, sink, "busy", "idle") as loop:
        await until(lambda: scaler.asked)
        loop.remove(PoolKey(namespace="shop", name="busy"))
        scaler.may_go_on.set()
        seen = len(sink.of("idle"))
        await until(lambda: len(sink.of("idle")) >= seen + 3)
    assert not sink.of("busy")


async def test_a_pool_at_rest_is_read_at_every_poll_and_decided_seldom() -> None:
    reader, scaler, sink = Reader(), Scaler(), Sink()
    async with running(reader, scaler, sink, "idle", rest_s=60):
        await until(lambda: len(reader.reads) >= 20)
        assert len(sink.of("idle")) == 1
        reader.busy = "idle"
        await until(lambda: scaler.asked)
        polls = len(reader.reads)
        scaler.may_go_on.set()
        await until(lambda: sink.of("idle")[-1].decision.current > 0)
    assert polls <= 25, "work ends its rest at the next poll"
    assert scaler.asked == ["idle"]


async def decided(rest_s: float) -> list[tuple[int, str]]:
    """Targets and reasons of a pool that has work in seven of forty polls, from shortly before the first of them."""
    reader, scaler, sink, now_s = Reader(), Scaler(), Sink(), 1000.0
    scaler.may_go_on.set()
    loop = BrokerLoop(reader=reader, scaler=scaler, sink=sink, clock=lambda: now_s, rest_s=rest_s)
    loop.put(pool("email"))
    for poll in range(40):
        reader.busy = "email" if 25 <= poll < 32 else ""
        loop._pools[PoolKey(namespace="shop", name="email")].due_s = 0.0
        await loop.cycle()
        await asyncio.gather(*loop._moves)
        now_s += 1.0
    return [(record.decision.target, record.decision.reason.value) for record in sink.records][-15:]


async def test_rest_changes_no_decision() -> None:
    """What was passed over is made up for: rates and windows are the same as without."""
    without = await decided(0.0)
    assert any(target > 0 for target, _ in without)
    assert await decided(3600.0) == without


async def test_another_spec_ends_the_rest() -> None:
    reader, scaler, sink = Reader(), Scaler(), Sink()
    scaler.may_go_on.set()
    async with running(reader, scaler, sink, "idle", rest_s=60) as loop:
        await until(lambda: len(reader.reads) >= 5)
        loop.put(replace(pool("idle"), spec=PoolSpec(min_replicas=2, poll_interval_s=0.01)))
        await until(lambda: scaler.sizes.get("idle") == 2)


async def test_the_policy_is_told_whether_replicas_drain_and_a_pool_at_rest_stays_so() -> None:
    class Draining(Scaler):
        drains = True

        async def replicas(self, key: PoolKey, beats: Sequence[WorkerBeat]) -> ReplicaState:
            return replace(await super().replicas(key, beats), drains=self.drains)

    reader, scaler, sink = Reader(), Draining(), Sink()
    async with running(reader, scaler, sink, "idle"):
        await until(lambda: sink.records)
        assert sink.records[0].observation.replicas.drains
        scaler.drains = False
        await until(lambda: not sink.records[-1].observation.replicas.drains)
    sink.records.clear()
    async with running(reader, scaler, sink, "idle", rest_s=60.0):
        await until(lambda: sink.records)
        scaler.drains = True
        reads = len(reader.reads)
        await until(lambda: len(reader.reads) > reads + 5)
        assert len(sink.records) == 1, "what would be done is no change"
