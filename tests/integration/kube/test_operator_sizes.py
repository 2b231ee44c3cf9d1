"""Sizes that people set, sizes that are held, and pools on several brokers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.support.celery_apps.plain import make_app
from tests.support.control_plane.api import path
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
    with pools_of(control_plane, tmp_path_factory.mktemp("sizes"), redis_session.url) as made:
        yield made


def kubectl(plane: ControlPlane, world: Pools, *arguments: str) -> str:
    assert plane.kubectl is not None, "kubectl is missing"
    command = [str(plane.kubectl), "--kubeconfig", str(plane.admin_kubeconfig), "-n", world.namespace, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def test_kubectl_scale_pins_and_null_frees(world: Pools, control_plane: ControlPlane) -> None:
    world.create("pinned")
    world.enqueue("pinned", 25)
    world.until_size("pinned", 3)
    kubectl(control_plane, world, "scale", "wp/pinned", "--replicas=5")
    world.until_size("pinned", 5)
    world.until_condition("pinned", "ScalingActive", ("False", "Pinned"))
    world.until(lambda: world.status("pinned").get("replicas") == 5, "five pods")
    assert world.api.get(world.where("workerpools", "pinned") + "/scale")["status"] == {
        "replicas": 5,
        "selector": "workerpool.dev/pool=pinned",
    }
    kubectl(control_plane, world, "patch", "wp/pinned", "--type=merge", "-p", '{"spec":{"replicas":null}}')
    world.until_size("pinned", 3)
    world.until_condition("pinned", "ScalingActive", ("True", "WorkWaiting"))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        kubectl(control_plane, world, "scale", "wp/pinned", "--replicas=11")
    assert "maxReplicas" in refused.value.stderr


def test_paused_holds(world: Pools) -> None:
    world.create("paused")
    world.enqueue("paused", 15)
    world.until_size("paused", 2)
    world.patch("paused", scaling={"paused": True})
    world.until_condition("paused", "ScalingActive", ("False", "Paused"))
    world.enqueue("paused", 50)
    world.until(lambda: world.status("paused")["backlog"]["ready"] > 50, "the backlog is told all the same")
    assert world.size("paused") == 2
    world.patch("paused", scaling={"paused": False})
    world.until_size("paused", 7)


def test_nothing_is_written_while_nothing_changes(world: Pools) -> None:
    world.create("calm", replicas=2)
    # an amount that the API server writes in another way
    world.create("busier", minReplicas=4, worker={"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}})
    world.until_size("busier", 4)
    for name, pods in (("calm", 2), ("busier", 4)):
        world.until_ready(name)
        world.until(lambda name=name, pods=pods: world.status(name).get("readyReplicas") == pods, "all ready")  # type: ignore[misc]

    def versions() -> list[str]:
        return [
            world.get(plural, name)["metadata"]["resourceVersion"]
            for name in ("calm", "busier")
            for plural in ("workerpools", "deployments", "poddisruptionbudgets")
        ]

    def settled() -> list[str] | None:
        before = versions()
        after_polls(world, 10)
        return before if versions() == before else None

    assert world.until(settled, "ten polls without a write", 30)
    before = versions()
    after_polls(world, 10)
    assert versions() == before


def after_polls(world: Pools, count: int) -> None:
    """Wait for so many polls of every pool, as the operator's metrics count them together."""

    def polls() -> int:
        name = "workerpool_poll_duration_seconds_count "
        return sum(int(float(line.split()[1])) for line in world.metrics().splitlines() if line.startswith(name))

    until = polls() + count * len(world.api.list(path("workerpools", world.namespace)))
    world.until(lambda: polls() >= until, f"{count} polls")


def test_two_brokers_and_a_pool_that_moves(world: Pools, make_redis: Callable[..., RedisServer]) -> None:
    other = make_redis()
    world.create("moves")
    world.create("remains")
    world.enqueue("moves", 15)
    world.enqueue("remains", 25)
    world.until_size("moves", 2)
    world.until_size("remains", 3)
    elsewhere = make_app(other.url)
    for _ in range(45):
        elsewhere.send_task("quick", queue="moves")
    elsewhere.close()
    world.patch("moves", broker={"url": other.url})
    world.until_size("moves", 5)
    world.until_ready("moves")
    other.stop()
    world.until_condition("moves", "BrokerReachable", ("False", "Unreachable"))
    assert world.size("moves") == 5
    world.enqueue("remains", 30)
    world.until_size("remains", 6)
    world.patch("moves", broker={"url": world.url})
    world.until_size("moves", 2)
    world.until_ready("moves")
    assert world.size("remains") == 6
