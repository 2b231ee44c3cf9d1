"""The status of a pool: written when it tells something new, never more often than it may, and true in the end."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import redis

from tests.support.control_plane.api import Api, Object, path
from tests.support.control_plane.cluster import ControlPlane
from tests.support.operator_world import World, operator_world
from tests.support.waiting import eventually
from workerpool_operator.local.redis_server import RedisServer

pytestmark = pytest.mark.integration

POLL_S = 0.25
SHORTEST_S = 2.0
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, simulated_nodes: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with operator_world(control_plane, tmp_path_factory.mktemp("status")) as made:
        yield made


@dataclass
class Story:
    """Every version of a pool that was written while it was watched, and when it came."""

    told: list[tuple[float, Object]] = field(default_factory=list)

    @property
    def gaps_s(self) -> list[float]:
        return [later - sooner for (sooner, _), (later, _) in itertools.pairwise(self.told)]


@contextmanager
def watched(world: World, name: str) -> Iterator[Story]:
    """Look at a pool all the time, from another thread."""
    story, over = Story(), threading.Event()
    last = world.pool(name)["metadata"]["resourceVersion"]

    def look(api: Api, last: str) -> None:
        while not over.wait(0.01):
            found = api.get(path("workerpools", world.namespace, name))
            if found["metadata"]["resourceVersion"] != last:
                last = found["metadata"]["resourceVersion"]
                story.told.append((time.monotonic(), found))

    with Api(world.api.kubeconfig) as api:
        thread = threading.Thread(target=look, args=(api, last))
        thread.start()
        try:
            yield story
        finally:
            over.set()
            thread.join()


def polls(world: World, name: str) -> float:
    """How often a pool's broker was read with success or without: the operator's own count."""
    assert world.metric("broker_up", name) is not None
    line = next(one for one in world.metrics().splitlines() if one.startswith("workerpool_poll_duration_seconds_count"))
    return float(line.rpartition(" ")[2])


def settle(world: World, name: str) -> Object:
    """Wait until a pool is ready for work and nothing is written of it any more."""
    seen: list[tuple[float, str]] = []

    def still() -> bool:
        version = str(world.pool(name)["metadata"]["resourceVersion"])
        if not seen or seen[-1][1] != version:
            seen.append((time.monotonic(), version))
        return time.monotonic() - seen[-1][0] > 2 * SHORTEST_S

    eventually(lambda: world.condition(name, "Ready")["status"] == "True", 20, f"{name} is ready")
    eventually(still, 30, f"{name} has settled", every_s=0.2)
    return world.pool(name)


def test_a_settled_pool_is_written_no_more(world: World, redis_server: RedisServer) -> None:
    world.make("still", redis_server.url, minReplicas=3)  # of a job that waits, the age is news
    world.reaches("still", 3)
    eventually(lambda: world.status("still").get("readyReplicas") == 3, 20, "three ready")
    before, polled = settle(world, "still"), polls(world, "still")
    eventually(lambda: polls(world, "still") >= polled + 20, 20, "twenty polls", every_s=0.2)
    assert world.pool("still")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    deployment = world.api.get(path("deployments", world.namespace, "still"))
    assert deployment["metadata"]["generation"] == deployment["status"]["observedGeneration"]


def test_a_busy_pool_is_written_every_two_seconds_at_most(world: World, redis_server: RedisServer) -> None:
    world.make("busy", redis_server.url, scaling={"pollIntervalMilliseconds": 100})
    settle(world, "busy")
    sizes = itertools.cycle((5, 250, 40, 9_000, 0, 700))
    with redis.Redis.from_url(redis_server.url) as client, watched(world, "busy") as story:
        begin_s = time.monotonic()

        def moved() -> bool:
            with client.pipeline() as pipe:
                pipe.delete("busy")
                if count := next(sizes):
                    pipe.lpush("busy", *("{}" for _ in range(count)))
                pipe.execute()
            return time.monotonic() - begin_s > 7

        eventually(moved, 30, "seven busy seconds", every_s=0.3)
        client.delete("busy")
        client.lpush("busy", *("{}" for _ in range(7)))
        eventually(lambda: world.status("busy").get("backlog", {}).get("ready") == 7, 10, "the last state is written")
        eventually(lambda: world.status("busy").get("desiredReplicas") == 1, 20, "the last size is written")
        eventually(lambda: world.status("busy").get("replicas") == 1, 20, "and reached")
    assert len(story.told) >= 3, "it moved"
    assert min(story.gaps_s) > SHORTEST_S - 0.2, story.gaps_s


def test_times_of_transitions_change_with_the_status_only(world: World, redis_server: RedisServer) -> None:
    world.make("moving", redis_server.url, maxReplicas=2)
    settle(world, "moving")
    with redis.Redis.from_url(redis_server.url) as client, watched(world, "moving") as story:
        for count, limited in ((15, "False"), (95, "True"), (0, "False")):
            client.delete("moving")
            if count:
                client.lpush("moving", *("{}" for _ in range(count)))
            eventually(
                lambda want=limited: world.condition("moving", "ScalingLimited")["status"] == want,  # type: ignore[misc]
                15,
                f"ScalingLimited is {limited} with {count} jobs",
            )
            world.reaches("moving", min(2, -(-count // 10)))
    conditions = [{one["type"]: one for one in found["status"]["conditions"]} for _, found in story.told]
    for before, after in itertools.pairwise(conditions):
        for kind in before:
            same = before[kind]["status"] == after[kind]["status"]
            assert not same or before[kind]["lastTransitionTime"] == after[kind]["lastTransitionTime"], (before, after)
    assert {one["ScalingActive"]["reason"] for one in conditions} > {"WorkWaiting"}


def test_the_columns_of_kubectl(world: World, redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.lpush("table", *("{}" for _ in range(12)))
    world.make("table", redis_server.url, minReplicas=1)
    eventually(lambda: world.status("table").get("readyReplicas") == 2, 20, "two ready")
    eventually(lambda: world.status("table").get("backlog", {}).get("ready") == 12, 10, "a backlog of 12")
    columns, row = table(world, "table")
    shown = dict(zip(columns, row, strict=True))
    age = shown.pop("Age")
    assert shown == {
        "Name": "table",
        "Ready": 2,
        "Desired": 2,
        "Min": 1,
        "Max": 10,
        "Backlog": 12,
        "Reason": "WorkWaiting",
    }
    assert list(columns)[-1] == "Age"
    assert str(age).endswith(("s", "m"))


def table(world: World, name: str) -> tuple[list[str], list[object]]:
    """The columns that kubectl shows without ``-o wide``, and the row of a pool, as the API server prints them."""
    where = path("workerpools", world.namespace, name)
    found = world.api.call("GET", where, accept=TABLE)
    shown = [(number, one["name"]) for number, one in enumerate(found["columnDefinitions"]) if not one["priority"]]
    return [one for _, one in shown], [found["rows"][0]["cells"][number] for number, _ in shown]
