"""A pool's life: its spec changes and changes back, is refused and mended, drifts, ends, and begins again."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.kube.crd_cases import OPERATOR_ONLY
from tests.support.control_plane.cluster import ControlPlane
from tests.support.pool_world import Pools, comparable, pools_of
from tests.unit.resource.documents import VALID
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
    with pools_of(control_plane, tmp_path_factory.mktemp("lifecycle"), redis_session.url) as made:
        yield made


WORKER: dict[str, Any] = {
    **VALID["spec"]["worker"],
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"},
    ],
    "affinity": {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}
            ]
        }
    },
}
OTHER: dict[str, Any] = {
    "queues": [{"name": "other"}, {"name": "third"}],
    "minReplicas": 1,
    "maxReplicas": 1,
    "scaling": {
        "backlogPerReplica": 3,
        "queueLatencySeconds": 30,
        "pollIntervalMilliseconds": 200,
        "scaleUp": {"stabilizationSeconds": 1, "maxReplicasPerStep": 4},
        "scaleDown": {"stabilizationSeconds": 1, "whenBusy": "Allow"},
        "schedules": [{"name": "night", "start": "0 1 * * *", "end": "0 2 * * *", "minReplicas": 1}],
        "fallback": {"replicas": 1, "afterSeconds": 30},
        "paused": True,
    },
    "replicas": 1,
}
SCALING = {"backlogPerReplica": 10, "pollIntervalMilliseconds": 250, "scaleDown": {"stabilizationSeconds": 2}}


def put_spec(world: Pools, name: str, spec: dict[str, Any]) -> None:
    world.api.patch(world.where("workerpools", name), [{"op": "replace", "path": "/spec", "value": spec}], kind="json")


def budget(world: Pools, name: str) -> Any:
    """What a pool's budget says; it is a new one when there was none in between."""
    found = world.find("poddisruptionbudgets", name)
    return None if found is None else found["spec"]


def changed(spec: dict[str, Any], field: str, url: str) -> dict[str, Any]:
    """The spec with one field changed, and what has to go with it."""
    other = copy.deepcopy(spec)
    _, _, part = field.partition(".")
    if field == "broker":
        other["broker"] = {"url": url.rpartition("/")[0] + "/5", "keyPrefix": "shop:", "priorities": [0, 5]}
    elif field == "worker":
        other["worker"] = WORKER
    elif part:
        other["worker"][part] = WORKER[part]
        if part == "volumeMounts":
            other["worker"]["volumes"] = WORKER["volumes"]
    else:
        other[field] = OTHER[field]
        if field == "minReplicas":
            other["maxReplicas"] = 2
    return other


def test_every_field_there_and_back(world: Pools) -> None:
    fields = [*sorted(OTHER), "broker", "worker", *(f"worker.{part}" for part in sorted(WORKER))]
    names = {"f-" + field.lower().replace(".", "-"): field for field in fields}
    for name in names:
        world.create(name, worker={"image": "example.org/worker:1"})
    for name in names:
        world.until_ready(name, 40)
    first = {name: world.get("workerpools", name)["spec"] for name in names}
    made = {name: (comparable(world.get("deployments", name)), budget(world, name)) for name in names}
    for name, field in names.items():
        put_spec(world, name, changed(first[name], field, world.url))
    for name, field in names.items():
        world.until_ready(name, 40)
        same = comparable(world.get("deployments", name)) == made[name][0]
        assert same != (field.startswith("worker") or field in {"broker", "queues"}), field
    for name in names:
        put_spec(world, name, first[name])
    for name, field in names.items():
        world.until_ready(name, 40)
        found = (comparable(world.get("deployments", name)), budget(world, name))
        assert found == made[name], field
        assert world.get("workerpools", name)["spec"] == first[name]
        world.until_size(name, 0, 40)


def test_what_only_the_operator_refuses_is_told_and_mended(world: Pools) -> None:
    cases = {f"bad-{number}": fields for number, fields in enumerate(OPERATOR_ONLY)}
    for name in cases:
        world.create(name, replicas=1, worker={"image": "example.org/worker:1"})
    for name in cases:
        world.until_ready(name, 40)
    good = {name: world.get("workerpools", name)["spec"] for name in cases}
    before = {name: comparable(world.get("deployments", name)) for name in cases}
    for name, fields in cases.items():
        put_spec(world, name, {**good[name], **fields})
    for name in cases:
        world.until_condition(name, "Ready", ("False", "InvalidSpec"), 40)
        status = world.status(name)
        assert status["observedGeneration"] == 2
        assert "spec." in status["conditions"][0]["message"]
        assert (comparable(world.get("deployments", name)), world.size(name)) == (before[name], 1), "it is left alone"
    for name in cases:
        put_spec(world, name, good[name])
    for name in cases:
        world.until_ready(name, 40)
        assert world.status(name)["observedGeneration"] == 3
        assert comparable(world.get("deployments", name)) == before[name]


