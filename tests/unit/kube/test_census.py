"""Who counts in a budget on a cluster: before it is decided, while nobody decides it, and after it was deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.kube.test_registry import deployment, pod, pool
from workerpool_operator.budgets import Budgets
from workerpool_operator.core.decision import History
from workerpool_operator.core.observation import Allotment, InFlight, Observation, QueueDepth, Replicas
from workerpool_operator.core.spec import Budget, PoolSpec
from workerpool_operator.kube.census import COLLECTED_WITHIN_S, Census
from workerpool_operator.kube.names import POOL_LABEL
from workerpool_operator.kube.registry import Registry
from workerpool_operator.ports import PoolKey

pytestmark = pytest.mark.unit

EMAIL, ORDER = PoolKey(namespace="shop", name="email"), PoolKey(namespace="shop", name="order")
BUDGET: dict[str, Any] = {"scaling": {"budget": {"name": "db", "maxReplicas": 10}}}
LEAVING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


class Shop:
    """A cluster with a pool ``order``; ``email`` asks what is left for it."""

    def __init__(self) -> None:
        self.registry, self.budgets, self.now_s = Registry(), Budgets(), 100.0
        self.census = Census(self.registry, self.budgets, clock=lambda: self.now_s)

    def pods(self, count: int, version: int = 1, **metadata: Any) -> None:
        for number in range(count):
            body = pod(f"order-{number}", version=version, labels={POOL_LABEL: "order"}, **metadata)
            self.registry.see_pod(body)

    def left(self) -> Allotment:
        """What ``email`` would be left, with more work than the budget has replicas."""
        spec = PoolSpec(max_replicas=99, backlog_per_replica=1, budget=Budget(name="db", max_replicas=10))
        seen = Observation(
            time_s=1.0,
            replicas=Replicas(current=0, ready=0, busy=0),
            queues={"q": QueueDepth(ready=99)},
            in_flight=InFlight(),
        )
        seen, _ = self.budgets.decide(EMAIL, seen, spec, History())
        self.budgets.forget(EMAIL)
        assert seen.allotment is not None
        return seen.allotment


def a_shop(**spec: Any) -> Shop:
    shop = Shop()
    shop.registry.see_pool(pool("order", **BUDGET, **spec))
    shop.registry.see_deployment(deployment("order", replicas=2))
    return shop


def test_a_pool_counts_with_all_its_pods_before_it_is_decided() -> None:
    shop = a_shop()
    shop.pods(3)
    shop.census.enrol(ORDER)
    found = shop.left()
    assert (found.used, found.share, found.pools) == (3, 5, 2), "and half of the budget may be its own"


def test_a_pool_that_nobody_decides_counts_with_what_it_has_now() -> None:
    shop = a_shop()
    shop.census.enrol(ORDER)
    shop.census.hold(ORDER)
    assert (shop.left().used, shop.left().share) == (2, 8)
    shop.registry.see_deployment(deployment("order", version=2, replicas=0))
    shop.census.hold(ORDER)
    assert (shop.left().used, shop.left().share) == (0, 10)


def test_a_spec_that_cannot_be_read_any_more_leaves_it_as_it_was() -> None:
    shop = a_shop()
    shop.census.enrol(ORDER)
    shop.registry.see_pool(pool("order", version=2, maxReplicas=-1, **BUDGET))
    shop.census.enrol(ORDER)
    assert ORDER in shop.budgets


def test_a_pool_without_a_budget_is_not_counted() -> None:
    shop = a_shop()
    shop.census.enrol(ORDER)
    shop.registry.see_pool(pool("order", version=2))
    shop.census.enrol(ORDER)
    assert ORDER not in shop.budgets


def delete(shop: Shop) -> None:
    shop.registry.gone("pool", ("shop", "order"))
    shop.census.leave(ORDER)


def test_the_pods_of_a_deleted_pool_count_until_they_are_gone() -> None:
    shop = a_shop()
    shop.pods(3)
    shop.census.enrol(ORDER)
    delete(shop)
    assert shop.left().used == 3
    shop.pods(3, version=2, **LEAVING)
    shop.now_s += COLLECTED_WITHIN_S + 1
    shop.registry.see_pod(pod("order-0"), gone=True)
    shop.census.settle()
    assert shop.left().used == 2, "they are leaving, however long it takes"
    for name in ("order-1", "order-2"):
        shop.registry.see_pod(pod(name), gone=True)
    shop.census.settle()
    assert ORDER not in shop.budgets


def test_pods_that_were_orphaned_on_purpose_stop_counting() -> None:
    shop = a_shop()
    shop.pods(3)
    shop.census.enrol(ORDER)
    delete(shop)
    shop.now_s += COLLECTED_WITHIN_S + 1
    shop.census.settle()
    assert ORDER not in shop.budgets


def test_a_pool_that_is_made_anew_counts_again_as_any_other() -> None:
    shop = a_shop()
    shop.pods(3)
    shop.census.enrol(ORDER)
    delete(shop)
    shop.registry.see_pool(pool("order", uid="u2", **BUDGET))
    shop.census.enrol(ORDER)
    shop.now_s += COLLECTED_WITHIN_S + 1
    shop.census.settle()
    assert ORDER in shop.budgets
    shop.census.clear()
    assert ORDER not in shop.budgets
