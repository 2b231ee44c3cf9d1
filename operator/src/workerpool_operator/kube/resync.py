"""Listings: everything at the start, and again from time to time what a reconnecting watch may have missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from workerpool_operator.kube import api_paths as paths
from workerpool_operator.kube.api import ApiError, KubeApi, NotFound
from workerpool_operator.kube.names import POOL_LABEL
from workerpool_operator.kube.objects import DeploymentObject, Name
from workerpool_operator.kube.registry import Registry

log = logging.getLogger(__name__)

EVERY_S = 60.0


class Resync:
    """Keeps a registry true to the API server's listings."""

    def __init__(self, api: KubeApi, registry: Registry, namespaces: Sequence[str]) -> None:
        self._api, self._registry = api, registry
        self._namespaces: tuple[str | None, ...] = tuple(namespaces) or (None,)

    async def whole(self) -> None:
        """List everything that matters.

        Raises:
            ApiError: The API server is away, or a right is missing.
        """
        registry = self._registry
        absent: dict[str, list[Name]] = {
            "deployment": registry.relist_deployments(await self._all(paths.deployments)),
            "autoscaler": registry.relist_autoscalers(await self._all(paths.hpas)),
            "pool": registry.relist_pools(await self._all(paths.workerpools)),
            "pod": registry.relist_pods(await self._pods()),
        }
        for kind, names in absent.items():
            for name in names:
                await self._look_up(kind, name)

    async def pods_of(self, target: Name) -> None:
        """List the pods of a Deployment that a pool refers to, once.

        Raises:
            ApiError: The API server is away, or a right is missing.
        """
        owner = self._registry.unlisted(target)
        if owner is not None:
            self._registry.take_pods(owner, await self._pods_by(owner))

    async def probe(self) -> None:
        """Ask whether the API server serves WorkerPools.

        Raises:
            NotFound: It knows no such kind.
            ApiError: It is away, or a right is missing.
        """
        await self._api.list(paths.workerpools(self._namespaces[0]), field_selector="metadata.name=none")

    async def run(self) -> None:
        """List again and again; a failure is logged and tried again at the next time."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.whole()
            except ApiError as error:
                log.warning("cannot list what is in the cluster: %s", error)

    async def _all(self, path: Callable[[str | None], str], *, label_selector: str = "") -> list[dict[str, Any]]:
        found = []
        for namespace in self._namespaces:
            found += await self._api.list(path(namespace), label_selector=label_selector)
        return found

    async def _pods(self) -> list[dict[str, Any]]:
        """The pods of all targets: by the pool's label, and by the selector of Deployments that pools only refer to."""
        bodies = await self._all(paths.pods, label_selector=POOL_LABEL)
        for target in {pool.target for pool in self._registry.pools.values()}:
            known = self._registry.deployments.get(target)
            if known is not None and known.kept is None:
                bodies += await self._pods_by(known)
        return bodies

    async def _pods_by(self, owner: DeploymentObject) -> list[dict[str, Any]]:
        if not owner.match_labels:
            return []
        selector = ",".join(f"{key}={value}" for key, value in sorted(owner.match_labels.items()))
        return await self._api.list(paths.pods(owner.name[0]), label_selector=selector)

    async def _look_up(self, kind: str, name: Name) -> None:
        """Forget an object only when the API server says that it is not there."""
        try:
            await self._api.get(_PATHS[kind](*name))
        except NotFound:
            self._registry.gone(kind, name)


_PATHS: dict[str, Callable[[str, str], str]] = {
    "pool": paths.workerpool,
    "deployment": paths.deployment,
    "pod": paths.pod,
    "autoscaler": lambda namespace, name: f"{paths.hpas(namespace)}/{name}",
}
