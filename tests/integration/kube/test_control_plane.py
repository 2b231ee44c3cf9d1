"""The control plane under the tests is a real one: pods become ready, the right one is removed, RBAC refuses."""

from __future__ import annotations

import time
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


def leaving(api: Api, namespace: str) -> bool:
    found = api.list(path("pods", namespace), selector="app=email")
    return any("deletionTimestamp" in pod["metadata"] for pod in found)


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


@pytest.mark.usefixtures("simulated_nodes")
def test_a_pod_may_ask_for_time_to_become_ready_and_to_go(api: Api, namespace: str) -> None:
    slow = deployment("email", namespace, 1)
    annotations = {"tests.workerpool.dev/ready-after": "2s", "tests.workerpool.dev/gone-after": "2s"}
    slow["spec"]["template"]["metadata"]["annotations"] = annotations

    started_s = time.monotonic()
    api.create(slow)
    eventually(lambda: ready(api, namespace) == 1, 20, "the pod is ready")
    ready_s = time.monotonic()
    api.scale(path("deployments", namespace, "email"), 0)
    eventually(lambda: leaving(api, namespace), 10, "the pod is terminating")
    eventually(lambda: not pods(api, namespace), 10, "the pod is gone")

    assert ready_s - started_s > 2
    assert time.monotonic() - ready_s > 2


@pytest.mark.usefixtures("simulated_nodes")
def test_what_a_pool_owns_goes_with_the_pool(api: Api, operator_kubeconfig: Path, namespace: str) -> None:
    pool = api.create(
        {
            "apiVersion": "workerpool.dev/v1alpha1",
            "kind": "WorkerPool",
            "metadata": {"name": "email", "namespace": namespace},
            "spec": {
                "queues": [{"name": "email"}],
                "broker": {"url": "redis://redis:6379/0"},
                "maxReplicas": 3,
                "worker": {"image": "registry.k8s.io/pause:3.10"},
            },
        }
    )
    owner = {key: pool["metadata"][key] for key in ("name", "uid")} | {"controller": True, "blockOwnerDeletion": True}
    owned = deployment("email", namespace, 2)
    owned["metadata"]["ownerReferences"] = [{"apiVersion": pool["apiVersion"], "kind": pool["kind"], **owner}]
    with Api(operator_kubeconfig) as operator:
        operator.apply(owned)
    eventually(lambda: ready(api, namespace) == 2, 20, "the pods are ready")

    api.delete(path("workerpools", namespace, "email"))

    eventually(lambda: not pods(api, namespace), 15, "the pods are collected")
    assert api.find(path("deployments", namespace, "email")) is None


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
            ("GET", path("configmaps", namespace)),
            ("GET", path("leases", "default", "workerpool-operator")),
            ("GET", path("leases", namespace, "of-another")),
            ("DELETE", path("deployments", namespace, "email")),
            ("DELETE", path("pods", namespace, "any")),
            ("DELETE", path("workerpools", namespace, "any")),
        ]:
            assert operator.request(method, where).status == 403, (method, where)
    with Api(control_plane.kubeconfig_for("viewer")) as viewer, pytest.raises(RefusedError, match="cannot list") as no:
        viewer.list(path("deployments", namespace))
    assert no.value.status == 403
