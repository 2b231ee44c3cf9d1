"""An operator that lacks a right: it names what it lacks, does the rest, and goes on when it is granted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from tests.support.control_plane.api import path
from tests.support.control_plane.cluster import ControlPlane
from tests.support.operator_process import OperatorProcess
from tests.support.operator_world import World, operator_world, without
from tests.support.waiting import eventually
from workerpool_operator.local.redis_server import RedisServer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def world(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with operator_world(control_plane, tmp_path_factory.mktemp("rbac")) as made:
        yield made


@pytest.fixture
def client(world: World, redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A Redis, and a pool on it that must always be served."""
    with redis.Redis.from_url(redis_server.url) as client:
        if world.size("other") is None:
            world.make("other", redis_server.url)
            world.reaches("other", 0)
        yield client


@contextmanager
def lacking(world: World, verb: str, resource: str) -> Iterator[None]:
    """Take a right away, as soon as the API server acts on it, and give it back."""
    world.api.apply(without(world.role, verb, resource))
    eventually(lambda: not granted(world, verb, resource), 10, f"no {verb} on {resource}")
    try:
        yield
    finally:
        world.api.apply(world.role)


def granted(world: World, verb: str, resource: str) -> bool:
    """Whether the operator's account may do this, in the words of the API server."""
    plural, _, subresource = resource.partition("/")
    group = next(rule["apiGroups"][0] for rule in world.role["rules"] if resource in rule["resources"])
    about = {"namespace": world.namespace, "verb": verb, "group": group, "resource": plural, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{world.namespace}:workerpool-operator",
            "resourceAttributes": about,
        },
    }
    answer = world.api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


def serves_others(world: World, client: redis.Redis) -> None:
    """The other pool scales."""
    now = world.size("other") or 0
    client.lpush("other", *("{}" for _ in range(10 * (now + 1))))
    world.reaches("other", now + 1, within_s=5)


def test_no_right_to_read_secrets(world: World, client: redis.Redis, redis_server: RedisServer) -> None:
    world.secret("secretive", url=redis_server.url)
    with lacking(world, "get", "secrets"):
        world.make("secretive", "", broker={"urlSecretRef": {"name": "secretive", "key": "url"}})
        broken = world.says("secretive", "BrokerReachable", "SecretUnusable")
        assert "'get' on 'secrets'" in broken["message"]
        serves_others(world, client)
    world.says("secretive", "BrokerReachable", "Connected", within_s=10)


def test_no_right_to_change_deployments(world: World, client: redis.Redis, redis_server: RedisServer) -> None:
    world.make("fixed", redis_server.url)
    world.reaches("fixed", 0)
    world.says("fixed", "Ready", "Operational")
    with lacking(world, "patch", "deployments"):
        change = {"maxReplicas": 3, "worker": {"podLabels": {"team": "mail"}}}
        world.api.patch(path("workerpools", world.namespace, "fixed"), {"spec": change})
        broken = world.says("fixed", "Ready", "ApplyRefused")
        assert "'patch' on 'deployments.apps'" in broken["message"]
        client.lpush("fixed", *("{}" for _ in range(90)))
        world.reaches("fixed", 3, within_s=5)
        assert world.says("fixed", "ScalingLimited", "AtMaximum")["observedGeneration"] == 2
        serves_others(world, client)
    world.says("fixed", "Ready", "Operational", within_s=15)
    template = world.api.get(path("deployments", world.namespace, "fixed"))["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "mail"


def test_a_pod_that_the_api_server_refuses_is_told_and_scaled_on(
    world: World, client: redis.Redis, redis_server: RedisServer
) -> None:
    world.make("refused", redis_server.url)
    world.says("refused", "Ready", "Operational")
    terms: dict[str, object] = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
    where = path("workerpools", world.namespace, "refused")
    world.api.patch(where, {"spec": {"worker": {"affinity": {"nodeAffinity": terms}}}})
    broken = world.says("refused", "Ready", "ApplyRefused")
    assert "nodeSelectorTerms" in broken["message"]
    client.lpush("refused", *("{}" for _ in range(20)))
    world.reaches("refused", 2)
    told = [event for event in world.events("refused") if event["reason"] == "ApplyRefused"]
    assert len(told) == 1
    world.api.patch(where, {"spec": {"worker": {"affinity": None}}})
    world.says("refused", "Ready", "Operational")


def test_no_right_to_scale(world: World, client: redis.Redis, redis_server: RedisServer) -> None:
    world.make("stuck", redis_server.url)
    world.says("stuck", "Ready", "Operational")
    with lacking(world, "patch", "deployments/scale"):
        client.lpush("stuck", *("{}" for _ in range(20)))
        broken = world.says("stuck", "Ready", "ScaleFailed")
        assert "'patch' on 'deployments.apps/scale'" in broken["message"]
        assert world.condition("stuck", "ScalingActive")["status"] == "False"
    world.reaches("stuck", 2)
    world.says("stuck", "Ready", "Operational")


def test_no_right_to_write_statuses(world: World, client: redis.Redis, redis_server: RedisServer) -> None:
    with lacking(world, "patch", "workerpools/status"):
        world.make("silent", redis_server.url)
        eventually(lambda: "'patch' on 'workerpools.workerpool.dev/status'" in world.log(), 10, "the log names it")
        begin = world.log().count("its status was not written")
        client.lpush("silent", *("{}" for _ in range(20)))
        world.reaches("silent", 2)
        serves_others(world, client)
        client.lpush("silent", *("{}" for _ in range(50)))
        world.reaches("silent", 7)
        assert world.log().count("its status was not written") - begin < 8, "it is not said all the time"
    world.says("silent", "BrokerReachable", "Connected", within_s=15)


def test_no_right_to_create_events(world: World, client: redis.Redis) -> None:
    with lacking(world, "create", "events"):
        serves_others(world, client)
        eventually(lambda: "'create' on 'events'" in world.log(), 10, "the log names it")


@pytest.mark.parametrize(
    ("verb", "resource"), [("list", "workerpools"), ("list", "horizontalpodautoscalers"), ("list", "pods")]
)
def test_one_that_cannot_see_does_not_start(world: World, verb: str, resource: str) -> None:
    first = world.operator
    second = OperatorProcess(
        kubeconfig=first.kubeconfig, namespace=world.namespace, folder=first.folder, name=f"blind-{resource}"
    )
    with lacking(world, verb, resource), second:
        assert second.process
        assert second.process.wait(20) == 2
    said = second.log.read_text(encoding="utf-8")
    assert f"'{verb}' on '{resource}" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_nothing_crashed(world: World) -> None:
    assert world.operator.running
    assert "Traceback" not in world.log()