def test_the_status_of_a_spec_is_never_that_of_the_one_before(world: Pools) -> None:
    world.create("truth", replicas=1, worker={"image": "example.org/worker:1"})
    # upwards: nobody works in these pods, and who was not heard yet is taken for busy at first
    for size in (2, 3, 5, 8):
        generation = world.patch("truth", replicas=size)["metadata"]["generation"]

        def observed(generation: int = generation) -> Any:
            found = world.status("truth")
            return found if found.get("observedGeneration") == generation else None

        assert world.until(observed, "it is observed")["desiredReplicas"] == size


def test_a_deployment_that_drifts_is_put_back(world: Pools) -> None:
    world.create("drift", replicas=2, worker={"image": "example.org/worker:1"})
    world.until_ready("drift")
    before = comparable(world.get("deployments", "drift"))
    container = {"name": "worker", "image": "example.org/other:2"}
    restart = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}  # as `kubectl rollout restart` does
    edit = {
        "metadata": {"labels": {"app.kubernetes.io/instance": "someone"}},
        "spec": {
            "template": {
                "metadata": {"annotations": restart},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            }
        },
    }
    world.api.patch(world.where("deployments", "drift"), edit, kind="strategic")
    wanted = copy.deepcopy(before)
    wanted["spec"]["template"]["metadata"]["annotations"] |= restart
    world.until(lambda: comparable(world.get("deployments", "drift")) == wanted, "it is put back, and restarts")
    assert world.size("drift") == 2
    uid = world.get("deployments", "drift")["metadata"]["uid"]
    world.delete("deployments", "drift")
    world.until(lambda: world.find("deployments", "drift") is not None, "there is a Deployment again")
    assert world.get("deployments", "drift")["metadata"]["uid"] != uid
    world.until_size("drift", 2)
    assert world.get("deployments", "drift")["spec"]["template"] == before["spec"]["template"]


def test_a_pool_that_goes_and_comes_again(world: Pools) -> None:
    world.create("again", replicas=2, worker={"image": "example.org/worker:1"})
    world.until_ready("again")
    uid = world.get("deployments", "again")["metadata"]["uid"]
    world.delete("workerpools", "again")
    made = world.create("again", replicas=2, worker={"image": "example.org/worker:1"})
    world.until_ready("again", 40)
    owner = world.get("deployments", "again")["metadata"]["ownerReferences"][0]["uid"]
    assert owner == made["metadata"]["uid"]
    assert world.get("deployments", "again")["metadata"]["uid"] != uid
    assert world.find("poddisruptionbudgets", "again") is not None
    assert "ForeignDeployment" not in world.events("again")
    world.delete("workerpools", "again")
    world.until(lambda: world.find("deployments", "again") is None, "its Deployment goes with it")
    world.until(lambda: world.find("poddisruptionbudgets", "again") is None, "its budget goes with it")


def test_a_deletion_that_waits_for_what_is_owned_ends(world: Pools) -> None:
    """As with `kubectl delete --cascade=foreground`: the Deployment goes first, and is not to be made anew."""
    world.create("waits", replicas=2, worker={"image": "example.org/worker:1"})
    world.until_ready("waits")
    world.api.delete(world.where("workerpools", "waits"), propagationPolicy="Foreground")
    world.until(lambda: world.find("workerpools", "waits") is None, "the pool is gone")
    world.until(lambda: world.find("deployments", "waits") is None, "its Deployment is gone")
    world.polls(3)
    assert world.find("deployments", "waits") is None


def test_without_an_operator_workers_stay_and_pools_can_be_deleted(world: Pools) -> None:
    for name in ("stays", "goes"):
        world.create(name, replicas=2, worker={"image": "example.org/worker:1"})
    world.until(lambda: len(world.pods("workerpool.dev/pool=stays")) == 2, "two pods")
    world.until_ready("goes")
    pods, deployment = world.pods("workerpool.dev/pool=stays"), world.get("deployments", "stays")
    assert world.operator.stop() == 0
    try:
        assert "finalizers" not in world.get("workerpools", "goes")["metadata"]
        world.delete("workerpools", "goes")
        world.until(lambda: world.find("workerpools", "goes") is None, "the pool is gone")
        world.until(lambda: world.find("deployments", "goes") is None, "its Deployment is gone")
        assert world.pods("workerpool.dev/pool=stays") == pods
        assert comparable(world.get("deployments", "stays")) == comparable(deployment)
        assert world.size("stays") == 2
    finally:
        world.operator.start()
    world.patch("stays", replicas=3)
    world.until_size("stays", 3)
