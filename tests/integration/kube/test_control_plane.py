"""The control plane under the tests is a real one: pods become ready, the right one is removed, RBAC refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.control_plane.api import Api, RefusedError, path
from tests.support.control_plane.cluster import ControlPlane
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

COST = "controller.kubernetes.io/pod-deletion-cost"


def deployment(name: str, namespace: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "worker", "image": "registry.k8s.io/pause:3.10"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def pods(api: Api, namespace: str) -> set[str]:
    return {pod["metadata"]["name"] for pod in api.list(path("pods", namespace), selector="app=email")}


def ready(api: Api, namespace: str) -> int:
    return int(api.get(path("deployments", namespace, "email"))["status"].get("readyReplicas", 0))


@pytest.mark.usefixtures("simulated_nodes")
def test_the_pod_of_the_lowest_deletion_cost_goes_when_a_deployment_shrinks(api: Api, namespace: str) -> None:
    api.create(deployment("email", namespace, 3))
    eventually(lambda: ready(api, namespace) == 3, 30, "three pods are ready")
    before = pods(api, namespace)
    idle = sorted(before)[1]
    api.patch(path("pods", namespace, idle), {"metadata": {"annotations": {COST: "-100"}}})

    api.scale(path("deployments", namespace, "email"), 2)

    eventually(lambda: len(pods(api, namespace)) == 2, 15, "one pod is gone")
    assert before - pods(api, namespace) == {idle}
    assert ready(api, namespace) == 2


def test_what_is_owned_goes_with_its_owner(api: Api, namespace: str) -> None:
    api.create(deployment("email", namespace, 2))
    eventually(lambda: len(pods(api, namespace)) == 2, 15, "the pods are there")
    api.delete(path("deployments", namespace, "email"))
    eventually(lambda: not pods(api, namespace), 15, "the pods are collected")


def test_the_operator_may_do_what_its_rbac_says_and_no_more(
    control_plane: ControlPlane, operator_kubeconfig: Path, namespace: str
) -> None:
    with Api(operator_kubeconfig) as operator:
        assert operator.list(path("deployments")) is not None
        operator.apply(deployment("email", namespace, 1))
        operator.scale(path("deployments", namespace, "email"), 2)
        for method, where in [
            ("GET", path("nodes")),
            ("GET", path("secrets", namespace)),
            ("GET", path("leases", "default", "workerpool-operator")),
            ("DELETE", path("deployments", namespace, "email")),
        ]:
            assert operator.request(method, where).status == 403, (method, where)
    with Api(control_plane.kubeconfig_for("viewer")) as viewer, pytest.raises(RefusedError, match="cannot list") as no:
        viewer.list(path("deployments", namespace))
    assert no.value.status == 403
