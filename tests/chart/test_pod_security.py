"""A real API server takes everything that the chart renders, in namespaces that enforce the restricted profile."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chart.helm import CI_VALUES, Object, pod_specs, rendered
from tests.support.control_plane.api import HTTP_BAD, PATCHES, Api, path
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

PLURALS = {
    "NetworkPolicy": "networkpolicies", "PodDisruptionBudget": "poddisruptionbudgets",
    "CustomResourceDefinition": "customresourcedefinitions",
}  # fmt: skip


@pytest.fixture(scope="module")
def restricted(control_plane: Any) -> Iterator[tuple[Api, str]]:
    """The administrator, and the name of a namespace in which only restricted pods may run."""
    api, name = control_plane.api, f"test-{uuid.uuid4().hex[:8]}"
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": levels}})
    eventually(lambda: api.find(path("serviceaccounts", name, "default")), 20, "the default service account")
    yield api, name
    api.delete(path("namespaces", name=name))


def address(thing: Object) -> str:
    """Where an object is posted to."""
    kind, version = str(thing["kind"]), str(thing["apiVersion"])
    plural = PLURALS.get(kind, f"{kind.lower()}s")
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = thing["metadata"].get("namespace")
    return f"{group}/namespaces/{namespace}/{plural}" if namespace else f"{group}/{plural}"


def dry_run(api: Api, thing: Object) -> str | None:
    """Why the API server would not take it, None if it would; unknown fields count."""
    answer = api.request(
        "PATCH", f"{address(thing)}/{thing['metadata']['name']}", thing, content_type=PATCHES["apply"],
        fieldManager="tests", fieldValidation="Strict", dryRun="All", force="true",
    )  # fmt: skip
    return (
        None if answer.status < HTTP_BAD else f"{thing['kind']}/{thing['metadata']['name']}: {json.dumps(answer.body)}"
    )


def placed(things: list[Object], namespace: str) -> list[Object]:
    """All of it in one namespace."""
    things = copy.deepcopy(things)
    for thing in things:
        if "namespace" in thing["metadata"]:
            thing["metadata"]["namespace"] = namespace
    return things


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda file: file.name)
def test_the_api_server_takes_all_of_it(restricted: tuple[Api, str], values: Any) -> None:
    api, namespace = restricted
    things = placed(rendered(files=[str(values)]), namespace)
    assert [said for thing in things if (said := dry_run(api, thing))] == []


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda file: file.name)
def test_every_pod_passes_the_restricted_profile(restricted: tuple[Api, str], values: Any) -> None:
    api, namespace = restricted
    found = pod_specs(rendered(files=[str(values)]))
    assert found
    assert [said for where, template in found if (said := refused(api, namespace, where, template["spec"]))] == []


def test_a_pod_that_would_not_is_refused(restricted: tuple[Api, str]) -> None:
    api, namespace = restricted
    [(where, template), *_] = pod_specs(rendered())
    spec = copy.deepcopy(template["spec"])
    spec["containers"][0]["securityContext"]["capabilities"] = {"drop": []}
    assert "unrestricted capabilities" in str(refused(api, namespace, where, spec))


def refused(api: Api, namespace: str, where: str, spec: Object) -> str | None:
    """Why the API server would not take a pod, None if it would."""
    mounted = {mount["name"] for one in spec["containers"] for mount in one.get("volumeMounts", ())}
    volumes = spec.get("volumes", [])
    # those of a StatefulSet's claims are added by its controller
    claimed = sorted(mounted - {volume["name"] for volume in volumes})
    claims = [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in claimed]
    # account and priority class need not exist here, and their absence would be another refusal
    bare = {key: value for key, value in spec.items() if key != "priorityClassName"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p-{uuid.uuid4().hex[:8]}", "namespace": namespace},
        "spec": {**bare, "serviceAccountName": "default", "volumes": [*volumes, *claims]},
    }
    answer = api.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod, dryRun="All", fieldValidation="Strict")
    return None if answer.status < HTTP_BAD else f"{where}: {json.dumps(answer.body)}"


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda file: file.name)
def test_no_pod_writes_where_it_need_not(values: Any) -> None:
    for where, template in pod_specs(rendered(files=[str(values)])):
        spec = template["spec"]
        assert isinstance(spec["securityContext"]["runAsUser"], int), f"{where}: a number, since images may name users"
        for container in [*spec["containers"], *spec.get("initContainers", ())]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, where
            assert container["resources"]["limits"]["memory"], where
            assert container["resources"]["requests"]["cpu"], where
            assert "cpu" not in container["resources"]["limits"], f"{where}: a CPU limit throttles"
