"""The objects that a pool owns: its Deployment, and a PodDisruptionBudget where one helps.

Level-triggered: what the pool's spec renders to is compared with what is there, and applied when it is not contained in
it. ``spec.replicas`` is never among the applied fields; who creates the Deployment has to keep the API server from
filling in 1, see :meth:`Owned._create`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from workerpool_operator.kube import api_paths as paths
from workerpool_operator.kube.api import KubeApi, NotFound
from workerpool_operator.kube.moves import size_change
from workerpool_operator.kube.names import SCALER_MANAGER
from workerpool_operator.kube.objects import DeploymentObject, PoolObject, deployment_object
from workerpool_operator.kube.registry import Registry
from workerpool_operator.kube.render import creation, deployment, pod_disruption_budget, replicas_claim
from workerpool_operator.resource import WorkerPool
from workerpool_operator.resource.worker import BUNDLED_IMAGE

Body = Mapping[str, Any]
STAMP = "workerpool.dev/applied"


class ForeignObjectError(Exception):
    """A Deployment of the name that a pool needs exists, and is not the pool's. It is left alone."""


class LeftoverError(ForeignObjectError):
    """It was owned by a pool of the same name that is no more: the garbage collector is about to remove it."""


class Owned:
    """Keeps the objects of pools as their specs say."""

    def __init__(self, api: KubeApi, registry: Registry, *, worker_image: str = BUNDLED_IMAGE) -> None:
        self._api, self._registry, self._worker_image = api, registry, worker_image
        self._applied: dict[str, tuple[str, object]] = {}
        """By pool uid: the stamp of what was applied last, and what the API server made of it."""
        self._right: dict[str, tuple[int, str | None, DeploymentObject]] = {}
        """By pool uid: for which spec which Deployment was found to be right, so that it need not be rendered again."""
        self._budgets: dict[str, Body | None] = {}

    async def ensure(self, known: PoolObject, pool: WorkerPool, *, broker_revision: str | None) -> None:
        """Bring a pool's objects to what its spec says.

        Raises:
            ForeignObjectError: There is a Deployment of the pool's name that is not the pool's.
            LeftoverError: It is that of a pool of this name that was deleted just now.
            ApiError: The API server refused or was away; to be tried again.
        """
        if pool.spec.worker is None:
            await self._let_go(known)
            return
        live = self._registry.deployments.get(known.target)
        if live is not None and live.owner_uid != known.uid:
            is_leftover = live.owner_pool == known.key.name
            raise (LeftoverError if is_leftover else ForeignObjectError)(known.target[1])
        if live is not None and self._right.get(known.uid) == (known.generation, broker_revision, live):
            await self._ensure_budget(known, pool)
            return
        body = stamped(
            deployment(pool, uid=known.uid, broker_revision=broker_revision, worker_image=self._worker_image)
        )
        if live is None:
            await self._create(known, pool, body, broker_revision=broker_revision)
        elif live.body is not None and STAMP not in live.body["metadata"]["annotations"]:
            await self._finish(known, pool, body, uid=live.uid, size=live.replicas)  # its creation was cut short
        elif not self._is_applied(known, live, body):
            await self._apply(known, body, uid=live.uid)
        else:
            self._right[known.uid] = (known.generation, broker_revision, live)
        await self._ensure_budget(known, pool)

    def forget(self, uid: str) -> None:
        """Drop what is kept of a pool that is gone; its objects are collected by their owner references."""
        self._applied.pop(uid, None)
        self._right.pop(uid, None)
        self._budgets.pop(uid, None)

    def _is_applied(self, known: PoolObject, live: DeploymentObject, body: Body) -> bool:
        if live.body is not None and contains(live.body, {"metadata": _named(body), "spec": body["spec"]}):
            return True
        # The API server may write a value in another form than we do: what it made of this very body is right
        applied = self._applied.get(known.uid)
        return applied is not None and applied == (_stamp(body), live.essence)

    async def _apply(self, known: PoolObject, body: Body, *, uid: str) -> None:
        # with the uid: should another Deployment have taken the name meanwhile, it is a conflict
        identified = {**body, "metadata": {**body["metadata"], "uid": uid}}
        answer = await self._api.apply(paths.deployment(*known.target), identified)
        self._applied[known.uid] = (_stamp(body), deployment_object(answer).essence)
        self._registry.see_deployment(answer)

    async def _create(self, known: PoolObject, pool: WorkerPool, body: Body, *, broker_revision: str | None) -> None:
        """Create the Deployment at its initial size without owning that field.

        Without ``spec.replicas`` the API server would fill in 1, and a pod would start for nothing. So it is applied
        with a size once, a second manager comes to own just that field, and then the first lets go of it: it stays.
        """
        first = creation(pool, uid=known.uid, broker_revision=broker_revision, worker_image=self._worker_image)
        # not by force: should it exist after all, its size is somebody's, and this is a conflict that changes nothing
        made = await self._api.apply(paths.deployment(*known.target), first, force=False)
        await self._finish(known, pool, body, uid=str(made["metadata"]["uid"]), size=first["spec"]["replicas"])

    async def _finish(self, known: PoolObject, pool: WorkerPool, body: Body, *, uid: str, size: int) -> None:
        """The rest of a creation: the stamp comes last, and tells that it is complete."""
        path = paths.deployment(*known.target)
        await self._api.apply(path, replicas_claim(pool, size), field_manager=SCALER_MANAGER, force=False)
        await self._apply(known, body, uid=uid)

    async def _let_go(self, known: PoolObject) -> None:
        """Send the workers home that an earlier spec of the pool, with ``worker``, asked for.

        Their Deployment stays, empty, until the pool goes or asks for workers again.
        """
        live = self._registry.deployments.get((known.key.namespace, known.key.name))
        if live is not None and live.owner_uid == known.uid and live.name != known.target and live.replicas:
            await self._api.json_patch(paths.deployment_scale(*live.name), size_change(live, 0))

    async def _ensure_budget(self, known: PoolObject, pool: WorkerPool) -> None:
        body = pod_disruption_budget(pool, uid=known.uid)
        if known.uid in self._budgets and self._budgets[known.uid] == body:
            return
        path = paths.pdb(*known.target)
        if body is not None:
            await self._api.apply(path, body)
        else:
            await self._remove_budget(path, known.uid)
        self._budgets[known.uid] = body

    async def _remove_budget(self, path: str, uid: str) -> None:
        """Remove a budget that an earlier spec of this pool asked for; nobody else's."""
        try:
            found = await self._api.get(path)
            owners = found["metadata"].get("ownerReferences") or ()
            if any(owner.get("uid") == uid for owner in owners):
                await self._api.delete(path, uid=found["metadata"]["uid"])
        except NotFound:
            return


def stamped(body: Body) -> dict[str, Any]:
    """The body with a hash of itself: a field that is no longer in it would otherwise go unnoticed in what is there."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
    annotations = {**(body["metadata"].get("annotations") or {}), STAMP: digest}
    return {**body, "metadata": {**body["metadata"], "annotations": annotations}}


def _stamp(body: Body) -> str:
    return str(body["metadata"]["annotations"][STAMP])


def _named(body: Body) -> Body:
    """The part of the metadata that can be compared: the API server adds to it, and names stay."""
    return {key: value for key, value in body["metadata"].items() if key in {"labels", "annotations"}}


def contains(whole: Any, part: Any) -> bool:
    """Whether everything in ``part`` is in ``whole``: what the API server fills in, or others add, does not matter."""
    if isinstance(part, Mapping):
        return isinstance(whole, Mapping) and all(
            contains(whole.get(key), value) or (value in _EMPTY and key not in whole) for key, value in part.items()
        )
    if isinstance(part, Sequence) and not isinstance(part, str):
        if not isinstance(whole, Sequence) or len(whole) != len(part):
            return False
        return all(contains(one, other) for one, other in zip(whole, part, strict=True))
    return bool(whole == part)


_EMPTY: tuple[object, ...] = ({}, [], None)
