"""Local mode's start: brokers are read side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from workerpool_operator.core.observation import Cause, QueueDepth, Unavailable
from workerpool_operator.local import world as module
from workerpool_operator.local.world import LocalOptions, LocalWorld
from workerpool_operator.ports import BrokerReading, PoolReading, QueueSource
from workerpool_operator.report.board import Board
from workerpool_operator.resource.load import load_pools
from workerpool_operator.resource.world import World

pytestmark = pytest.mark.unit

POOL = """---
apiVersion: workerpool.dev/v1alpha1
kind: WorkerPool
metadata: {{name: {name}}}
spec:
  queues: [{{name: mail}}]
  broker: {{url: "redis://{name}:6379/0"}}
  worker: {{command: [sleep, "1000"]}}
"""


class Reader:
    """A broker that answers once every other one was asked as well."""

    def __init__(self, everybody: asyncio.Barrier, found: PoolReading | Unavailable) -> None:
        self._everybody, self._found = everybody, found

    async def read(self, sources: Sequence[QueueSource]) -> BrokerReading:
        await self._everybody.wait()
        pools = {source.key: self._found for source in sources}
        return BrokerReading(time_s=0.0, pools=pools, beats=(), duration_s=0.0, commands=0)

    async def close(self) -> None:
        """Nothing to close."""


async def test_no_broker_waits_for_another_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = asyncio.Barrier(3)
    well = PoolReading(queues={"mail": QueueDepth(ready=0)}, held=0)
    away = Unavailable(cause=Cause.TIMEOUT, message="no answer")

    def reader_for(_layout: str, url: str, *, ca_pem: str | None) -> Reader:
        return Reader(everybody, well if "good" in url else away)

    monkeypatch.setattr(module, "reader_for", reader_for)
    pools = load_pools("".join(POOL.format(name=name) for name in ("bad", "worse", "good")), world=World.LOCAL)
    world = LocalWorld(pools, options=LocalOptions(folder=tmp_path, state_dir=tmp_path, environ={}), sink=Board())
    await asyncio.wait_for(world.start(), 20)
    assert world.problems == ["pool default/bad: no answer", "pool default/worse: no answer"]
    await world.drain()
