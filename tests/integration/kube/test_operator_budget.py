"""Pools that share a budget on a real API server: sizes, what their status says, who counts while nobody decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.celery_apps.plain import make_app
from tests.support.control_plane.cluster import ControlPlane
from tests.support.pool_world import Pools, pools_of
from workerpool_operator.local.redis_server import RedisServer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane,
    simulated_nodes: list[str],
    redis_session: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pools]:
    redis_session.start()
    with pools_of(control_plane, tmp_path_factory.mktemp("budget"), redis_session.url) as made:
        yield made


def budget(name: str, most: int, weight: int = 1) -> dict[str, object]:
    return {"budget": {"name": name, "maxReplicas": most, "weight": weight}}


def limited(world: Pools, name: str) -> str:
    """What ScalingLimited says of a pool that its budget limits."""
    found = {one["type"]: one for one in world.status(name).get("conditions", [])}
    told = found.get("ScalingLimited", {})
    assert told.get("reason") == "BudgetExhausted", told
    return str(told["message"])


def sample(world: Pools, metric: str, name: str) -> float | None:
    line = f'workerpool_budget_{metric}_replicas{{budget="{name}",namespace="{world.namespace}"}} '
    return next((float(one.split()[-1]) for one in world.metrics().splitlines() if one.startswith(line)), None)


def test_two_pools_at_two_brokers_share_by_weight_and_say_so(
    world: Pools, make_redis: Callable[..., RedisServer]
) -> None:
    other = make_redis()
    world.enqueue("heavy", 100)
    elsewhere = make_app(other.url)
    for _ in range(100):
        elsewhere.send_task("quick", queue="light")
    world.create("heavy", scaling=budget("provider", 4, weight=3))
    world.create("light", url=other.url, scaling=budget("provider", 4))
    world.until_size("heavy", 3)
    world.until_size("light", 1)
    text = "budget provider of 4 replicas, shared with 1 other pool, allows no more"
    for name in ("heavy", "light"):
        world.until(lambda name=name: limited(world, name) == text, "the condition names the budget")  # type: ignore[misc]
        world.until_condition(name, "ScalingActive", ("True", "BudgetExhausted"))
    world.until(lambda: sample(world, "used", "provider") == 4, "the metric of what is used")
    assert sample(world, "max", "provider") == 4

    world.drain("heavy")
    world.until_size("light", 4)
    world.until_size("heavy", 0)
    elsewhere.close()


def test_pools_that_disagree_are_told_and_the_lowest_counts(world: Pools) -> None:
    for name in ("first", "second"):
        world.enqueue(name, 100)
    world.create("first", scaling=budget("torn", 6))
    world.create("second", scaling=budget("torn", 6))
    world.until_size("first", 3)
    world.until_size("second", 3)
    world.patch("second", scaling=budget("torn", 2))
    text = "its pools disagree on maxReplicas (2 in second, 6 in first): the lowest counts"
    for name in ("first", "second"):
        world.until_size(name, 1)
        world.until(lambda name=name: text in limited(world, name), "the condition says so")  # type: ignore[misc]
        world.until(lambda name=name: "Caution" in world.events(name), "an event says so")  # type: ignore[misc]


def test_a_pool_that_nobody_decides_counts_until_its_pods_are_gone(world: Pools) -> None:
    """One whose Secret is missing keeps its pods, and they count; a deleted one gives all back."""
    for name in ("stays", "grows"):
        world.enqueue(name, 100)
    world.create("stays", scaling=budget("held", 5, weight=4), maxReplicas=4)
    world.until_size("stays", 4)
    world.patch("stays", broker={"url": None, "urlSecretRef": {"name": "not-there", "key": "url"}})
    world.until_condition("stays", "ScalingActive", ("False", "SecretMissing"))
    world.create("grows", scaling=budget("held", 5))
    world.until_size("grows", 1)
    world.polls(5)
    assert (world.size("stays"), world.size("grows")) == (4, 1)
    world.delete("workerpools", "stays")
    world.until_size("grows", 5, within_s=40)
