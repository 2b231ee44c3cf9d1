"""One polling loop a broker, made when its first pool comes and ended when its last one goes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

from workerpool_operator.budgets import Budgets
from workerpool_operator.kube.brokers import Address
from workerpool_operator.loop import BrokerLoop, Pool
from workerpool_operator.ports import PoolKey, Scaler, Sink, WorkerControl
from workerpool_operator.queues import control_for, reader_for

REST_S = 10.0
"""Pools at zero with nothing to do are decided and reported this often: of a thousand pools, most are such."""


@dataclass(slots=True)
class _Running:
    loop: BrokerLoop
    task: asyncio.Task[None]
    pools: set[PoolKey]
    started_s: float
    control: WorkerControl | None = None
    longest_interval_s: float = 1.0


class Loops:
    """The loops of all brokers.

    Args:
        scaler: Knows and changes sizes.
        sink: Is told of every cycle.
    """

    def __init__(self, *, scaler: Scaler, sink: Sink) -> None:
        self._scaler, self._sink = scaler, sink
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

    def control_of(self, key: PoolKey) -> WorkerControl | None:
        """What speaks to a pool's workers, None while it runs nowhere or where they cannot be spoken to."""
        address = self._address_of.get(key)
        running = self._running.get(address) if address is not None else None
        return running.control if running is not None else None

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
        reader = reader_for(address.layout, address.url, ca_pem=address.ca_pem)
        control = control_for(address.layout, address.url, ca_pem=address.ca_pem)
        loop = BrokerLoop(reader=reader, scaler=self._scaler, sink=self._sink, rest_s=REST_S, budgets=self.budgets)
        task = asyncio.create_task(_run(loop, control), name=f"loop of {address!r}")
        self._running[address] = running = _Running(
            loop=loop, task=task, pools=set(), started_s=time.monotonic(), control=control
        )
        return running


async def _run(loop: BrokerLoop, control: WorkerControl | None) -> None:
    try:
        await loop.run()
    finally:
        if control is not None:
            await control.close()
