"""What the cycle takes silent replicas for: at its first look, later, and when the broker was away in between."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from workerpool_operator.core.decision import Decision
from workerpool_operator.core.observation import Cause, QueueDepth, Unavailable
from workerpool_operator.core.spec import PoolSpec
from workerpool_operator.loop import BrokerLoop, Pool
from workerpool_operator.ports import (
    BrokerReading,
    CycleRecord,
    Notice,
    Outcome,
    PoolKey,
    PoolReading,
    QueueSource,
    ReplicaState,
    WorkerBeat,
)

pytestmark = pytest.mark.unit

POOL = Pool(
    source=QueueSource(key=PoolKey(namespace="shop", name="mail"), queues=("mail",)), spec=PoolSpec(min_replicas=2)
)


class World:
    """A broker without jobs that is away at times, and two replicas of which nothing is heard: all there is to see."""

    def __init__(self) -> None:
        self.now_s, self.away, self.seen = 0.0, False, list[CycleRecord]()

    async def read(self, sources: Sequence[QueueSource]) -> BrokerReading:
        away = Unavailable(cause=Cause.UNREACHABLE, message="away")
        empty = PoolReading(queues={"mail": QueueDepth(ready=0)}, held=0)
        pools = dict.fromkeys((source.key for source in sources), away if self.away else empty)
        return BrokerReading(time_s=self.now_s, pools=pools, beats=(), duration_s=0.0, commands=1)

    async def close(self) -> None:
        """Nothing to close."""

    async def replicas(self, key: PoolKey, beats: Sequence[WorkerBeat]) -> ReplicaState:  # noqa: ARG002 - as the port has it
        return ReplicaState(current=2, ready=2, leaving=0, silent=2)

    async def scale(self, key: PoolKey, decision: Decision) -> Outcome:
        raise AssertionError((key, decision))

    def record(self, record: CycleRecord) -> None:
        self.seen.append(record)

    def notice(self, notice: Notice) -> None:
        raise AssertionError(notice)


async def test_silent_replicas_are_busy_until_they_could_be_heard_also_after_the_broker_was_away() -> None:
    world = World()
    loop = BrokerLoop(reader=world, scaler=world, sink=world, clock=lambda: world.now_s)
    for now_s, away in ((0, False), (6, False), (7, False), (8, True), (100, True), (101, False), (108, False)):
        world.now_s, world.away = now_s, away
        loop.put(POOL)
        await loop.cycle()
    assert [one.observation.replicas.busy for one in world.seen] == [2, 2, None, None, None, 2, None]
