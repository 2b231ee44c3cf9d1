"""What is known of the cluster: the objects that watches report, kept small, by identity.

Level-triggered: an event only replaces what is known of one object, a listing replaces what is known of a whole kind.
Nothing here decides or writes. An event older than what is known is dropped: after a write, the answer of the API
server is newer than events that are still under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from workerpool_operator.kube.names import POOL_LABEL
from workerpool_operator.kube.objects import (
    Body,
    DeploymentObject,
    Name,
    PodObject,
    PoolObject,
    deployment_object,
    key_of,
    name_of,
    pod_object,
    pool_object,
    spec_id,
    version_of,
)
from workerpool_operator.ports import PoolKey


@dataclass(kw_only=True)
class Registry:
    """Everything known. ``on_change`` is told the key of each pool that an event concerned.

    ``on_status`` is told instead where only the status or the size of its Deployment changed: most events are such.
    """

    on_change: Callable[[PoolKey], None] = lambda _key: None
    on_status: Callable[[PoolKey], None] = lambda _key: None
    pools: dict[PoolKey, PoolObject] = field(default_factory=dict)
    deployments: dict[Name, DeploymentObject] = field(default_factory=dict)
    autoscaled: dict[Name, Name] = field(default_factory=dict)
    """HorizontalPodAutoscalers by name, each with the Deployment it scales."""
    _pods: dict[Name, dict[str, PodObject]] = field(default_factory=dict)
    """Pods by the Deployment they belong to, then by name."""
    _deployment_of_pod: dict[Name, Name] = field(default_factory=dict)
    _pools_of_target: dict[Name, set[PoolKey]] = field(default_factory=dict)
    _listed: dict[Name, str] = field(default_factory=dict)
    """Deployments that pools refer to, by the uid with which their pods were listed: their events came unasked."""

    # -- events

    def see_pool(self, body: Body, *, gone: bool = False) -> None:
        """Take in a WorkerPool; one that is about to go is gone: what it owns must not be made anew."""
        if gone or body["metadata"].get("deletionTimestamp"):
            self._forget_pool(key_of(body), uid=str(body["metadata"].get("uid") or ""))
            return
        known = self.pools.get(key_of(body))
        if known is not None and known.version >= version_of(body) > 0:
            return
        if known is not None and known.generation > 0 and spec_id(body) == (known.uid, known.generation):
            # most often the status that we wrote ourselves: not worth reading the spec again
            self.pools[known.key] = replace(known, version=version_of(body), status=dict(body.get("status") or {}))
            return
        seen = pool_object(body)
        if known is not None and known.target != seen.target:
            self._pools_of_target[known.target].discard(seen.key)
            self._tell(known.target)
        self.pools[seen.key] = seen
        self._pools_of_target.setdefault(seen.target, set()).add(seen.key)
        if known is None or known.target != seen.target:
            self._tell(seen.target)
        else:
            self.on_change(seen.key)

    def see_deployment(self, body: Body, *, gone: bool = False) -> None:
        """Take in a Deployment."""
        name = name_of(body)
        known = self.deployments.get(name)
        if gone:
            if known is not None and known.uid == str(body["metadata"].get("uid") or ""):
                del self.deployments[name]
                self._tell(name)
            return
        if known is None or known.version < version_of(body) or known.uid != body["metadata"].get("uid"):
            self.deployments[name] = seen = deployment_object(body)
            self._tell(name, status_only=known is not None and seen.essence == known.essence)

    def see_pod(self, body: Body, *, gone: bool = False) -> None:
        """Take in a pod; one that belongs to no pool's Deployment is passed over."""
        name = name_of(body)
        if gone:
            target = self._deployment_of_pod.pop(name, None)
            if target is not None:
                self._pods.get(target, {}).pop(name[1], None)
            return
        pod = pod_object(body)
        target = self._deployment_of_pod.get(name) or self._deployment_of(pod)
        if target is None:
            return
        known = self._pods.setdefault(target, {}).get(name[1])
        if known is None or known.version < pod.version:
            self._pods[target][name[1]] = pod
            self._deployment_of_pod[name] = target

    def see_autoscaler(self, body: Body, *, gone: bool = False) -> None:
        """Take in a HorizontalPodAutoscaler."""
        name = name_of(body)
        before = self.autoscaled.pop(name, None)
        ref = (body.get("spec") or {}).get("scaleTargetRef") or {}
        if not gone and ref.get("kind") == "Deployment":
            self.autoscaled[name] = (name[0], str(ref.get("name")))
        for target in {before, self.autoscaled.get(name)} - {None}:
            if target is not None:
                self._tell(target)

    # -- listings: what a watch missed while it was away
    #
    # What is known and not in a listing may be newer than the listing: each of these returns such names, to be looked
    # up one by one before they are forgotten.

    def relist_pools(self, bodies: Sequence[Body]) -> list[Name]:
        """Take in all WorkerPools."""
        for body in bodies:
            self.see_pool(body)
        present = {name_of(body) for body in bodies}
        return [(key.namespace, key.name) for key in self.pools if (key.namespace, key.name) not in present]

    def relist_deployments(self, bodies: Sequence[Body]) -> list[Name]:
        """Take in all Deployments."""
        for body in bodies:
            self.see_deployment(body)
        return sorted(self.deployments.keys() - {name_of(body) for body in bodies})

    def relist_autoscalers(self, bodies: Sequence[Body]) -> list[Name]:
        """Take in all HorizontalPodAutoscalers."""
        for body in bodies:
            self.see_autoscaler(body)
        return sorted(self.autoscaled.keys() - {name_of(body) for body in bodies})

    def relist_pods(self, bodies: Sequence[Body]) -> list[Name]:
        """Take in the pods of all targets."""
        for body in bodies:
            self.see_pod(body)
        return sorted(self._deployment_of_pod.keys() - {name_of(body) for body in bodies})

    def unlisted(self, target: Name) -> DeploymentObject | None:
        """A Deployment that is no pool's own and whose pods nobody listed so far, None where there is nothing to do."""
        known = self.deployments.get(target)
        missing = known is not None and known.kept is None and self._listed.get(target) != known.uid
        return known if missing else None

    def take_pods(self, owner: DeploymentObject, bodies: Sequence[Body]) -> None:
        """Take in the pods of a Deployment that a pool refers to."""
        self._listed[owner.name] = owner.uid
        for body in bodies:
            self.see_pod(body)

    def gone(self, kind: str, name: Name) -> None:
        """Forget an object that was looked up and is not there any more."""
        if kind == "pool":
            self._forget_pool(PoolKey(namespace=name[0], name=name[1]), uid="")
        elif kind == "deployment" and self.deployments.pop(name, None) is not None:
            self._tell(name)
        elif kind == "autoscaler":
            target = self.autoscaled.pop(name, None)
            if target is not None:
                self._tell(target)
        elif kind == "pod":
            self.see_pod({"metadata": {"namespace": name[0], "name": name[1]}}, gone=True)

    # -- questions

    def pods_of(self, target: Name) -> tuple[PodObject, ...]:
        """The pods of a Deployment that have not ended, those that are leaving included."""
        return tuple(pod for pod in self._pods.get(target, {}).values() if not pod.ended)

    def rivals_of(self, key: PoolKey) -> tuple[PoolKey, ...]:
        """Older pools on the same Deployment: the oldest one scales it, the others say so and leave it alone."""
        own = self.pools[key]
        others = (self.pools[other] for other in self._pools_of_target.get(own.target, ()) if other != key)
        return tuple(sorted(one.key for one in others if (one.created, one.key) < (own.created, own.key)))

    def autoscaler_of(self, target: Name) -> str | None:
        """The name of a HorizontalPodAutoscaler that scales a Deployment, None when there is none."""
        return next((name for (_, name), scaled in self.autoscaled.items() if scaled == target), None)

    def is_wanted_pod(self, labels: Body) -> bool:
        """Whether a pod with these labels may be one of some pool's."""
        return POOL_LABEL in labels or bool(self._references())

    def scaled(self, target: Name, *, replicas: int, version: int) -> None:
        """Note what the API server answered to a change of size, before its event arrives."""
        known = self.deployments.get(target)
        if known is not None and version > known.version:
            self.deployments[target] = replace(known, replicas=replicas, version=version)

    # -- inside

    def _references(self) -> list[DeploymentObject]:
        targets = {one.target for one in self.pools.values() if one.target[1] != one.key.name}
        return [self.deployments[target] for target in targets if target in self.deployments]

    def _deployment_of(self, pod: PodObject) -> Name | None:
        namespace = pod.name[0]
        pool = pod.labels.get(POOL_LABEL)
        if pool is not None:
            return namespace, str(pool)
        for one in self._references():
            labels = one.match_labels.items()
            if one.name[0] == namespace and labels and all(pod.labels.get(key) == value for key, value in labels):
                return one.name
        return None

    def _forget_pool(self, key: PoolKey, *, uid: str) -> None:
        known = self.pools.get(key)
        if known is None or (uid and known.uid != uid):
            return
        del self.pools[key]
        self._pools_of_target.get(known.target, set()).discard(key)
        self.on_change(key)
        self._tell(known.target)

    def _tell(self, target: Name, *, status_only: bool = False) -> None:
        for key in tuple(self._pools_of_target.get(target, ())):
            (self.on_status if status_only else self.on_change)(key)
