"""What is known of the cluster: late, doubled and lost events change nothing that is newer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool_operator.kube.registry import Registry
from workerpool_operator.ports import PoolKey

pytestmark = pytest.mark.unit

EMAIL = PoolKey(namespace="shop", name="email")


def pool(
    name: str = "email", *, version: int = 1, uid: str = "u1", created: str = "2026-01-01T00:00:00Z", **spec: Any
) -> dict[str, Any]:
    worker: dict[str, Any] = {} if "deploymentRef" in spec else {"worker": {}}
    return {
        "apiVersion": "workerpool.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid,
            "generation": version,
            "resourceVersion": str(version),
            "creationTimestamp": created,
        },
        "spec": {"queues": [{"name": name}], "broker": {"url": "redis://redis:6379/0"}, **worker, **spec},
    }


def deployment(name: str = "email", *, version: int = 1, replicas: int = 0, labels: Any = None) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": "d1", "resourceVersion": str(version)},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels or {}}},
        "status": {"readyReplicas": replicas, "replicas": replicas},
    }


def pod(name: str, *, version: int = 1, labels: Any = None, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "resourceVersion": str(version),
            "labels": labels or {},
            **metadata,
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


@given(st.permutations(range(1, 6)))
def test_the_newest_version_wins_in_whatever_order_events_come(order: list[int]) -> None:
    registry = Registry()
    for version in order:
        registry.see_pool(pool(version=version, maxReplicas=version))
        registry.see_deployment(deployment(version=version, replicas=version))
    known = registry.pools[EMAIL].pool
    assert known is not None
    assert known.spec.max_replicas == 5
    assert registry.deployments["shop", "email"].replicas == 5


def test_an_answer_to_a_write_is_newer_than_the_events_under_way() -> None:
    registry = Registry()
    registry.see_deployment(deployment(version=5, replicas=2))
    registry.scaled(("shop", "email"), replicas=7, version=9)
    registry.see_deployment(deployment(version=8, replicas=2))
    assert registry.deployments["shop", "email"].replicas == 7
    registry.see_deployment(deployment(version=10, replicas=6))
    assert registry.deployments["shop", "email"].replicas == 6


def test_the_deletion_of_an_earlier_object_of_the_name_does_not_remove_the_new_one() -> None:
    registry = Registry()
    registry.see_pool(pool(version=9, uid="new"))
    registry.see_pool(pool(version=7, uid="old"), gone=True)
    assert EMAIL in registry.pools
    registry.see_pool(pool(version=10, uid="new"), gone=True)
    assert EMAIL not in registry.pools


def test_an_invalid_pool_is_known_with_its_problems() -> None:
    registry = Registry()
    registry.see_pool(pool(minReplicas=5, maxReplicas=3))
    assert registry.pools[EMAIL].pool is None
    assert registry.pools[EMAIL].problems == ("spec.maxReplicas: 3 is less than minReplicas 5",)


def test_pods_are_found_by_the_pools_label_and_by_the_selector_of_what_is_referred_to() -> None:
    registry = Registry()
    registry.see_pool(pool())
    registry.see_pool(pool("sms", deploymentRef={"name": "texter"}))
    registry.see_deployment(deployment("texter", labels={"app": "texter"}))
    registry.see_pod(pod("email-1", labels={"workerpool.dev/pool": "email"}))
    registry.see_pod(pod("texter-1", labels={"app": "texter", "more": "x"}))
    registry.see_pod(pod("stranger", labels={"app": "other"}))
    assert [one.name[1] for one in registry.pods_of(("shop", "email"))] == ["email-1"]
    assert [one.name[1] for one in registry.pods_of(("shop", "texter"))] == ["texter-1"]
    registry.see_pod(pod("email-1", version=2, labels={"workerpool.dev/pool": "email"}, deletionTimestamp="now"))
    assert registry.pods_of(("shop", "email"))[0].leaving
    registry.see_pod(pod("email-1", version=3), gone=True)
    assert registry.pods_of(("shop", "email")) == ()


def test_a_listing_names_what_it_lacks_and_forgets_nothing_by_itself() -> None:
    registry = Registry()
    registry.see_pool(pool())
    registry.see_pool(pool("new", uid="u2"))
    assert registry.relist_pools([pool()]) == [("shop", "new")]
    assert len(registry.pools) == 2
    registry.gone("pool", ("shop", "new"))
    assert list(registry.pools) == [EMAIL]


def test_the_oldest_of_two_pools_on_one_deployment_scales_it() -> None:
    registry = Registry()
    first = PoolKey(namespace="shop", name="first")
    second = PoolKey(namespace="shop", name="second")
    registry.see_pool(pool("second", deploymentRef={"name": "d"}, created="2026-01-02T00:00:00Z"))
    registry.see_pool(pool("first", deploymentRef={"name": "d"}, created="2026-01-01T00:00:00Z"))
    assert registry.rivals_of(second) == (first,)
    assert registry.rivals_of(first) == ()
    registry.see_pool(pool("first", version=2, deploymentRef={"name": "other"}, created="2026-01-01T00:00:00Z"))
    assert registry.rivals_of(second) == ()


def test_every_event_of_a_target_marks_the_pools_on_it() -> None:
    told: list[PoolKey] = []
    registry = Registry(on_change=told.append)
    registry.see_pool(pool())
    registry.see_deployment(deployment())
    scaler = {
        "metadata": {"name": "hpa", "namespace": "shop"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "email"}},
    }
    registry.see_autoscaler(scaler)
    assert registry.autoscaler_of(("shop", "email")) == "hpa"
    registry.see_autoscaler(scaler, gone=True)
    assert registry.autoscaler_of(("shop", "email")) is None
    assert told == [EMAIL] * 4


def test_a_pool_that_is_about_to_go_is_gone() -> None:
    registry = Registry()
    registry.see_pool(pool(version=1))
    leaving = pool(version=2)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    registry.see_pool(leaving)
    assert registry.pools == {}


def test_a_pool_that_turns_to_another_target_is_told_to_those_on_both() -> None:
    told: list[str] = []
    registry = Registry()
    registry.see_pool(pool("first", deploymentRef={"name": "a"}))
    registry.see_pool(pool("second", created="2026-01-02T00:00:00Z", deploymentRef={"name": "a"}))
    registry.see_pool(pool("third", created="2026-01-02T00:00:00Z", deploymentRef={"name": "b"}))
    registry.on_change = lambda key: told.append(key.name)
    registry.see_pool(pool("first", version=2, deploymentRef={"name": "b"}))
    assert sorted(told) == ["first", "second", "third"]


def test_the_pods_of_a_target_are_missing_until_they_were_listed_for_this_very_deployment() -> None:
    registry, target = Registry(), ("shop", "mailer")
    assert registry.unlisted(target) is None
    registry.see_deployment(deployment("mailer", labels={"app": "mailer"}))
    registry.see_pool(pool(deploymentRef={"name": "mailer"}))
    owner = registry.unlisted(target)
    assert owner is not None
    registry.take_pods(owner, [pod("mailer-1", labels={"app": "mailer"})])
    assert [one.name[1] for one in registry.pods_of(target)] == ["mailer-1"]
    assert registry.unlisted(target) is None
    anew = deployment("mailer", version=2, labels={"app": "mailer"})
    anew["metadata"]["uid"] = "d2"
    registry.see_deployment(anew)
    assert registry.unlisted(target) is not None
