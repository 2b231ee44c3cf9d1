"""A delayed job of the bundled worker, through the operator to a Deployment's size and a pool's status."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis

from tests.support.control_plane.cluster import ControlPlane
from tests.support.operator_world import World, operator_world
from tests.support.waiting import eventually
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.messages.delayed import add, promote

pytestmark = pytest.mark.integration
LEAD_S = 5.0


@pytest.fixture(scope="module")
def world(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with operator_world(control_plane, tmp_path_factory.mktemp("delayed")) as made:
        yield made


def test_a_delayed_job_is_scheduled_then_wakes_the_pool(
    world: World, redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    world.make("later", redis_server.url)
    eventually(lambda: world.size("later") == 0, 20, "a Deployment at zero")
    due_s = time.time() + LEAD_S + 8
    add(redis_client, "later", tag="a", list_key="later", message="{}", due_s=due_s)
    eventually(lambda: world.status("later").get("backlog", {}).get("scheduled") == 1, 20, "it is scheduled")
    assert time.time() < due_s - LEAD_S, "this machine is too slow to tell one from the other"
    assert world.size("later") == 0
    assert world.metric("queue_scheduled_jobs", "later") == 1
    assert world.metric("queue_ready_jobs", "later") == 0
    eventually(lambda: world.size("later") == 1, 20, "awake")
    assert due_s - LEAD_S <= time.time() < due_s + 1
    eventually(lambda: world.status("later")["backlog"].get("ready") == 1, 20, "past due, and nobody has promoted it")
    assert world.status("later")["backlog"]["scheduled"] == 0
    assert promote(redis_client, ["later"]).count == 1
    redis_client.delete("later")
    eventually(lambda: world.size("later") == 0, 20, "asleep")


def test_jobs_long_past_due_wake_it_at_once(world: World, redis_server: RedisServer, redis_client: redis.Redis) -> None:
    for at in range(25):
        add(redis_client, "late", tag=str(at), list_key="late", message="{}", due_s=time.time() - 100 - at)
    world.make("late", redis_server.url)
    eventually(lambda: world.size("late") == 3, 20, "three replicas for 25 jobs")
    eventually(lambda: world.status("late").get("backlog", {}).get("ready") == 25, 20, "told in the status")
    assert world.status("late")["backlog"]["oldestJobSeconds"] >= 60
