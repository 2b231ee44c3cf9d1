"""Deployments as replicas: the :class:`~workerpool_operator.ports.Scaler` of Kubernetes.

Size is read from what the watches report, and written by :mod:`workerpool_operator.kube.moves`. A pool shrinks by
cordon: the workers of the pods that should go are told to take no more jobs, the Deployment keeps counting the pods,
and when they are idle for sure its size is lowered by them. Pods whose workers cannot be told go at once where they are
idle, and stay where they are busy.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from workerpool_operator.core.decision import Decision
from workerpool_operator.kube.api import ApiError, KubeApi
from workerpool_operator.kube.draining import Draining, annotation
from workerpool_operator.kube.moves import APPLIED, UNCHANGED, VICTIM_COST, Moves, failure
from workerpool_operator.kube.names import CORDONED_ANNOTATION
from workerpool_operator.kube.objects import DeploymentObject, Name, PodObject, PoolObject
from workerpool_operator.kube.registry import Registry
from workerpool_operator.kube.victims import beats_of, by_host, choose, host_names, host_of
from workerpool_operator.ports import (
    Notice,
    NoticeKind,
    Outcome,
    OutcomeKind,
    PoolKey,
    ReplicaState,
    WorkerBeat,
    WorkerControl,
)
from workerpool_operator.queues.cordon import FRESH_S
from workerpool_operator.queues.cordons import Cordons

log = logging.getLogger(__name__)

SETTLE_AGAIN_S = 2.0
"""After a removal that failed, the next one is tried not sooner than this."""


class KubeScaler:
    """Moves Deployments for all pools.

    Args:
        api: Where to write.
        registry: What is known of the cluster.
        may_write: Whether this process leads at this moment; asked before every write.
        blocked: Why a pool's Deployment must be left alone, None where it need not.
    """

    def __init__(
        self,
        *,
        api: KubeApi,
        registry: Registry,
        may_write: Callable[[], bool],
        blocked: Callable[[PoolKey], str | None],
    ) -> None:
        self._moves = Moves(api, registry, may_write)
        self._registry, self._may_write, self._blocked = registry, may_write, blocked
        self.control: Callable[[PoolKey], WorkerControl | None] = lambda _key: None
        """How a pool's workers are spoken to at this moment, None where they cannot be."""
        self.on_notice: Callable[[Notice], None] = lambda _notice: None
        """Told of pods that are cordoned, given back and removed; must neither raise nor block."""
        self._draining: dict[PoolKey, Draining] = {}
        self._index_of: Sequence[WorkerBeat] | None = None
        self._by_pod: dict[str, list[WorkerBeat]] = {}

    async def replicas(self, key: PoolKey, beats: Sequence[WorkerBeat]) -> ReplicaState:
        """Count the pool's replicas and match the heartbeats to its pods by host name."""
        pool = self._registry.pools.get(key)
        deployment = self._registry.deployments.get(pool.target) if pool is not None else None
        if pool is None or deployment is None:
            return ReplicaState(current=0, ready=0, leaving=0, silent=0)
        draining, pods = self._of(key), self._registry.pods_of(pool.target)
        by_pod = self._beats_by_pod(beats)
        staying = [pod for pod in pods if not pod.leaving]
        draining.see(staying, by_pod)
        if not pods:
            # none are known: those that the Deployment counts may be busy
            return ReplicaState(current=deployment.replicas, ready=0, leaving=0, silent=deployment.ready)
        if draining.cordons:
            self._settle_soon(key, draining)
        own = draining.beats
        fresh = {host_of(beat) for beat in own if beat.age_s <= FRESH_S}
        ready = [pod for pod in staying if pod.ready and pod.name[1] not in draining.away]
        silent = sum(1 for pod in ready if fresh.isdisjoint(host_names(pod)))
        leaving = tuple(beat for pod in pods if pod.leaving for beat in beats_of(pod, by_pod))
        return ReplicaState(
            current=max(0, deployment.replicas - len(draining.counted)),
            ready=len(ready),
            leaving=len(pods) - len(staying) + len(draining.away),
            silent=silent,
            beats=own,
            leaving_beats=leaving + draining.beats_away if draining.away else leaving,
            drains=bool(own) and not silent and _waits(pool) and draining.cordons.drains,
        )

    async def scale(self, key: PoolKey, decision: Decision) -> Outcome:
        """Move the pool to ``decision.target``."""
        pool = self._registry.pools.get(key)
        if pool is None or pool.target not in self._registry.deployments:
            return Outcome(kind=OutcomeKind.FAILED, message="its Deployment does not exist yet")
        blocked = self._blocked(key)
        if blocked is not None:
            return Outcome(kind=OutcomeKind.CONFLICT, message=blocked)
        draining = self._of(key)
        async with draining.lock:
            deployment = self._registry.deployments.get(pool.target)
            if deployment is None:
                return Outcome(kind=OutcomeKind.FAILED, message="its Deployment is gone")
            change = decision.target - (deployment.replicas - len(draining.counted))
            try:
                if change < 0:
                    return await self._shrink(pool, draining, deployment, -change)
                return await self._grow(key, draining, deployment, change)
            except ApiError as error:
                return failure(error)

    def forget(self, key: PoolKey) -> None:
        """Drop what is kept of a pool that is gone."""
        draining = self._draining.pop(key, None)
        if draining is not None:
            draining.forget_all()

    def stand_by(self) -> None:
        """Drop everything: another process leads, and finds in the pods' annotations which are cordoned."""
        for key in tuple(self._draining):
            self.forget(key)

    # -- changing the size

    async def _shrink(self, pool: PoolObject, draining: Draining, deployment: DeploymentObject, excess: int) -> Outcome:
        staying = [
            pod for pod in self._registry.pods_of(pool.target) if not pod.leaving and pod.name[1] not in draining.away
        ]
        surplus = len(staying) - (deployment.replicas - len(draining.counted))
        unmade = min(excess, max(0, -surplus))
        # counted no more, and not gone yet: one that is chosen twice would have another one go in its place
        going = [pod for pod in staying if pod.deletion_cost == VICTIM_COST][: max(0, surplus)]
        staying = [pod for pod in staying if pod not in going]
        beats = draining.beats_by_pod(staying)
        deaf = {name for name, own in beats.items() if draining.cordons.deaf({beat.hostname for beat in own})}
        chosen = choose(staying, draining.beats, excess - unmade, since_s=draining.since_s, deaf=deaf)
        victims = {pod.name[1]: pod for pod in staying if pod.name in chosen}
        waits = _waits(pool)
        held = await self._cordon(pool.key, draining, victims, beats) if waits else frozenset()
        busy = {name for name in victims.keys() - held if waits and victims[name].ready and _busy(beats[name])}
        direct = [victims[name].name for name in victims.keys() - held - busy]
        outcome = APPLIED if held else UNCHANGED
        if unmade or direct:
            replicas = deployment.replicas - unmade - len(direct)
            outcome = await self._moves.shrink(pool.target, replicas, direct, seen=deployment.replicas)
        return _saying(outcome, cordoned=len(held), finishing=len(held & draining.cordons.busy()), kept=len(busy))

    async def _cordon(
        self,
        key: PoolKey,
        draining: Draining,
        victims: Mapping[str, PodObject],
        beats: Mapping[str, Sequence[WorkerBeat]],
    ) -> frozenset[str]:
        """Cordon those pods whose workers answer, and return their names."""
        heard = {
            name: frozenset(beat.hostname for beat in beats[name] if beat.age_s <= FRESH_S)
            for name, pod in victims.items()
            if pod.ready
        }
        queues = await draining.cordons.ask(
            {name: workers for name, workers in heard.items() if workers},
            busy={name for name in victims if _busy(beats[name])},
        )
        if not queues:
            return frozenset()
        # first: another operator must know of a worker that takes no jobs
        await asyncio.gather(
            *(
                self._moves.annotate(victims[name].name, CORDONED_ANNOTATION, annotation(own))
                for name, own in queues.items()
            )
        )
        await draining.cordons.cordon(queues, beats)
        draining.recount()
        for name in sorted(queues):
            doing = "it finishes its job" if _busy(beats[name]) else "it is idle"
            self._say(key, NoticeKind.REPLICA_CORDONED, f"{name} takes no more jobs: {doing} and goes")
        return frozenset(queues)

    async def _grow(self, key: PoolKey, draining: Draining, deployment: DeploymentObject, lacking: int) -> Outcome:
        back = draining.back(lacking) if self.control(key) is not None and self._may_write() else ()
        if back:
            await draining.cordons.give_back(back)
            draining.recount()
            for name in back:
                self._say(key, NoticeKind.REPLICA_GIVEN_BACK, f"{name} takes jobs again")
        outcome = APPLIED if back else UNCHANGED
        if lacking > len(back):
            replicas = deployment.replicas + lacking - len(back)
            outcome = await self._moves.resize(deployment.name, replicas, seen=deployment.replicas)
        return _saying(outcome, back=len(back))

    # -- what follows without a decision

    def _settle_soon(self, key: PoolKey, draining: Draining) -> None:
        """Have idle pods removed and annotations taken away, in a task of its own: nobody waits for it."""
        names = draining.cordons.returned() | draining.idle()
        if not names or not (draining.settling is None or draining.settling.done()):
            return
        now_s = time.monotonic()
        if now_s >= draining.settle_again_s or not names <= draining.settled:
            draining.settled, draining.settle_again_s = names, now_s + SETTLE_AGAIN_S
            draining.settling = asyncio.create_task(self._settle(key, draining), name=f"drained pods of {key}")

    async def _settle(self, key: PoolKey, draining: Draining) -> None:
        try:
            async with draining.lock:
                pool = self._registry.pools.get(key)
                if pool is None or self._blocked(key) is not None or not self._may_write():
                    return
                namespace = pool.target[0]
                for name in draining.cordons.returned():
                    await self._moves.annotate((namespace, name), CORDONED_ANNOTATION, None)
                await self._remove(key, pool.target, draining)
        except ApiError as error:
            log.info("pool %s: drained pods could not be removed, it is tried again: %s", key, error)
        except Exception:
            log.exception("pool %s: drained pods could not be removed, it is tried again", key)

    async def _remove(self, key: PoolKey, target: Name, draining: Draining) -> None:
        deployment, idle = self._registry.deployments.get(target), draining.idle()
        if deployment is None or not idle:
            return
        replicas = max(0, deployment.replicas - len(idle))
        names = [(target[0], name) for name in idle]
        outcome = await self._moves.shrink(target, replicas, names, seen=deployment.replicas)
        if outcome.kind is not OutcomeKind.APPLIED:
            return
        for name in sorted(idle):
            took_s = draining.cordoned_s(name)
            self._say(key, NoticeKind.REPLICA_STOPPED, f"{name} is idle and goes, {took_s:.1f} s after it was cordoned")
        draining.removed(idle)

    # -- inside

    def _of(self, key: PoolKey) -> Draining:
        draining = self._draining.get(key)
        if draining is None:
            cordons = Cordons(str(key), lambda: self.control(key), key_prefix=lambda: self._key_prefix(key))
            self._draining[key] = draining = Draining(cordons=cordons)
            cordons.on_idle = lambda: self._settle_soon(key, draining)
        return draining

    def _key_prefix(self, key: PoolKey) -> str:
        known = self._registry.pools.get(key)
        return known.pool.broker.key_prefix if known is not None and known.pool is not None else ""

    def _beats_by_pod(self, beats: Sequence[WorkerBeat]) -> dict[str, list[WorkerBeat]]:
        """Heartbeats by pod; one reading serves all pools of its broker, so they are sorted once."""
        if beats is not self._index_of:
            self._index_of, self._by_pod = beats, by_host(beats)
        return self._by_pod

    def _say(self, key: PoolKey, kind: NoticeKind, message: str) -> None:
        self.on_notice(Notice(time_s=time.time(), key=key, kind=kind, message=message))


def _waits(pool: PoolObject) -> bool:
    return pool.pool is not None and pool.pool.spec.scaling.scale_down.when_busy == "Wait"


def _busy(beats: Sequence[WorkerBeat]) -> bool:
    return any(beat.active for beat in beats if beat.age_s <= FRESH_S)


def _saying(outcome: Outcome, *, cordoned: int = 0, finishing: int = 0, kept: int = 0, back: int = 0) -> Outcome:
    """An outcome that says what is not to be seen from the size."""
    if outcome.kind not in (OutcomeKind.APPLIED, OutcomeKind.UNCHANGED):
        return outcome
    parts = [
        f"{_replicas(cordoned)} cordoned" + (f", {finishing} still in a job" if finishing else "") if cordoned else "",
        f"{_replicas(kept)} busy and not to be cordoned: kept" if kept else "",
        f"{_replicas(back)} given back" if back else "",
    ]
    return Outcome(kind=outcome.kind, message="; ".join(part for part in parts if part))


def _replicas(count: int) -> str:
    return f"{count} replica" if count == 1 else f"{count} replicas"
