"""Brings the cluster to what the WorkerPools say, as long as this process leads.

An event only marks its pool; a few workers take marked pools one by one and look at everything anew. So events may come
twice, late, or not at all: the last look counts. Sizes are not decided here, but by the loop of each pool's broker.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from workerpool_operator.core.observation import ActiveSchedule
from workerpool_operator.kube.api import ApiError, Forbidden, Invalid
from workerpool_operator.kube.brokers import Address, BrokerProblemError, Brokers
from workerpool_operator.kube.census import Census
from workerpool_operator.kube.loops import Loops
from workerpool_operator.kube.names import BROKER_REVISION_ANNOTATION
from workerpool_operator.kube.objects import Name, PoolObject
from workerpool_operator.kube.owned import ForeignObjectError, LeftoverError, Owned
from workerpool_operator.kube.problems import (
    Problem,
    ProblemKind,
    foreign_deployment,
    invalid_spec,
    target_autoscaled,
    target_not_found,
    target_shared,
)
from workerpool_operator.kube.registry import Registry
from workerpool_operator.loop import Pool
from workerpool_operator.ports import PoolKey, QueueSource
from workerpool_operator.queues import LayoutError
from workerpool_operator.resource import WorkerPool, pool_spec
from workerpool_operator.resource.schedules import active_schedules

log = logging.getLogger(__name__)

WORKERS = 4
"""Pools that are looked at side by side: more only make an API server slow that is busy with a thousand new ones."""

LOOK_AGAIN_S = 30.0
"""Every pool is looked at this often even without an event: Secrets are read again, lost writes are repeated."""

RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
CHECK_S = 0.25
SOON_S = 5.0
"""A pool with something wrong is looked at this often: a Secret that is created tells nobody."""

SECRET_SOON_S = 2.0

LEFTOVER_S = 20.0
"""The garbage collector may take this long to remove the Deployment of a pool that was deleted and made anew."""

LEAVE_ALONE = frozenset(
    {ProblemKind.TARGET_SHARED, ProblemKind.TARGET_AUTOSCALED, ProblemKind.FOREIGN_DEPLOYMENT, ProblemKind.INVALID_SPEC}
)
"""Problems with which the Deployment of the pool's name is not touched."""


Problems = tuple[Problem, ...]


@dataclass(slots=True)
class _Tracked:
    problems: Problems = ()
    uid: str = ""
    placed: tuple[int, Address] | None = None
    """The generation of the spec, and the broker, with which the pool runs on a loop."""
    failures: int = 0
    due_s: float = 0.0
    since_s: float = field(default_factory=time.monotonic)


