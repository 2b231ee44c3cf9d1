"""Deployments as replicas: the :class:`~workerpool_operator.ports.Scaler` of Kubernetes.

Size is read from what the watches report, and moved through the scale subresource, on condition that it still is what
was seen: a writer that acts on an old view gets a conflict instead of undoing somebody's decision. (A condition on the
resource version would fail whenever a pod becomes ready: that changes the Deployment's status.) Before a pool shrinks,
the idle pods are given the lower deletion cost, and it is waited for until the watch shows it: the ReplicaSet
controller acts on the same events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from workerpool_operator.core.decision import Decision
from workerpool_operator.kube import api_paths as paths
from workerpool_operator.kube.api import ApiError, Conflict, Invalid, KubeApi, NotFound
from workerpool_operator.kube.names import DELETION_COST
from workerpool_operator.kube.objects import DeploymentObject, Name, PodObject
from workerpool_operator.kube.registry import Registry
from workerpool_operator.ports import Outcome, OutcomeKind, PoolKey, ReplicaState, WorkerBeat

FRESH_S = 6.0
"""A worker last heard of longer ago than this may be busy or not: three of Celery's heartbeats."""

VICTIM_COST = -100
COST_SEEN_WITHIN_S = 1.0
"""How long to wait for the watch to show the deletion costs; after that the pool shrinks all the same."""

COST_LOOK_S = 0.02
HOST_NAME_MAX = 63
UNCHANGED = Outcome(kind=OutcomeKind.UNCHANGED)


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
        self._api, self._registry, self._may_write, self._blocked = api, registry, may_write, blocked
        self._beats: dict[PoolKey, tuple[WorkerBeat, ...]] = {}
        self._index_of: Sequence[WorkerBeat] | None = None
        self._by_pod: dict[str, list[WorkerBeat]] = {}

    async def replicas(self, key: PoolKey, beats: Sequence[WorkerBeat]) -> ReplicaState:
        """Count the pool's replicas and match the heartbeats to its pods by host name."""
        pool = self._registry.pools.get(key)
        deployment = self._registry.deployments.get(pool.target) if pool is not None else None
        if pool is None or deployment is None:
            return ReplicaState(current=0, ready=0, leaving=0, silent=0)
        pods = self._registry.pods_of(pool.target)
        if not pods:
            self._beats[key] = ()
            # none are known: those that the Deployment counts may be busy
            return ReplicaState(current=deployment.replicas, ready=0, leaving=0, silent=deployment.ready)
        by_pod = self._beats_by_pod(beats)
        staying = [pod for pod in pods if not pod.leaving]
        own = tuple(beat for pod in staying for beat in _beats_of(pod, by_pod))
        self._beats[key] = own
        fresh = {_host_of(beat) for beat in own if beat.age_s <= FRESH_S}
        ready = [pod for pod in staying if pod.ready]
        return ReplicaState(
            current=deployment.replicas,
            ready=len(ready),
            leaving=len(pods) - len(staying),
            silent=sum(1 for pod in ready if fresh.isdisjoint(_host_names(pod))),
            beats=own,
            leaving_beats=tuple(beat for pod in pods if pod.leaving for beat in _beats_of(pod, by_pod)),
        )

    async def scale(self, key: PoolKey, decision: Decision) -> Outcome:
        """Move the pool to ``decision.target``."""
        pool = self._registry.pools.get(key)
        deployment = self._registry.deployments.get(pool.target) if pool is not None else None
        if pool is None or deployment is None:
            return Outcome(kind=OutcomeKind.FAILED, message="its Deployment does not exist yet")
        blocked = self._blocked(key)
        if blocked is not None:
            return Outcome(kind=OutcomeKind.CONFLICT, message=blocked)
        try:
            if 0 < decision.target < deployment.replicas:  # at zero there is nothing to choose
                await self._mark_victims(key, pool.target, deployment.replicas - decision.target)
            return await self._move(pool.target, decision.target)
        except ApiError as error:
            return _outcome(error)

    def forget(self, key: PoolKey) -> None:
        """Drop what is kept of a pool that is gone."""
        self._beats.pop(key, None)

    # -- inside

    def _beats_by_pod(self, beats: Sequence[WorkerBeat]) -> dict[str, list[WorkerBeat]]:
        """Heartbeats by pod; one reading serves all pools of its broker, so they are sorted once."""
        if beats is not self._index_of:
            self._index_of, self._by_pod = beats, {}
            for beat in beats:
                self._by_pod.setdefault(_host_of(beat), []).append(beat)
        return self._by_pod

    async def _move(self, target: Name, replicas: int) -> Outcome:
        deployment = self._registry.deployments.get(target)
        if deployment is None:
            return Outcome(kind=OutcomeKind.FAILED, message="its Deployment is gone")
        if deployment.replicas == replicas:
            return UNCHANGED
        if not self._may_write():
            return Outcome(kind=OutcomeKind.FAILED, message="this operator does not lead any more")
        try:
            answer = await self._api.json_patch(paths.deployment_scale(*target), size_change(deployment, replicas))
        except Invalid:
            self._registry.see_deployment(await self._api.get(paths.deployment(*target)))
            found = self._registry.deployments[target].replicas
            if found == deployment.replicas:
                raise
            text = f"Deployment {target[1]} was changed to {found} replicas by somebody else at the same time"
            return Outcome(kind=OutcomeKind.CONFLICT, message=text)
        self._note(target, answer)
        return Outcome(kind=OutcomeKind.APPLIED)

    def _note(self, target: Name, answer: dict[str, Any]) -> None:
        version = str(answer["metadata"].get("resourceVersion") or "0")
        size = int((answer.get("spec") or {}).get("replicas") or 0)
        self._registry.scaled(target, replicas=size, version=int(version) if version.isdigit() else 0)

    async def _mark_victims(self, key: PoolKey, target: Name, count: int) -> None:
        """Give the idle pods that are to go the lowest deletion cost, and take it from all others."""
        staying = [pod for pod in self._registry.pods_of(target) if not pod.leaving]
        victims = choose(staying, self._beats.get(key, ()), count)
        wanted = {pod.name: VICTIM_COST if pod.name in victims else 0 for pod in staying}
        changes = [pod for pod in staying if pod.deletion_cost != wanted[pod.name]]
        if not changes or not self._may_write():
            return
        await asyncio.gather(*(self._set_cost(pod, wanted[pod.name]) for pod in changes))
        await self._costs_seen(target, {pod.name: wanted[pod.name] for pod in changes})

    async def _set_cost(self, pod: PodObject, cost: int) -> None:
        annotations = {DELETION_COST: str(cost) if cost else None}
        try:
            # the answer is not taken in: only the watch shows what the ReplicaSet controller can see as well
            await self._api.merge_patch(paths.pod(*pod.name), {"metadata": {"annotations": annotations}})
        except NotFound:
            return  # it went by itself: nothing is left to choose

    async def _costs_seen(self, target: Name, costs: dict[Name, int]) -> None:
        """Wait until the pods are known with these costs."""
        deadline_s = asyncio.get_running_loop().time() + COST_SEEN_WITHIN_S
        while asyncio.get_running_loop().time() < deadline_s:
            known = {pod.name: pod.deletion_cost for pod in self._registry.pods_of(target)}
            if all(known.get(name, cost) == cost for name, cost in costs.items()):
                return
            await asyncio.sleep(COST_LOOK_S)


