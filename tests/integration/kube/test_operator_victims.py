"""Who goes when a pool shrinks: never a worker that is busy. Stock Celery workers say who is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.celery_apps.contract import Gate, Worker
from tests.support.control_plane.cluster import ControlPlane
from tests.support.pool_world import Beats, Pools, pools_of
from workerpool_operator.local.redis_server import RedisServer

pytestmark = pytest.mark.integration
EACH = {"backlogPerReplica": 1}


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane,
    simulated_nodes: list[str],
    redis_session: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pools]:
    redis_session.start()
    with pools_of(control_plane, tmp_path_factory.mktemp("victims"), redis_session.url) as made:
        yield made


@pytest.fixture
def start_worker(world: Pools, tmp_path: Path) -> Iterator[Callable[[str, str], Worker]]:
    """Start a worker in the name of a pod, which runs nowhere itself."""
    workers: list[Worker] = []

    def start(queue: str, pod: str) -> Worker:
        options = {"task_acks_late": True, "worker_prefetch_multiplier": 1}
        workers.append(Worker(tmp_path / f"{pod}.log", world.url, queue, ("-n", f"celery@{pod}"), options))
        return workers[-1]

    yield start
    for one in workers:
        one.kill()


def test_the_busy_stay_and_are_waited_for(
    world: Pools, start_worker: Callable[[str, str], Worker], tmp_path: Path
) -> None:
    gate, ours = Gate(tmp_path / "gate"), "workerpool.dev/pool=busy"
    world.create("busy", scaling=EACH)
    world.enqueue("busy", 2, "hold", [gate.path])
    world.until(lambda: len(world.pods(ours)) == 2, "two pods")
    old = set(world.pods(ours))
    world.enqueue("busy", 2, "hold", [gate.path])
    world.until(lambda: len(world.pods(ours)) == 4, "four pods")
    # left to itself, a ReplicaSet takes the youngest
    busy = sorted(set(world.pods(ours)) - old)
    with Beats(world.url, dict.fromkeys(old, 0)):
        for pod in busy:
            start_worker("busy", pod)
        world.until(lambda: world.status("busy").get("backlog", {}).get("running") == 2, "two jobs run", 40)
        world.drain("busy")
        world.until(lambda: world.pods(ours) == busy, "the busy pods are those that stay", 30)
        assert world.size("busy") == 2
        world.patch("busy", replicas=0)
        # they are cordoned: they take nothing more, and stay as long as their jobs run
        world.until_condition("busy", "ScalingActive", ("False", "Pinned"))
        world.polls(8)
        assert world.pods(ours) == busy
        assert world.size("busy") == 2
        gate.open()
        world.until_size("busy", 0, 30)


def test_a_silent_pod_is_not_taken_for_an_idle_one(world: Pools) -> None:
    ours = "workerpool.dev/pool=heard"
    world.create("heard", replicas=3, scaling=EACH)
    world.until(lambda: len(world.pods(ours)) == 3, "three pods")
    idle, busy, silent = world.pods(ours)
    with Beats(world.url, {idle: 0, busy: 1, silent: 0}) as beats:
        world.until_condition("heard", "ScalingActive", ("False", "Pinned"))
        world.until(lambda: world.status("heard").get("backlog", {}).get("running") == 1, "a job runs")
        world.patch("heard", replicas=2)
        world.until(lambda: idle not in world.pods(ours) or silent not in world.pods(ours), "an idle pod went")
        left = {idle, silent} & set(world.pods(ours))
        assert len(left) == 1
        beats.active.pop(next(iter(left)))
        world.patch("heard", replicas=1)
        world.until(lambda: world.pods(ours) == [busy], "the busy pod is the last")


def test_pods_of_a_deployment_that_was_there_before_are_known(world: Pools) -> None:
    """Their events came when nobody asked for them."""
    pod = {
        "metadata": {"labels": {"app": "elder"}},
        "spec": {"containers": [{"name": "worker", "image": "example.org/worker:1"}]},
    }
    world.api.create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "elder", "namespace": world.namespace},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "elder"}}, "template": pod},
        }
    )
    world.until(lambda: len(world.pods("app=elder")) == 3, "three pods")
    names = world.pods("app=elder")
    world.until(lambda: world.get("deployments", "elder")["status"].get("readyReplicas") == 3, "three are ready")
    world.create("elders", deploymentRef={"name": "elder"}, scaling={"scaleDown": {"stabilizationSeconds": 0}})
    # Whoever is not heard yet is not taken for idle, though the broker holds nothing for anybody.
    with Beats(world.url, {names[0]: 1, names[1]: 0, names[2]: 1}):
        world.until(lambda: world.size("elder") == 2, "the idle one goes")
        world.until(lambda: world.pods("app=elder") == [names[0], names[2]], "the busy stay")
        world.patch("elders", replicas=0)
        world.until_condition("elders", "ScalingActive", ("True", "BusyWorkers"))
        assert world.size("elder") == 2
