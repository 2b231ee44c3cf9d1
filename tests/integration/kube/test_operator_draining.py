"""The operator itself shrinks a pool by cordon: what it says of it, and what another one finds that comes after it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.celery_apps.contract import Worker
from tests.support.control_plane.api import path
from tests.support.control_plane.cluster import ControlPlane
from tests.support.pool_world import Pools, pools_of
from workerpool_operator.kube.names import CORDONED_ANNOTATION
from workerpool_operator.local.redis_server import RedisServer

pytestmark = pytest.mark.integration


@pytest.fixture
def world(
    control_plane: ControlPlane, simulated_nodes: list[str], redis_server: RedisServer, tmp_path: Path
) -> Iterator[Pools]:
    with pools_of(control_plane, tmp_path, redis_server.url) as made:
        yield made


@pytest.fixture
def start_worker(world: Pools, tmp_path: Path) -> Iterator[Callable[[str], Worker]]:
    """Start a worker in the name of a pod."""
    workers: list[Worker] = []

    def start(pod: str) -> Worker:
        workers.append(Worker(tmp_path / f"{pod}.log", world.url, "drain", ("-n", f"celery@{pod}"), {}))
        return workers[-1]

    yield start
    for one in workers:
        one.kill()


def cordoned(world: Pools) -> list[str]:
    """The pods with the annotation."""
    found = world.api.list(path("pods", world.namespace), selector="workerpool.dev/pool=drain")
    return [
        one["metadata"]["name"] for one in found if CORDONED_ANNOTATION in (one["metadata"].get("annotations") or {})
    ]


def test_cordoned_given_back_and_finished_by_another_operator(
    world: Pools, start_worker: Callable[[str], Worker]
) -> None:
    ours = "workerpool.dev/pool=drain"
    world.create("drain", replicas=2)
    world.until(lambda: len(world.pods(ours)) == 2, "two pods")
    pods = world.pods(ours)
    workers = {pod: start_worker(pod) for pod in pods}
    world.until(lambda: all("ready." in one.log.read_text() for one in workers.values()), "two workers")
    world.polls(12)  # the operator has heard of both
    log = world.operator.log

    world.patch("drain", replicas=1)
    (first,) = world.until(lambda: cordoned(world), "one is cordoned")
    os.kill(workers[first].pid, signal.SIGSTOP)  # it says nothing: nobody knows whether it is idle
    assert world.size("drain") == 2
    world.patch("drain", replicas=2)
    world.until(lambda: f"{first} takes jobs again" in log.read_text(), "it is given back")
    assert cordoned(world) == [first], "until it says that it takes jobs again"
    os.kill(workers[first].pid, signal.SIGCONT)
    world.until(lambda: "Started consuming from drain" in workers[first].log.read_text(), "it takes jobs again")
    world.until(lambda: not cordoned(world), "it is cordoned no more")
    assert world.pods(ours) == pods, "no pod was made for it"
    assert "1 replica cordoned" in log.read_text()

    world.patch("drain", replicas=1)
    (second,) = world.until(lambda: cordoned(world), "one is cordoned")
    os.kill(workers[second].pid, signal.SIGSTOP)
    world.operator.kill()
    world.operator.start()
    os.kill(workers[second].pid, signal.SIGCONT)
    world.until_size("drain", 1, 60)
    world.until(lambda: world.pods(ours) == sorted({*pods} - {second}), "the cordoned one went")
    world.until(lambda: f"{second} is idle and goes" in log.read_text(), "the operator said so")
    assert world.events("drain") >= {"ScaledDown", "ScaledUp"}
