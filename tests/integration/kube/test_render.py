"""What is rendered, judged by a real API server: its schema, its Pod Security admission, its field ownership."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.support.control_plane.api import PATCHES, Api, RefusedError, path, path_of
from tests.unit.resource.documents import SMALL, VALID, varied
from workerpool_operator.kube.names import FIELD_MANAGER, SCALER_MANAGER
from workerpool_operator.kube.render import creation, deployment, pod_disruption_budget, replicas_claim
from workerpool_operator.resource.model import WorkerPool
from workerpool_operator.resource.parse import parse_pool

pytestmark = pytest.mark.integration

RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
FULL: dict[str, Any] = copy.deepcopy(VALID)
FULL["spec"]["worker"]["affinity"] = {
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}}
        ]
    }
}
POOLS = {"small": SMALL, "full": FULL, "bundled with a CA": varied(broker={**FULL["spec"]["broker"]})}


@pytest.fixture
def strict(api: Api, namespace: str) -> str:
    """A namespace that takes no pod outside the restricted profile."""
    api.patch(path("namespaces", name=namespace), {"metadata": {"labels": RESTRICTED}})
    where = {"name": "mailer", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": where})
    return namespace


@pytest.fixture
def uid(api: Api, namespace: str) -> str:
    """Of a pool that exists: what belongs to none is collected as garbage."""
    made: str = api.create(pool_in(namespace).to_dict())["metadata"]["uid"]
    return made


def pool_in(namespace: str, document: dict[str, Any] = SMALL) -> WorkerPool:
    document = copy.deepcopy(document)
    document["metadata"]["namespace"] = namespace
    return parse_pool(document)


def warnings_of(api: Api, thing: dict[str, Any]) -> str:
    """What the API server warns of when a thing is applied, without applying it."""
    headers = {"Content-Type": PATCHES["apply"]}
    api._client.update_params_for_auth(headers, [], ["BearerToken"], "", "PATCH", None)
    url = f"{api.url}{path_of(thing)}?fieldManager=x&dryRun=All&fieldValidation=Strict"
    pools = api._client.rest_client.pool_manager
    response = pools.request("PATCH", url, headers=headers, body=json.dumps(thing))
    assert response.status in (200, 201), response.data
    return str(response.headers.get("Warning", ""))


def as_pod(body: dict[str, Any], namespace: str) -> dict[str, Any]:
    template = body["spec"]["template"]
    metadata = {**template["metadata"], "name": "one", "namespace": namespace}
    # Its priority class would have to exist, for the whole cluster.
    spec = {key: value for key, value in copy.deepcopy(template["spec"]).items() if key != "priorityClassName"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("document", POOLS.values(), ids=POOLS)
def test_all_is_taken_without_a_warning_where_the_restricted_profile_is_enforced(
    api: Api, strict: str, document: dict[str, Any]
) -> None:
    pool = pool_in(strict, document)
    body = creation(pool, uid="u")
    assert warnings_of(api, body) == ""
    assert warnings_of(api, pod_disruption_budget(pool, uid="u") or {}) == ""
    api.create(as_pod(body, strict), dryRun="All")


def test_that_profile_does_refuse_what_is_less_strict(api: Api, strict: str) -> None:
    for part in ("runAsNonRoot", "seccompProfile"):
        pod = as_pod(deployment(pool_in(strict), uid="u"), strict)
        del pod["spec"]["securityContext"][part]
        with pytest.raises(RefusedError, match=r"violates PodSecurity .restricted"):
            api.create(pod, dryRun="All")


def apply(api: Api, body: dict[str, Any], manager: str = FIELD_MANAGER, *, force: bool = True) -> Any:
    return api.apply(body, field_manager=manager, force=force)


def owners_of_replicas(api: Api, where: str) -> set[tuple[str, str]]:
    fields = api.get(where)["metadata"]["managedFields"]
    return {(one["manager"], one["operation"]) for one in fields if "f:replicas" in one["fieldsV1"].get("f:spec", {})}


def test_a_deployment_is_made_at_zero_and_its_size_is_never_set_back(api: Api, namespace: str, uid: str) -> None:
    pool = pool_in(namespace)
    where = path("deployments", namespace, pool.name)
    assert apply(api, creation(pool, uid=uid), force=False)["spec"]["replicas"] == 0
    apply(api, replicas_claim(pool, 0), SCALER_MANAGER)
    assert apply(api, deployment(pool, uid=uid))["spec"]["replicas"] == 0
    assert owners_of_replicas(api, where) == {(SCALER_MANAGER, "Apply")}

    api.patch(f"{where}/scale", {"spec": {"replicas": 3}}, fieldManager=SCALER_MANAGER)
    changed = pool_in(namespace, varied(worker={"concurrency": 2}))
    assert apply(api, deployment(changed, uid=uid))["spec"]["replicas"] == 3
    assert owners_of_replicas(api, where) == {(SCALER_MANAGER, "Update")}


def test_making_a_deployment_that_exists_after_all_changes_nothing(api: Api, namespace: str, uid: str) -> None:
    pool = pool_in(namespace)
    where = path("deployments", namespace, pool.name)
    apply(api, creation(pool, uid=uid), force=False)
    apply(api, replicas_claim(pool, 0), SCALER_MANAGER)
    apply(api, deployment(pool, uid=uid))
    api.patch(f"{where}/scale", {"spec": {"replicas": 3}}, fieldManager=SCALER_MANAGER)
    with pytest.raises(RefusedError, match=r"spec\.replicas"):
        apply(api, creation(pool, uid=uid), force=False)
    assert api.get(where)["spec"]["replicas"] == 3


def test_without_the_claim_the_api_server_would_fill_in_one(api: Api, namespace: str, uid: str) -> None:
    pool = pool_in(namespace)
    apply(api, creation(pool, uid=uid), force=False)
    assert apply(api, deployment(pool, uid=uid))["spec"]["replicas"] == 1


def test_applying_the_same_again_changes_nothing(api: Api, namespace: str, uid: str) -> None:
    pool = pool_in(namespace, FULL)
    for body in (creation(pool, uid=uid), pod_disruption_budget(pool, uid=uid) or {}):
        first, again = apply(api, body)["metadata"], apply(api, copy.deepcopy(body))["metadata"]
        assert again["generation"] == first["generation"]
        # Controllers write fields of their own meanwhile; the time of our entry is that of our last change.
        assert again["managedFields"][0] == first["managedFields"][0]


def test_from_one_spec_to_another_and_back_nothing_is_left(api: Api, namespace: str, uid: str) -> None:
    specs = [SMALL, FULL, varied(broker={"urlSecretRef": {"name": "redis", "key": "url"}}, worker={"command": ["x"]})]
    for begin in specs:
        start = apply(api, creation(pool_in(namespace, begin), uid=uid))
        for other in specs:
            apply(api, creation(pool_in(namespace, other), uid=uid))
            back = apply(api, creation(pool_in(namespace, begin), uid=uid))
            assert back["spec"] == start["spec"]
            assert back["metadata"]["labels"] == start["metadata"]["labels"]