def size_change(seen: DeploymentObject, replicas: int) -> list[dict[str, Any]]:
    """The JSON patch of a Deployment's Scale that gives it a size, if it is that Deployment with the size seen.

    A Scale leaves ``spec.replicas`` out where it is 0.
    """
    return [
        {"op": "test", "path": "/metadata/uid", "value": seen.uid},
        {"op": "test", "path": "/spec", "value": {"replicas": seen.replicas} if seen.replicas else {}},
        {"op": "add", "path": "/spec/replicas", "value": replicas},
    ]


def choose(pods: Iterable[PodObject], beats: Iterable[WorkerBeat], count: int) -> frozenset[Name]:
    """The pods that should go: those not ready first, then the idle, then those nobody hears, the busy last."""
    active: dict[str, int] = {}
    for beat in beats:
        if beat.age_s <= FRESH_S:
            active[_host_of(beat)] = active.get(_host_of(beat), 0) + beat.active

    def standing(pod: PodObject) -> tuple[int, int, Name]:
        if not pod.ready:
            return 0, 0, pod.name
        jobs = next((active[host] for host in _host_names(pod) if host in active), None)
        if jobs is None:
            return 2, 0, pod.name
        return (1, 0, pod.name) if jobs == 0 else (3, jobs, pod.name)

    return frozenset(pod.name for pod in sorted(pods, key=standing)[:count])


def _host_of(beat: WorkerBeat) -> str:
    """The host a heartbeat comes from, by Celery's node name."""
    return beat.hostname.rpartition("@")[2]


def _host_names(pod: PodObject) -> tuple[str, str]:
    """What a worker in a pod calls its host: the pod's name, which the bundled worker is told, or the host name.

    The kubelet cuts the latter to the 63 characters that Linux allows.
    """
    return pod.name[1], pod.name[1][:HOST_NAME_MAX].rstrip("-.")


def _beats_of(pod: PodObject, by_host: Mapping[str, Sequence[WorkerBeat]]) -> Sequence[WorkerBeat]:
    whole, cut = _host_names(pod)
    return by_host.get(whole) or by_host.get(cut) or ()


def _outcome(error: ApiError) -> Outcome:
    kind = OutcomeKind.CONFLICT if isinstance(error, Conflict) else OutcomeKind.FAILED
    return Outcome(kind=kind, message=str(error))
