"""What the operator leaves alone: Deployments of others, but for their size, and sizes that somebody else sets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.control_plane.api import Object
from tests.support.control_plane.cluster import ControlPlane
from tests.support.pool_world import Pools, comparable, pools_of
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
    with pools_of(control_plane, tmp_path_factory.mktemp("ownership"), redis_session.url) as made:
        yield made


def foreign(world: Pools, name: str, replicas: int = 1) -> Object:
    """A Deployment of somebody else."""
    container = {"name": "app", "image": "example.org/app:1", "env": [{"name": "A", "value": "1"}]}
    made: Object = world.api.create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": world.namespace, "labels": {"team": "a"}},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
            },
        }
    )
    return made


def autoscaler(world: Pools, target: str) -> Object:
    """A HorizontalPodAutoscaler; nothing runs it here."""
    made: Object = world.api.create(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": f"hpa-{target}", "namespace": world.namespace},
            "spec": {
                "minReplicas": 1,
                "maxReplicas": 9,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            },
        }
    )
    return made


def generation(world: Pools, name: str) -> int:
    """It grows with each change of the spec, the size included."""
    return int(world.get("deployments", name)["metadata"]["generation"])


def test_a_target_is_given_its_size_and_nothing_else(world: Pools) -> None:
    before = foreign(world, "mailer")
    world.until(lambda: world.get("deployments", "mailer")["status"].get("readyReplicas") == 1, "it runs")
    world.create("mail", deploymentRef={"name": "mailer"})
    world.until_size("mailer", 0)
    world.enqueue("mail", 35)
    world.until_size("mailer", 4)
    world.until(lambda: world.status("mail").get("readyReplicas") == 4, "four ready")
    assert world.status("mail")["selector"] == "app=mailer"
    found = world.get("deployments", "mailer")
    assert comparable(found) == comparable(before) | {
        "metadata": {
            **comparable(before)["metadata"],
            "annotations": comparable(found)["metadata"]["annotations"],
        }
    }
    assert comparable(found)["metadata"]["annotations"] == {}
    own = [one for one in found["metadata"]["managedFields"] if one["manager"].startswith("workerpool")]
    assert all(one["fieldsV1"] == {"f:spec": {"f:replicas": {}}} for one in own), own
    assert world.find("deployments", "mail") is None
    assert world.find("poddisruptionbudgets", "mail") is None
    world.drain("mail")
    world.delete("workerpools", "mail")
    assert world.find("deployments", "mailer") is not None


def test_a_target_that_comes_later_is_scaled(world: Pools) -> None:
    world.create("late", deploymentRef={"name": "later"}, replicas=2)
    world.until_condition("late", "ScalingActive", ("False", "TargetNotFound"))
    world.until(lambda: "TargetNotFound" in world.events("late"), "an event says so")
    foreign(world, "later", 0)
    world.until_size("later", 2)
    world.until_ready("late")
    world.delete("deployments", "later")
    world.until_condition("late", "ScalingActive", ("False", "TargetNotFound"))
    foreign(world, "later", 0)
    world.until_size("later", 2)


def test_a_foreign_deployment_of_the_pools_name_is_never_touched(world: Pools) -> None:
    foreign(world, "mine", 3)
    world.until(lambda: world.get("deployments", "mine")["status"].get("readyReplicas") == 3, "it runs")
    before = world.get("deployments", "mine")
    world.create("mine", replicas=1)
    world.until_condition("mine", "Ready", ("False", "ForeignDeployment"))
    world.until(lambda: "ForeignDeployment" in world.events("mine"), "an event says so")
    world.patch("mine", replicas=2)
    world.until(lambda: world.status("mine")["observedGeneration"] == 2, "the change was seen")
    world.polls(5)
    assert world.get("deployments", "mine") == before
    world.delete("deployments", "mine")
    world.until_size("mine", 2)
    world.until_ready("mine")


def test_an_autoscaler_is_not_fought(world: Pools) -> None:
    foreign(world, "both")
    hpa = autoscaler(world, "both")
    before = generation(world, "both")
    world.create("bothered", deploymentRef={"name": "both"}, replicas=4)
    world.until_condition("bothered", "ScalingActive", ("False", "TargetAutoscaled"))
    world.until(lambda: "TargetAutoscaled" in world.events("bothered"), "an event says so")
    world.polls(5)
    assert generation(world, "both") == before
    world.delete("horizontalpodautoscalers", hpa["metadata"]["name"])
    world.until_size("both", 4)
    world.until_ready("bothered")
    autoscaler(world, "both")
    world.until_condition("bothered", "ScalingActive", ("False", "TargetAutoscaled"))
    world.api.scale(world.where("deployments", "both"), 7)
    world.polls(5)
    assert world.size("both") == 7


def test_of_two_pools_on_a_target_the_older_scales_it(world: Pools) -> None:
    foreign(world, "shared", 0)
    world.create("older", deploymentRef={"name": "shared"}, replicas=2)
    world.until_size("shared", 2)
    world.until(lambda: world.create("younger", deploymentRef={"name": "shared"}, replicas=5), "a pool")
    world.until_condition("younger", "ScalingActive", ("False", "TargetShared"))
    world.until(lambda: "TargetShared" in world.events("younger"), "an event says so")
    before = generation(world, "shared")
    world.polls(5)
    assert (generation(world, "shared"), world.size("shared")) == (before, 2), "nobody fights"
    world.delete("workerpools", "older")
    world.until_size("shared", 5)
    world.until_ready("younger")
    assert generation(world, "shared") == before + 1


def test_a_pool_that_turns_to_another_deployment_leaves_no_workers(world: Pools) -> None:
    world.create("turns", replicas=2)
    world.until_size("turns", 2)
    foreign(world, "turned", 0)
    world.patch("turns", worker=None, deploymentRef={"name": "turned"})
    world.until_size("turned", 2)
    world.until_size("turns", 0)
    world.patch("turns", worker={}, deploymentRef=None)
    world.until_size("turns", 2)
    world.until_ready("turns")
    assert world.size("turned") == 2, "it is somebody else's"
