"""One polling loop a broker, made when its first pool comes and ended when its last one goes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from workerpool_operator.budgets import Budgets
from workerpool_operator.kube.brokers import Address
from workerpool_operator.loop import BrokerLoop, Pool
from workerpool_operator.ports import PoolKey, QueueReader, Scaler, Sink

REST_S = 10.0
"""Pools at zero with nothing to do are decided and reported this often: of a thousand pools, most are such."""


@dataclass(slots=True)
class _Running:
    loop: BrokerLoop
    task: asyncio.Task[None]
    pools: set[PoolKey]
    started_s: float
    longest_interval_s: float = 1.0


class Loops:
    """The loops of all brokers."""

    def __init__(self, *, reader_for: Callable[[Address], QueueReader], scaler: Scaler, sink: Sink) -> None:
        self._reader_for, self._scaler, self._sink = reader_for, scaler, sink
        self._running: dict[Address, _Running] = {}
        self._address_of: dict[PoolKey, Address] = {}
        self.budgets = Budgets()
        """What pools share, of whatever broker."""

    def put(self, pool: Pool, address: Address) -> None:
        """Run a pool on the loop of its broker; one whose broker changed moves."""
        before = self._address_of.get(pool.key)
        if before is not None and before != address:
            self.remove(pool.key)
        running = self._running.get(address) or self._start(address)
        running.pools.add(pool.key)
        running.longest_interval_s = max(running.longest_interval_s, pool.spec.poll_interval_s)
        self._address_of[pool.key] = address
        running.loop.put(pool)

    def remove(self, key: PoolKey) -> None:
        """Run a pool no longer."""
        address = self._address_of.pop(key, None)
        running = self._running.get(address) if address is not None else None
        if address is None or running is None:
            return
        running.loop.remove(key)
        running.pools.discard(key)
        if not running.pools:
            del self._running[address]
            running.task.cancel()

    def __contains__(self, key: PoolKey) -> bool:
        return key in self._address_of

    def ages_s(self) -> list[tuple[float, float]]:
        """For each loop: seconds since its last cycle, and the longest poll interval of its pools."""
        now_s = time.monotonic()
        return [
            (now_s - (running.loop.last_cycle_s or running.started_s), running.longest_interval_s)
            for running in self._running.values()
        ]

    async def stop(self) -> None:
        """End all loops and give back their connections."""
        tasks = [running.task for running in self._running.values()]
        self._running.clear()
        self._address_of.clear()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _start(self, address: Address) -> _Running:
        reader = self._reader_for(address)
        loop = BrokerLoop(reader=reader, scaler=self._scaler, sink=self._sink, rest_s=REST_S, budgets=self.budgets)
        task = asyncio.create_task(loop.run(), name=f"loop of {address!r}")
        self._running[address] = running = _Running(loop=loop, task=task, pools=set(), started_s=time.monotonic())
        return running
