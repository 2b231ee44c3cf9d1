"""What disturbs the whole operator: an API server that is away for a while, and many bad objects at once."""

from __future__ import annotations

import copy
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from tests.integration.kube.crd_cases import OPERATOR_ONLY
from tests.support.control_plane.api import path
from tests.support.control_plane.cluster import ControlPlane
from tests.support.operator_process import worker_pool
from tests.support.operator_world import World, leads, operator_world
from tests.support.waiting import eventually
from tests.unit.resource.bad_documents import CASES
from workerpool_operator.local.redis_server import RedisServer

pytestmark = pytest.mark.integration

AWAY_S = 8.0
LEASE_S = 8.0


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, simulated_nodes: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with operator_world(control_plane, tmp_path_factory.mktemp("disturbed")) as made:
        yield made


def test_bad_objects_beside_a_good_one(world: World, redis_server: RedisServer) -> None:
    lines = {str(fields): line for fields, line in CASES}
    for number, fields in enumerate(OPERATOR_ONLY):
        made = worker_pool(f"bad-{number}", world.namespace, redis_server.url)
        made["spec"] |= copy.deepcopy(fields)
        world.api.create(made)
    world.make("good", redis_server.url)
    with redis.Redis.from_url(redis_server.url) as client:
        client.lpush("good", *("{}" for _ in range(20)))
        world.reaches("good", 2, within_s=10)
        for number, fields in enumerate(OPERATOR_ONLY):
            ready = world.says(f"bad-{number}", "Ready", "InvalidSpec")
            assert ready["message"] == lines[str(fields)]
            assert world.condition(f"bad-{number}", "ScalingActive")["reason"] == "InvalidSpec"
            assert world.status(f"bad-{number}")["observedGeneration"] == 1
            assert world.size(f"bad-{number}") is None
        client.lpush("good", *("{}" for _ in range(20)))
        world.reaches("good", 4, within_s=3)
    told = {event["involvedObject"]["name"] for event in world.api.list(path("events", world.namespace))}
    assert told >= {f"bad-{number}" for number in range(len(OPERATOR_ONLY))}
    assert "Traceback" not in world.log()


@contextmanager
def away(control_plane: ControlPlane) -> Iterator[None]:
    """The API server takes connections and answers nothing."""
    assert control_plane.local is not None
    server = next(child for child in control_plane.local.children if child.name == "kube-apiserver")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_the_api_server_is_away_for_some_seconds(
    world: World, control_plane: ControlPlane, redis_server: RedisServer
) -> None:
    if control_plane.local is None:
        return  # the API server of a cluster that is not ours is left alone
    world.make("patient", redis_server.url)
    with redis.Redis.from_url(redis_server.url) as client:
        client.lpush("patient", *("{}" for _ in range(20)))
        world.reaches("patient", 2)
        world.says("patient", "Ready", "Operational")
        with away(control_plane):
            begin_s = time.monotonic()
            client.lpush("patient", *("{}" for _ in range(30)))
            eventually(lambda: not leads(world), 7, "it gives up to lead in time")
            eventually(lambda: time.monotonic() - begin_s > AWAY_S, AWAY_S + 1, "some seconds away")
            assert world.operator.running
        eventually(lambda: leads(world), LEASE_S + 4, "it leads again")
        world.reaches("patient", 5, within_s=5)
        eventually(lambda: world.status("patient").get("desiredReplicas") == 5, 5, "its status follows")
        client.delete("patient")
        world.reaches("patient", 0)
    assert "Traceback" not in world.log()
