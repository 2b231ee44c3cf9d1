"""Counts pools into the budgets that they share, by what the watches know: also those that no loop decides just now."""

from __future__ import annotations

import time
from collections.abc import Callable

from workerpool_operator.budgets import Budgets
from workerpool_operator.kube.objects import Name
from workerpool_operator.kube.registry import Registry
from workerpool_operator.ports import PoolKey
from workerpool_operator.resource import pool_spec

COLLECTED_WITHIN_S = 20.0
"""The garbage collector may take this long to remove the Deployment of a deleted pool, and tell its pods to go."""


class Census:
    """Keeps the budgets true to the cluster.

    Args:
        registry: What is known of the cluster.
        budgets: Where pools are counted.
        clock: Seconds that never run backwards.
    """

    def __init__(self, registry: Registry, budgets: Budgets, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry, self._budgets, self._clock = registry, budgets, clock
        self._gone_s: dict[PoolKey, float] = {}
        """Deleted pools some of whose pods are still there, and since when."""

    def enrol(self, key: PoolKey) -> None:
        """Count a pool in, with the replicas that it has. One whose spec cannot be read stays as it was."""
        known = self._registry.pools.get(key)
        if known is not None and known.pool is not None:
            self._gone_s.pop(key, None)
            self._budgets.enrol(key, pool_spec(known.pool), size=self._size(known.target))

    def hold(self, key: PoolKey) -> None:
        """Take note that no loop decides a pool: what it has stays its own."""
        known = self._registry.pools.get(key)
        if known is not None:
            self._budgets.hold(key, size=self._size(known.target))

    def leave(self, key: PoolKey) -> None:
        """Take note that a pool was deleted: its pods count until they are gone."""
        if key in self._budgets:
            self._gone_s[key] = self._clock()
            self.settle()

    def settle(self) -> None:
        """Count what deleted pools left behind; to be called from time to time.

        Pods that nobody told to go after a while were orphaned on purpose: they are the user's own from then on.
        """
        for key, since_s in list(self._gone_s.items()):
            collected = self._clock() - since_s > COLLECTED_WITHIN_S
            pods = self._registry.pods_of((key.namespace, key.name))
            left = sum(1 for pod in pods if pod.leaving or not collected)
            if left:
                self._budgets.hold(key, size=left)
            else:
                del self._gone_s[key]
                self._budgets.forget(key)

    def clear(self) -> None:
        """Forget everybody: this process does not lead any more."""
        self._gone_s.clear()
        self._budgets.forget_all()

    def _size(self, target: Name) -> int:
        deployment = self._registry.deployments.get(target)
        return max(deployment.replicas if deployment is not None else 0, len(self._registry.pods_of(target)))
