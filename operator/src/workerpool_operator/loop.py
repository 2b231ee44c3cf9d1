"""The cycle: observe, decide, act, report, for all pools of one broker.

One :class:`BrokerLoop` a broker: a broker that hangs holds back its own pools and nobody else's. The loop owns what
must be remembered from one cycle to the next, and the only clock that decisions see.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from workerpool_operator.budgets import Budgets
from workerpool_operator.core.decision import Decision, History, Reason
from workerpool_operator.core.observation import ActiveSchedule, Observation, Replicas, Unavailable
from workerpool_operator.core.policy import decide
from workerpool_operator.core.spec import PoolSpec
from workerpool_operator.ports import (
    BrokerReading,
    CycleRecord,
    Outcome,
    OutcomeKind,
    PoolKey,
    PoolReading,
    QueueReader,
    QueueSource,
    ReplicaState,
    Scaler,
    Sink,
)
from workerpool_operator.queues.inflight import InFlightMemory, estimate, interrupted
from workerpool_operator.queues.rest import AT_ZERO, Rest, nothing_in

log = logging.getLogger(__name__)

UNCHANGED = Outcome(kind=OutcomeKind.UNCHANGED)

EARLY_SHARE = 0.1
"""A pool whose turn is less than this share of its interval away is read along with those that are due."""

BREATHE_EVERY = 50
"""After so many pools other tasks get a turn: the event loop also answers probes and renews the Lease."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """A pool as the loop runs it.

    ``schedules_at`` tells which schedules are in force at a time (Unix seconds); ``generation`` is which version of the
    pool this is, for the reports.
    """

    source: QueueSource
    spec: PoolSpec
    schedules_at: Callable[[float], tuple[ActiveSchedule, ...]] = lambda _at: ()
    generation: int = 0

    @property
    def key(self) -> PoolKey:
        """Namespace and name."""
        return self.source.key


@dataclass(kw_only=True, slots=True)
class _Tracked:
    """A pool with what is remembered of it; ``due_s`` is on the monotonic clock."""

    pool: Pool
    due_s: float
    history: History = field(default_factory=History)
    in_flight: InFlightMemory = field(default_factory=InFlightMemory)
    lag_s: float = 0.0
    moving: bool = False
    """Whether its size is being changed: it is looked at again when that is over."""
    rest: Rest | None = None
    """Set while it is at rest."""


class _Look(NamedTuple):
    """What was seen of a pool in this cycle, and what follows from it."""

    pool: Pool
    observation: Observation
    decision: Decision
    seen_s: float


class BrokerLoop:
    """Runs the pools of one broker. Pools may be put, replaced and removed at any time."""

    def __init__(
        self,
        *,
        reader: QueueReader,
        scaler: Scaler,
        sink: Sink,
        clock: Callable[[], float] = time.time,
        rest_s: float = 0.0,
        budgets: Budgets | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            reader: Reads the broker.
            scaler: Knows and changes sizes.
            sink: Is told of every cycle.
            clock: Unix time in seconds.
            rest_s: A pool at zero that has nothing to do is decided and reported only this often; 0: at every poll.
            budgets: What pools share, with those of other brokers; None: with those of this broker only.
        """
        self._rest_s, self._budgets = rest_s, budgets if budgets is not None else Budgets()
        self._reader, self._scaler, self._sink, self._clock = reader, scaler, sink, clock
        self._pools: dict[PoolKey, _Tracked] = {}
        self._moves: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self.last_cycle_s: float | None = None
        """When the last cycle ended, on the monotonic clock: the age of the loop, for a health check."""

    def put(self, pool: Pool) -> None:
        """Add a pool, or replace its spec and keep what is remembered of it; it is looked at straight away."""
        self._budgets.enrol(pool.key, pool.spec)
        known = self._pools.get(pool.key)
        if known is None:
            self._pools[pool.key] = _Tracked(pool=pool, due_s=time.monotonic())
        else:
            known.pool, known.due_s = pool, time.monotonic()
        self._woken.set()

    def remove(self, key: PoolKey) -> None:
        """Forget a pool; its replicas are the scaler's business, and its budget goes on counting them."""
        if self._pools.pop(key, None) is not None:
            self._budgets.hold(key)

    async def run(self) -> None:
        """Cycle until cancelled; the reader is closed on the way out."""
        try:
            while True:
                await self._until_due()
                try:
                    await self.cycle()
                except Exception:
                    log.exception("a cycle failed; sizes are held, and the next one comes at its time")
        finally:
            for move in self._moves:
                move.cancel()
            await asyncio.gather(*self._moves, return_exceptions=True)
            await self._reader.close()

    async def cycle(self) -> None:
        """One cycle of the pools that are due. Changes of size are begun, not waited for.

        One may take a second, where pods are marked before they go; other pools have their turns meanwhile.
        """
        now_s = time.monotonic()
        due = [
            tracked
            for tracked in self._pools.values()
            if not tracked.moving and tracked.due_s <= now_s + EARLY_SHARE * tracked.pool.spec.poll_interval_s
        ]
        for tracked in due:
            tracked.lag_s = max(0.0, now_s - tracked.due_s)
            # a turn that was missed is skipped, not made up for
            tracked.due_s = max(tracked.due_s, now_s) + tracked.pool.spec.poll_interval_s
        if not due:
            return
        reading = await self._reader.read([tracked.pool.source for tracked in due])
        for number, tracked in enumerate(due):
            look = await self._look(tracked, reading)
            if look is not None and look.decision.target == look.decision.current:
                self._report(tracked, look, UNCHANGED, reading)
            elif look is not None:
                self._begin(tracked, look, reading)
            if number % BREATHE_EVERY == 0:
                await asyncio.sleep(0)
        self.last_cycle_s = time.monotonic()

    async def _until_due(self) -> None:
        self._woken.clear()
        due_s = min((tracked.due_s for tracked in self._pools.values() if not tracked.moving), default=None)
        wait_s = None if due_s is None else max(0.0, due_s - time.monotonic())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), wait_s)

    async def _look(self, tracked: _Tracked, reading: BrokerReading) -> _Look | None:
        """Observe and decide for one pool. A fault in it is logged and holds that pool only."""
        pool = tracked.pool
        if self._pools.get(pool.key) is not tracked:
            return None  # it was removed while its broker was read
        try:
            state = await self._scaler.replicas(pool.key, reading.beats)
            if self._rest_s and self._rests(tracked, reading.pools[pool.key], state):
                return None
            observation = self._observe(tracked, reading.pools[pool.key], state, self._clock())
            seen_s = time.monotonic()
            observation, decision = self._budgets.decide(pool.key, observation, pool.spec, tracked.history)
        except Exception:
            log.exception("pool %s: it could not be decided; its size is held", pool.key)
            return None
        tracked.history = decision.history
        found, now_s = reading.pools[pool.key], observation.time_s
        kept_small = decision.reason is Reason.BUDGET_EXHAUSTED  # it grows as soon as others leave it something
        if decision.target == 0 and state == AT_ZERO and nothing_in(found) and not kept_small:
            tracked.rest = Rest(pool=pool, found=found, schedules=observation.schedules, decided_s=now_s, seen_s=now_s)
        return _Look(pool=pool, observation=observation, decision=decision, seen_s=seen_s)

    def _begin(self, tracked: _Tracked, look: _Look, reading: BrokerReading) -> None:
        tracked.moving = True
        move = asyncio.create_task(self._move(tracked, look, reading))
        self._moves.add(move)
        move.add_done_callback(self._moves.discard)

    async def _move(self, tracked: _Tracked, look: _Look, reading: BrokerReading) -> None:
        """Act on a decision that changes the size."""
        try:
            outcome = await self._scaler.scale(tracked.pool.key, look.decision)
        except Exception as error:
            log.exception("pool %s: it could not be scaled", tracked.pool.key)
            outcome = Outcome(kind=OutcomeKind.FAILED, message=f"internal error: {error}")
        finally:
            tracked.moving = False
            self._woken.set()
        self._report(tracked, look, outcome, reading)

    def _report(self, tracked: _Tracked, look: _Look, outcome: Outcome, reading: BrokerReading) -> None:
        if self._pools.get(tracked.pool.key) is not tracked:
            return  # removed while it was scaled: the reports have forgotten it and must not learn of it again
        self._sink.record(
            CycleRecord(
                key=tracked.pool.key,
                spec=look.pool.spec,
                observation=look.observation,
                decision=look.decision,
                outcome=outcome,
                poll_duration_s=reading.duration_s,
                lag_s=tracked.lag_s,
                act_duration_s=time.monotonic() - look.seen_s,
                generation=look.pool.generation,
            )
        )

    def _rests(self, tracked: _Tracked, found: PoolReading | Unavailable, state: ReplicaState) -> bool:
        """Whether a pool is still at rest. When it is no more, what was passed over is made up for in its history."""
        rest, now_s = tracked.rest, self._clock()
        if rest is None:
            return False
        pool, longest_s = tracked.pool, self._rest_s
        schedules = pool.schedules_at(now_s)
        if rest.goes_on(pool=pool, found=found, state=state, schedules=schedules, now_s=now_s, longest_s=longest_s):
            rest.seen_s = now_s
            return True
        tracked.rest = None
        if rest.pool is pool and rest.seen_s > rest.decided_s:
            # when it was seen at rest last: rates are measured from then on, not from the last decision
            observation = self._observe(tracked, rest.found, AT_ZERO, rest.seen_s)
            tracked.history = decide(observation, pool.spec, tracked.history).history
        return False

    def _observe(
        self, tracked: _Tracked, found: PoolReading | Unavailable, state: ReplicaState, now_s: float
    ) -> Observation:
        pool = tracked.pool
        if isinstance(found, Unavailable):
            tracked.in_flight = interrupted(tracked.in_flight)
            return Observation(
                time_s=now_s,
                replicas=_replicas(state, busy=None),
                queues=dict.fromkeys(pool.source.queues, found),
                in_flight=found,
                schedules=pool.schedules_at(now_s),
            )
        return self._assemble(tracked, found, state, now_s)

    def _assemble(self, tracked: _Tracked, found: PoolReading, state: ReplicaState, now_s: float) -> Observation:
        in_flight, busy, tracked.in_flight = estimate(found, state, tracked.in_flight, now_s)
        return Observation(
            time_s=now_s,
            replicas=_replicas(state, busy=busy),
            queues=found.queues,
            in_flight=in_flight,
            schedules=tracked.pool.schedules_at(now_s),
        )


def _replicas(state: ReplicaState, *, busy: int | None) -> Replicas:
    return Replicas(current=state.current, ready=state.ready, busy=busy, leaving=state.leaving, drains=state.drains)


async def run_all(loops: Sequence[BrokerLoop]) -> None:
    """Run loops side by side until cancelled; one that fails ends them all with its error."""
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop.run())


def relax_collector() -> None:
    """Collect garbage less often; to be called once by a process that runs loops.

    A cycle makes some twenty short-lived objects a pool and no reference cycles, so Python's default of a collection
    every 700 allocations finds nothing and costs a third of the time (see benchmarks/decide.py).
    """
    gc.set_threshold(50_000, 20, 50)
