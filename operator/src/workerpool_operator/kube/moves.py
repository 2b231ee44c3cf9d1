"""What is written when a pool changes its size: the Deployment's scale, and which pods the ReplicaSet should take.

Size is moved through the scale subresource, on condition that it still is what was seen: a writer that acts on an old
view gets a conflict instead of undoing somebody's decision. (A condition on the resource version would fail whenever a
pod becomes ready: that changes the Deployment's status.) Before a pool shrinks, the pods that should go are given the
lower deletion cost, and it is waited for until the watch shows it: the ReplicaSet controller acts on the same events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from workerpool_operator.kube import api_paths as paths
from workerpool_operator.kube.api import ApiError, Conflict, Invalid, KubeApi, NotFound
from workerpool_operator.kube.names import DELETION_COST
from workerpool_operator.kube.objects import DeploymentObject, Name
from workerpool_operator.kube.registry import Registry
from workerpool_operator.ports import Outcome, OutcomeKind

VICTIM_COST = -100
COST_SEEN_WITHIN_S = 1.0
"""How long to wait for the watch to show the deletion costs; after that the pool shrinks all the same."""

COST_LOOK_S = 0.02
UNCHANGED = Outcome(kind=OutcomeKind.UNCHANGED)
APPLIED = Outcome(kind=OutcomeKind.APPLIED)


class Moves:
    """Writes sizes, costs and annotations.

    Args:
        api: Where to write.
        registry: What is known of the cluster.
        may_write: Whether this process leads at this moment; asked before every write.
    """

    def __init__(self, api: KubeApi, registry: Registry, may_write: Callable[[], bool]) -> None:
        self._api, self._registry, self._may_write = api, registry, may_write

    async def shrink(self, target: Name, replicas: int, victims: Collection[Name], *, seen: int) -> Outcome:
        """Give a Deployment a smaller size and have the ReplicaSet take these pods.

        Raises:
            ApiError: The API server is away, or refuses.
        """
        if replicas > 0:  # at zero there is nothing to choose
            await self._mark(target, victims)
        return await self.resize(target, replicas, seen=seen)

    async def resize(self, target: Name, replicas: int, *, seen: int) -> Outcome:
        """Give a Deployment a size, if it still has the one that was seen when this one was worked out.

        Raises:
            ApiError: The API server is away, or refuses.
        """
        deployment = self._registry.deployments.get(target)
        if deployment is None:
            return Outcome(kind=OutcomeKind.FAILED, message="its Deployment is gone")
        if deployment.replicas == replicas:
            return UNCHANGED
        if deployment.replicas != seen:
            return _conflict(target, deployment.replicas)
        if not self._may_write():
            return Outcome(kind=OutcomeKind.FAILED, message="this operator does not lead any more")
        try:
            answer = await self._api.json_patch(paths.deployment_scale(*target), size_change(deployment, replicas))
        except Invalid:
            self._registry.see_deployment(await self._api.get(paths.deployment(*target)))
            found = self._registry.deployments[target].replicas
            if found == deployment.replicas:
                raise
            return _conflict(target, found)
        version = str(answer["metadata"].get("resourceVersion") or "0")
        size = int((answer.get("spec") or {}).get("replicas") or 0)
        self._registry.scaled(target, replicas=size, version=int(version) if version.isdigit() else 0)
        return APPLIED

    async def annotate(self, pod: Name, annotation: str, value: str | None) -> None:
        """Set an annotation of a pod, or take it away. A pod that is gone is no error.

        Raises:
            ApiError: The API server is away, or refuses.
        """
        try:
            # the answer is not taken in: only the watch shows what others can see as well
            await self._api.merge_patch(paths.pod(*pod), {"metadata": {"annotations": {annotation: value}}})
        except NotFound:
            return

    async def _mark(self, target: Name, victims: Collection[Name]) -> None:
        """Give the pods that are to go the lowest deletion cost, and take it from all others."""
        staying = [pod for pod in self._registry.pods_of(target) if not pod.leaving]
        wanted = {pod.name: VICTIM_COST if pod.name in victims else 0 for pod in staying}
        changes = [pod.name for pod in staying if pod.deletion_cost != wanted[pod.name]]
        if not changes or not self._may_write():
            return
        texts = {name: str(wanted[name]) if wanted[name] else None for name in changes}
        await asyncio.gather(*(self.annotate(name, DELETION_COST, text) for name, text in texts.items()))
        await self._costs_seen(target, {name: wanted[name] for name in changes})

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


def _conflict(target: Name, found: int) -> Outcome:
    text = f"Deployment {target[1]} was changed to {found} replicas by somebody else at the same time"
    return Outcome(kind=OutcomeKind.CONFLICT, message=text)


def failure(error: ApiError) -> Outcome:
    """What an error of the API server means for a change of size."""
    kind = OutcomeKind.CONFLICT if isinstance(error, Conflict) else OutcomeKind.FAILED
    return Outcome(kind=kind, message=str(error))
