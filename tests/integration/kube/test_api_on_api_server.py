"""The API client against a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.control_plane.cluster import ControlPlane
from workerpool_operator.kube import api_paths as paths
from workerpool_operator.kube.api import Conflict, Forbidden, Invalid, KubeApi, NotFound

pytestmark = pytest.mark.integration


@pytest.fixture
async def kube(control_plane: ControlPlane) -> AsyncIterator[KubeApi]:
    async with KubeApi(kubeconfig=control_plane.admin_kubeconfig) as kube:
        yield kube


def _deployment(namespace: str, *, image: str = "worker:1") -> dict[str, Any]:
    labels = {"app": "email"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "email", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "worker", "image": image}]},
            },
        },
    }


def _config_map(namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


async def test_a_deployment_is_applied_scaled_and_deleted(kube: KubeApi, namespace: str) -> None:
    one = paths.deployment(namespace, "email")
    created = await kube.apply(one, _deployment(namespace))
    scale = paths.deployment_scale(namespace, "email")
    await kube.merge_patch(scale, {"spec": {"replicas": 0}})
    assert (await kube.get(scale))["spec"] == {}, "a scale of 0 has no replicas on the wire"
    again = await kube.apply(one, _deployment(namespace, image="worker:2"))
    assert (again["spec"]["replicas"], again["metadata"]["uid"]) == (0, created["metadata"]["uid"])
    await kube.json_patch(one, [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}])
    assert len(await kube.list(paths.deployments(namespace), label_selector="a=b")) == 1
    assert await kube.list(paths.deployments(namespace), label_selector="a=c") == []
    with pytest.raises(Conflict):
        await kube.merge_patch(one, {"spec": {"paused": True}}, resource_version="1")
    with pytest.raises(Conflict):
        await kube.delete(one, uid="another")
    await kube.delete(one, uid=created["metadata"]["uid"])
    with pytest.raises(NotFound, match=f"cannot get deployments {namespace}/email"):
        await kube.get(one)
    assert kube.writes_total["patch", "deployments/scale"] == 1


async def test_a_bad_object_is_refused_with_the_field(kube: KubeApi, namespace: str) -> None:
    body = _deployment(namespace)
    body["spec"]["template"]["spec"]["containers"][0]["name"] = "Not a name"
    with pytest.raises(Invalid, match=r"spec\.template\.spec\.containers\[0\]\.name"):
        await kube.apply(paths.deployment(namespace, "email"), body)
    await kube.create(paths.leases(namespace), {"metadata": {"name": "x"}})
    with pytest.raises(Conflict) as caught:
        await kube.create(paths.leases(namespace), {"metadata": {"name": "x"}})
    assert caught.value.reason == "AlreadyExists"


async def test_many_objects_are_listed_whole(kube: KubeApi, namespace: str) -> None:
    everything = f"/api/v1/namespaces/{namespace}/configmaps"
    async with asyncio.TaskGroup() as group:
        for number in range(600):
            group.create_task(kube.create(everything, _config_map(namespace, f"c-{number}")))
    names = {item["metadata"]["name"] for item in await kube.list(everything)}
    assert {f"c-{number}" for number in range(600)} <= names
    assert kube.writes_total["create", "configmaps"] == 600


async def test_a_missing_right_is_named(control_plane: ControlPlane, namespace: str) -> None:
    nobody = control_plane.kubeconfig_for("nobody", namespace=namespace)
    async with KubeApi(kubeconfig=nobody) as kube:
        with pytest.raises(Forbidden, match=rf"'patch' on 'deployments.apps/scale' in the namespace {namespace}"):
            await kube.merge_patch(paths.deployment_scale(namespace, "email"), {"spec": {"replicas": 0}})
        with pytest.raises(Forbidden, match="'list' on 'pods' in the whole cluster"):
            await kube.list(paths.pods())
