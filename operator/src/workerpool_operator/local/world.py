"""Pools running on this machine: their brokers, their loops, their worker processes."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workerpool_operator.budgets import Budgets
from workerpool_operator.core.observation import ActiveSchedule, Unavailable
from workerpool_operator.local.plan import (
    BrokerAddress,
    PlanError,
    broker_of,
    key_of,
    launch_plan,
    needs_embedded_redis,
    source_of,
)
from workerpool_operator.local.processes import ProcessScaler
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.loop import BrokerLoop, Pool, run_all
from workerpool_operator.ports import PoolKey, PoolReading, QueueReader, Sink, WorkerControl
from workerpool_operator.queues.cordons import Cordons
from workerpool_operator.queues.readers import control_for, reader_for
from workerpool_operator.resource.model import WorkerPool
from workerpool_operator.resource.schedules import active_schedules
from workerpool_operator.resource.to_spec import pool_spec

USUAL_REDIS_PORT = 6379


class LocalError(Exception):
    """Local mode cannot start. The text is one line for each thing that is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalOptions:
    """Where and how local mode runs.

    ``folder`` is where worker commands run, ``state_dir`` where logs and the embedded Redis' data go, ``environ`` what
    workers inherit and secrets are taken from, ``extra_env`` what is added to every worker's environment.
    """

    folder: Path
    state_dir: Path
    environ: Mapping[str, str]
    extra_env: Mapping[str, str] = field(default_factory=dict)
    show_worker_logs: bool = False
    redis_port: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Connected:
    """What came of connecting to a broker: how many of its pools could be read, and what is wrong with the others."""

    well: int
    troubles: Sequence[str]


class LocalWorld:
    """Runs WorkerPools with processes as replicas. ``start()``, then ``run()`` until cancelled, then ``drain()``."""

    def __init__(self, pools: Sequence[WorkerPool], *, options: LocalOptions, sink: Sink) -> None:
        self._declared, self._options, self._sink = tuple(pools), options, sink
        self.scaler = ProcessScaler(on_notice=sink.notice)
        self.redis: RedisServer | None = None
        self.problems: list[str] = []
        """What was wrong at the start, one line each; the pools concerned wait, or are left out."""
        self._loops: dict[BrokerAddress, BrokerLoop] = {}
        self._readers: list[QueueReader] = []
        self._controls: list[WorkerControl] = []
        self._budgets = Budgets()
        self._drained = False

    async def start(self) -> None:
        """Start the Redis that is needed, plan every pool, read every broker once.

        Raises:
            LocalError: No pool at all can run.
            RedisServerError: A Redis is needed and cannot be started.
        """
        self._make_folders()
        if any(needs_embedded_redis(pool) for pool in self._declared):
            await asyncio.to_thread(self._start_redis)
        brokers = self._plan()
        # Side by side: one that hangs must not keep the others waiting.
        found = await asyncio.gather(*(self._connect(address, pools) for address, pools in brokers.items()))
        self.problems += [trouble for one in found for trouble in one.troubles]
        if not any(one.well for one in found):
            raise LocalError("\n".join(self.problems))

    async def run(self) -> None:
        """Observe, decide, act and report, until cancelled."""
        await run_all(list(self._loops.values()))

    async def drain(self) -> int:
        """Let every worker finish its job and go, then stop the embedded Redis; a second call does nothing.

        Returns how many workers had to be killed.
        """
        if self._drained:
            return 0
        self._drained = True
        try:
            return await self.scaler.drain()
        finally:
            for reader in self._readers:
                await reader.close()
            for control in self._controls:
                await control.close()
            if self.redis is not None:
                await asyncio.to_thread(self.redis.stop)

    def _make_folders(self) -> None:
        for folder in (self._options.state_dir, self._options.state_dir / "logs"):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                probe = folder / ".writable"
                probe.touch()
                probe.unlink()
            except OSError as error:
                raise LocalError(
                    f"{folder}: cannot write there ({error.strerror}): name another folder with --state-dir"
                ) from error

    def _start_redis(self) -> None:
        # Told at its launch: until then, the death of local mode would leave it behind.
        self.redis = RedisServer(
            self._options.state_dir / "redis", port=self._options.redis_port, on_launch=self.scaler.outlive
        )
        self.redis.start()

    def _plan(self) -> dict[BrokerAddress, list[WorkerPool]]:
        options, brokers = self._options, dict[BrokerAddress, list[WorkerPool]]()
        for pool in self._declared:
            try:
                address = broker_of(pool, embedded_url=self.redis.url if self.redis else None, environ=options.environ)
                plan = launch_plan(
                    pool,
                    address,
                    folder=options.folder,
                    log_dir=options.state_dir / "logs",
                    environ=options.environ,
                    extra_env=options.extra_env,
                    show_logs=options.show_worker_logs,
                )
            except PlanError as error:
                self.problems.append(str(error))
                continue
            self.scaler.add_pool(key_of(pool), plan)
            brokers.setdefault(address, []).append(pool)
        return brokers

    async def _connect(self, address: BrokerAddress, pools: Sequence[WorkerPool]) -> _Connected:
        """Make the loop of one broker and read it once."""
        try:
            reader = reader_for(address.layout, address.url, ca_pem=address.ca_pem)
        except ValueError as error:
            return _Connected(well=0, troubles=[f"pool {key_of(pool)}: {error}" for pool in pools])
        self._readers.append(reader)
        self._speak_to(address, pools)
        loop = self._loops[address] = BrokerLoop(
            reader=reader, scaler=self.scaler, sink=self._sink, budgets=self._budgets
        )
        reading = await reader.read([source_of(pool) for pool in pools])
        found = [_troubles(key_of(pool), reading.pools[key_of(pool)]) for pool in pools]
        for pool in pools:
            loop.put(Pool(source=source_of(pool), spec=pool_spec(pool), schedules_at=_schedules_of(pool)))
        return _Connected(well=found.count([]), troubles=[trouble for troubles in found for trouble in troubles])

    def _speak_to(self, address: BrokerAddress, pools: Sequence[WorkerPool]) -> None:
        """Have the replicas of those pools that wait for their busy workers cordoned before they go."""
        control = control_for(address.layout, address.url, ca_pem=address.ca_pem)
        if control is None:
            return
        self._controls.append(control)
        for pool in pools:
            if pool.spec.scaling.scale_down.when_busy == "Wait":
                self.scaler.drain_by(key_of(pool), _cordons(pool, control))


def _cordons(pool: WorkerPool, control: WorkerControl) -> Cordons:
    source = source_of(pool)
    return Cordons(str(source.key), lambda: control, key_prefix=lambda: source.key_prefix)


def _schedules_of(pool: WorkerPool) -> Callable[[float], tuple[ActiveSchedule, ...]]:
    """Which of a pool's schedules are in force at a time (Unix seconds)."""
    schedules = pool.spec.scaling.schedules

    def at(time_s: float) -> tuple[ActiveSchedule, ...]:
        return active_schedules(schedules, dt.datetime.fromtimestamp(time_s, dt.UTC)) if schedules else ()

    return at


def _troubles(key: PoolKey, reading: PoolReading | Unavailable) -> list[str]:
    if isinstance(reading, Unavailable):
        return [f"pool {key}: {reading.message}"]
    parts = [*reading.queues.values(), reading.held]
    return [f"pool {key}: {part.message}" for part in parts if isinstance(part, Unavailable)]


def free_usual_port() -> int | None:
    """Redis' usual port where nobody has it, so that producers with default settings find it; None otherwise."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", USUAL_REDIS_PORT))
        except OSError:
            return None
    return USUAL_REDIS_PORT
