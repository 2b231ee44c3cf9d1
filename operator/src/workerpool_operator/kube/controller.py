"""Brings the cluster to what the WorkerPools say, as long as this process leads.

An event only marks its pool; a few workers take marked pools one by one and look at everything anew. So events may come
twice, late, or not at all: the last look counts. Sizes are not decided here, but by the loop of each pool's broker.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from workerpool_operator.core.observation import ActiveSchedule
from workerpool_operator.kube.api import ApiError
from workerpool_operator.kube.brokers import Address, BrokerProblemError, Brokers
from workerpool_operator.kube.loops import Loops
from workerpool_operator.kube.owned import ForeignObjectError, Owned
from workerpool_operator.kube.registry import PoolObject, Registry
from workerpool_operator.loop import Pool
from workerpool_operator.ports import PoolKey, QueueSource
from workerpool_operator.queues import LayoutError
from workerpool_operator.resource import WorkerPool, pool_spec
from workerpool_operator.resource.schedules import active_schedules

log = logging.getLogger(__name__)

WORKERS = 8
"""Pools that are looked at side by side; each may wait for the API server."""

LOOK_AGAIN_S = 30.0
"""Every pool is looked at this often even without an event: Secrets are read again, lost writes are repeated."""

RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
CHECK_S = 0.25


@dataclass(frozen=True, slots=True)
class Standing:
    """What keeps a pool from being run as it says. Empty lists: nothing does.

    ``problems`` are wrong in its spec, ``broker`` in where its broker is, ``conflict`` in what it scales, ``trouble``
    is the API server's.
    """

    problems: tuple[str, ...] = ()
    broker: str = ""
    conflict: str = ""
    missing: str = ""
    trouble: str = ""

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.problems or self.broker or self.conflict or self.missing or self.trouble)


@dataclass(slots=True)
class _Tracked:
    standing: Standing = field(default_factory=Standing)
    uid: str = ""
    placed: tuple[int, Address] | None = None
    """The generation of the spec, and the broker, with which the pool runs on a loop."""
    failures: int = 0
    due_s: float = 0.0


class Controller:
    """Looks at pools when they are marked, and from time to time.

    Args:
        registry: What is known of the cluster.
        brokers: Where each pool's broker is.
        owned: The objects that pools own.
        loops: The loops that decide sizes.
        leads: Whether this process leads at this moment.
        on_standing: Told what stands in a pool's way, after each look; None when the pool is gone.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        brokers: Brokers,
        owned: Owned,
        loops: Loops,
        leads: Callable[[], bool],
        on_standing: Callable[[PoolKey, Standing | None], None],
    ) -> None:
        self._registry, self._brokers, self._owned, self._loops = registry, brokers, owned, loops
        self._leads, self._on_standing = leads, on_standing
        self._tracked: dict[PoolKey, _Tracked] = {}
        self._marked: dict[PoolKey, None] = {}
        self._wake = asyncio.Event()

    def mark(self, key: PoolKey) -> None:
        """Have a pool looked at soon."""
        self._marked[key] = None
        self._wake.set()

    def mark_all(self) -> None:
        """Have every pool looked at soon."""
        for key in self._registry.pools:
            self.mark(key)

    def blocked(self, key: PoolKey) -> str | None:
        """Why the Deployment of a pool must be left alone, None where it need not."""
        tracked = self._tracked.get(key)
        return None if tracked is None else tracked.standing.conflict or None

    async def run(self) -> None:
        """Look at marked pools until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mark_due())
            for _ in range(WORKERS):
                group.create_task(self._work())

    # -- inside

    async def _work(self) -> None:
        while True:
            while not self._marked:
                self._wake.clear()
                await self._wake.wait()
            key = next(iter(self._marked))
            del self._marked[key]
            try:
                await self._look(key)
            except Exception:
                log.exception("pool %s: looking at it failed; it is looked at again", key)
                self._later(key, Standing(trouble="internal error, see the operator's log"))

    async def _mark_due(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            now_s = time.monotonic()
            for key, tracked in self._tracked.items():
                if tracked.due_s <= now_s:
                    tracked.due_s = now_s + LOOK_AGAIN_S
                    self.mark(key)

    async def _look(self, key: PoolKey) -> None:
        """One look at one pool."""
        known = self._registry.pools.get(key)
        if known is None or not self._leads():
            self._loops.remove(key)
            if known is None:
                self._forget(key)
            return
        tracked = self._tracked.setdefault(key, _Tracked())
        tracked.uid = known.uid
        if known.pool is None:
            self._loops.remove(key)
            self._settle(key, Standing(problems=known.problems))
            return
        try:
            standing = await self._bring_about(known, known.pool)
        except ApiError as error:
            log.warning("pool %s: %s", key, error, extra={"pool": key.name, "namespace": key.namespace})
            self._later(key, Standing(trouble=str(error)))
            return
        self._settle(key, standing)

    async def _bring_about(self, known: PoolObject, pool: WorkerPool) -> Standing:
        """Make what is missing, and run the pool on its broker's loop; returns what stands in its way."""
        conflict, missing = self._conflict(known), ""
        broker = ""
        try:
            address = await self._brokers.address(pool)
        except BrokerProblemError as error:
            address, broker = None, str(error)
        if not conflict:
            try:
                await self._owned.ensure(known, pool, broker_revision=self._brokers.revision(pool))
            except ForeignObjectError as error:
                conflict = str(error)
        if pool.spec.deployment_ref is not None and known.target not in self._registry.deployments:
            missing = f"spec.deploymentRef: there is no Deployment {known.target[1]} in namespace {known.target[0]}"
        # known before the pool runs: its first cycle must not move what it must leave alone
        self._tracked[known.key].standing = Standing(broker=broker, conflict=conflict, missing=missing)
        if address is None or missing:
            self._loops.remove(known.key)
        else:
            broker = self._place(known, pool, address)
        return Standing(broker=broker, conflict=conflict, missing=missing)

    def _place(self, known: PoolObject, pool: WorkerPool, address: Address) -> str:
        """Run a pool on its broker's loop, unless it runs there with this very spec; returns what is wrong."""
        tracked = self._tracked[known.key]
        if tracked.placed == (known.generation, address) and known.key in self._loops:
            return ""
        try:
            self._loops.put(loop_pool(pool), address)
        except LayoutError as error:
            return f"spec.{error}"
        tracked.placed = (known.generation, address)
        return ""

    def _conflict(self, known: PoolObject) -> str:
        rivals = self._registry.rivals_of(known.key)
        if rivals:
            return f"pool {rivals[0].name} scales Deployment {known.target[1]} already: remove one of the two"
        autoscaler = self._registry.autoscaler_of(known.target)
        if autoscaler is not None:
            return f"HorizontalPodAutoscaler {autoscaler} scales Deployment {known.target[1]}: remove one of the two"
        return ""

    def _settle(self, key: PoolKey, standing: Standing) -> None:
        tracked = self._tracked[key]
        tracked.standing, tracked.failures, tracked.due_s = standing, 0, time.monotonic() + LOOK_AGAIN_S
        if standing.broker or standing.missing:
            tracked.due_s = time.monotonic() + RETRY_S[3]
        self._on_standing(key, standing)

    def _later(self, key: PoolKey, standing: Standing) -> None:
        """Look again after a failure, ever less often."""
        tracked = self._tracked.setdefault(key, _Tracked())
        tracked.due_s = time.monotonic() + RETRY_S[min(tracked.failures, len(RETRY_S) - 1)]
        tracked.failures += 1
        self._on_standing(key, standing)

    def _forget(self, key: PoolKey) -> None:
        tracked = self._tracked.pop(key, None)
        if tracked is not None:
            self._owned.forget(tracked.uid)
        self._on_standing(key, None)


def loop_pool(pool: WorkerPool) -> Pool:
    """A pool as the loop runs it."""
    schedules = pool.spec.scaling.schedules

    def schedules_at(time_s: float) -> tuple[ActiveSchedule, ...]:
        return active_schedules(schedules, dt.datetime.fromtimestamp(time_s, dt.UTC)) if schedules else ()

    source = QueueSource(
        key=PoolKey(namespace=pool.namespace, name=pool.name),
        queues=pool.queue_names,
        key_prefix=pool.broker.key_prefix,
        priorities=pool.priorities,
    )
    return Pool(source=source, spec=pool_spec(pool), schedules_at=schedules_at)