class Controller:
    """Looks at pools when they are marked, and from time to time.

    Args:
        registry: What is known of the cluster.
        brokers: Where each pool's broker is.
        owned: The objects that pools own.
        loops: The loops that decide sizes.
        leads: Whether this process leads at this moment.
        on_problems: Told what is wrong with a pool after each look; None when the pool is gone.
        list_pods: Makes the pods of a target known, where they are not: before its size is decided.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        brokers: Brokers,
        owned: Owned,
        loops: Loops,
        leads: Callable[[], bool],
        on_problems: Callable[[PoolKey, Problems | None], None],
        list_pods: Callable[[Name], Awaitable[None]],
    ) -> None:
        self._registry, self._brokers, self._owned, self._loops = registry, brokers, owned, loops
        self._leads, self._on_problems, self._list_pods = leads, on_problems, list_pods
        self._census = Census(registry, loops.budgets)
        self._tracked: dict[PoolKey, _Tracked] = {}
        self._marked: dict[PoolKey, None] = {}
        self._looking: set[PoolKey] = set()
        """Pools that a worker is at: two looks at one pool would overtake each other."""
        self._wake = asyncio.Event()

    def mark(self, key: PoolKey) -> None:
        """Have a pool looked at soon."""
        self._marked[key] = None
        self._wake.set()

    def mark_all(self) -> None:
        """Have every pool looked at soon. Those that share a budget know of each other before the first is decided."""
        for key in self._registry.pools:
            self._census.enrol(key)
            self.mark(key)

    def soon(self, key: PoolKey) -> None:
        """Have a pool looked at in a moment, rather than at its next turn."""
        tracked = self._tracked.get(key)
        if tracked is not None:
            tracked.due_s = min(tracked.due_s, time.monotonic() + SECRET_SOON_S)

    def stand_by(self) -> None:
        """Forget how pools were run: this process does not lead any more."""
        self._tracked.clear()
        self._census.clear()

    def blocked(self, key: PoolKey) -> str | None:
        """Why the Deployment of a pool must be left alone, None where it need not."""
        tracked = self._tracked.get(key)
        problems = tracked.problems if tracked is not None else ()
        return next((one.message for one in problems if one.kind in LEAVE_ALONE), None)

    def generation(self, key: PoolKey) -> int | None:
        """The generation of the spec with which a pool runs on a loop, None while it runs on none."""
        tracked = self._tracked.get(key)
        return tracked.placed[0] if tracked is not None and tracked.placed is not None else None

    async def run(self) -> None:
        """Look at marked pools until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mark_due())
            for _ in range(WORKERS):
                group.create_task(self._work())

    # -- inside

    async def _work(self) -> None:
        while True:
            while (key := next((one for one in self._marked if one not in self._looking), None)) is None:
                self._wake.clear()
                await self._wake.wait()
            del self._marked[key]
            self._looking.add(key)
            try:
                await self._look(key)
            except Exception:
                log.exception("pool %s: looking at it failed; it is looked at again", key)
                self._later(key)
            finally:
                self._looking.discard(key)
                self._wake.set()

    async def _mark_due(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            self._census.settle()
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
        if key in self._tracked and self._tracked[key].uid not in ("", known.uid):
            # deleted and made anew before anybody looked
            self._unplace(key)
            self._forget(key)
        tracked = self._tracked.setdefault(key, _Tracked())
        tracked.uid = known.uid
        self._census.enrol(key)
        if known.pool is None:
            self._unplace(key)
            self._settle(key, (invalid_spec(known.problems),))
            return
        try:
            self._settle(key, await self._bring_about(known, known.pool))
        except ApiError as error:
            if tracked.placed is None:
                self._census.hold(key)
            log.warning("pool %s: %s", key, error, extra={"pool": key.name, "namespace": key.namespace})
            self._later(key)

    async def _bring_about(self, known: PoolObject, pool: WorkerPool) -> Problems:
        """Make what is missing, and run the pool on its broker's loop; returns what is wrong."""
        problems, address = self._conflicts(known), None
        try:
            address = await self._brokers.address(pool)
        except BrokerProblemError as error:
            problems += (error.problem,)
        # known before anything moves: what must be left alone is left alone from the first cycle on
        self._tracked[known.key].problems = problems
        if not any(problem.kind in LEAVE_ALONE for problem in problems):
            try:
                await self._owned.ensure(known, pool, broker_revision=self._revision(known, pool))
            except LeftoverError as error:
                self._unplace(known.key)
                age_s = time.monotonic() - self._tracked[known.key].since_s
                return problems if age_s < LEFTOVER_S else (*problems, foreign_deployment(str(error)))
            except (Invalid, Forbidden) as error:
                # what is there already is scaled on
                problems += (Problem(kind=ProblemKind.APPLY_REFUSED, message=str(error)),)
            except ForeignObjectError as error:
                problems += (foreign_deployment(str(error)),)
                self._tracked[known.key].problems = problems
        if known.target not in self._registry.deployments:
            if pool.spec.deployment_ref is not None:
                problems += (target_not_found(known.target[1]),)
            address = None
        if address is None:
            self._unplace(known.key)
            return problems
        await self._list_pods(known.target)
        return problems + self._place(known, pool, address)

    def _revision(self, known: PoolObject, pool: WorkerPool) -> str | None:
        live = self._registry.deployments.get(known.target)
        template = live.body["spec"]["template"] if live is not None and live.body is not None else {}
        before = ((template.get("metadata") or {}).get("annotations") or {}).get(BROKER_REVISION_ANNOTATION)
        return self._brokers.revision(pool, before)

    def _conflicts(self, known: PoolObject) -> Problems:
        rivals = self._registry.rivals_of(known.key)
        if rivals:
            return (target_shared(known.target[1], pool=rivals[0].name),)
        autoscaler = self._registry.autoscaler_of(known.target)
        return () if autoscaler is None else (target_autoscaled(known.target[1], autoscaler=autoscaler),)

    def _unplace(self, key: PoolKey) -> None:
        self._loops.remove(key)
        self._census.hold(key)
        self._tracked[key].placed = None

    def _place(self, known: PoolObject, pool: WorkerPool, address: Address) -> Problems:
        """Run a pool on its broker's loop, unless it runs there with this very spec; returns what is wrong."""
        tracked = self._tracked[known.key]
        if tracked.placed == (known.generation, address) and known.key in self._loops:
            return ()
        try:
            self._loops.put(loop_pool(pool, known.generation), address)
        except LayoutError as error:
            self._unplace(known.key)
            return (invalid_spec([f"spec.{error}"]),)
        tracked.placed = (known.generation, address)
        return ()

    def _settle(self, key: PoolKey, problems: Problems) -> None:
        tracked = self._tracked[key]
        tracked.problems, tracked.failures = problems, 0
        tracked.due_s = time.monotonic() + (SOON_S if problems else LOOK_AGAIN_S)
        self._on_problems(key, problems)

    def _later(self, key: PoolKey) -> None:
        """Look again after a failure, ever less often."""
        tracked = self._tracked.setdefault(key, _Tracked())
        tracked.due_s = time.monotonic() + RETRY_S[min(tracked.failures, len(RETRY_S) - 1)]
        tracked.failures += 1

    def _forget(self, key: PoolKey) -> None:
        tracked = self._tracked.pop(key, None)
        if tracked is not None:
            self._owned.forget(tracked.uid)
        self._census.leave(key)
        self._on_problems(key, None)


def loop_pool(pool: WorkerPool, generation: int = 0) -> Pool:
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
    return Pool(source=source, spec=pool_spec(pool), schedules_at=schedules_at, generation=generation)
