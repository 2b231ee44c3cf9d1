"""The CRD on a real API server: it installs, fills in what the model fills in, scales, and explains itself."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import config

from tests.support.control_plane.api import Api, RefusedError, path
from tests.support.waiting import eventually
from tests.unit.resource.documents import SMALL, VALID, varied
from workerpool_operator.kube.crd import NAME, crd, schema
from workerpool_operator.resource import load_pools, parse_pool

pytestmark = pytest.mark.integration

MANIFESTS = Path(__file__).resolve().parents[3] / "manifests"
DOCUMENTS = [
    (file.name, document)
    for file in sorted((MANIFESTS / "samples").glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
    if document["kind"] == "WorkerPool"
]
OPTIONAL = [
    *(("spec", name) for name in VALID["spec"] if name not in {"queues", "broker", "worker", "maxReplicas"}),
    *(("spec", part, name) for part in ("broker", "scaling", "worker") for name in VALID["spec"][part]),
]
ADDRESS = ("spec", "broker", "urlSecretRef")


def placed(document: dict[str, Any], namespace: str) -> dict[str, Any]:
    document = copy.deepcopy(document)
    document["metadata"] = {"name": document["metadata"]["name"], "namespace": namespace}
    return document


def largest() -> dict[str, Any]:
    """A pool with as much of everything as the rules look at."""
    keys = [f"{n:03}.{'d' * 49}/{'k' * 63}" for n in range(64)]
    url = "rediss+sentinel://" + ",".join(f"sentinel-{n}:26379" for n in range(100)) + "/service/0"
    times = {"start": "0 8 * * MON-FRI", "end": ",".join(map(str, range(40))) + " 9 * * *", "minReplicas": 1000}
    return {
        "queues": [{"name": f"{n:03}" + "q" * 250} for n in range(64)],
        "broker": {"url": url, "priorities": list(range(64))},
        "maxReplicas": 1000,
        "scaling": {"schedules": [{"name": f"s{n}", "timeZone": "Europe/Rome", **times} for n in range(32)]},
        "worker": {
            "env": [
                {"name": f"E{n}", "valueFrom": {"secretKeyRef": {"name": "s" * 253, "key": "k" * 253}}}
                for n in range(256)
            ],
            "envFrom": [{"secretRef": {"name": "s" * 253}}] * 32,
            "resources": {
                part: dict.fromkeys(keys[:16], "123456789012345678901234567890Ki") for part in ("requests", "limits")
            },
            "tolerations": [{"key": key, "value": "v" * 63} for key in keys[:32]],
            "volumes": [{"name": f"{n:03}" + "v" * 60, "emptyDir": {}} for n in range(32)],
            "volumeMounts": [{"name": "031" + "v" * 60, "mountPath": f"/{n:03}" + "m" * 1000} for n in range(32)],
            "podLabels": dict.fromkeys(keys, "v" * 63),
            "podAnnotations": dict.fromkeys(keys, "v" * 1000),
            "nodeSelector": dict.fromkeys(keys[:32], "v" * 63),
        },
    }


@pytest.fixture
def email(api: Api, namespace: str) -> str:
    """A pool whose size is left to the operator; where it is."""
    api.create(placed(SMALL, namespace), fieldValidation="Strict")
    return path("workerpools", namespace, "email")


def test_it_is_structural_and_established(api: Api) -> None:
    conditions = api.get(path("customresourcedefinitions", name=NAME))["status"]["conditions"]

    assert {one["type"]: one["status"] for one in conditions} == {"NamesAccepted": "True", "Established": "True"}


def test_the_server_keeps_all_of_it(api: Api) -> None:
    kept = api.get(path("customresourcedefinitions", name=NAME))["spec"]["versions"][0]

    assert kept == crd()["spec"]["versions"][0]


@pytest.mark.parametrize(
    "document", [*(document for _, document in DOCUMENTS), VALID, SMALL], ids=[*(n for n, _ in DOCUMENTS), "all", "few"]
)
def test_what_the_server_fills_in_is_what_the_model_fills_in(
    api: Api, namespace: str, document: dict[str, Any]
) -> None:
    given = placed(document, namespace)
    kept = api.create(given, fieldValidation="Strict")

    assert parse_pool(kept).spec == parse_pool(given).spec
    assert load_pools(yaml.safe_dump(kept))[0].spec == parse_pool(given).spec


def test_the_largest_pool_is_within_the_budget_of_the_rules(api: Api, namespace: str) -> None:
    document = placed({**SMALL, "spec": largest()}, namespace)

    assert parse_pool(api.create(document, fieldValidation="Strict")).spec == parse_pool(document).spec


def test_a_null_is_as_good_as_nothing(api: Api, namespace: str) -> None:
    nulls = varied(minReplicas=None, replicas=None, scaling=None, deploymentRef=None)
    nulls["spec"]["broker"] |= {"layout": None, "urlSecretRef": None, "priorities": None}
    kept = api.create(placed(nulls, namespace), fieldValidation="Strict")

    assert parse_pool(kept).spec == parse_pool(SMALL).spec


def test_a_whole_number_with_a_fraction_of_nothing_is_kept_as_a_whole_number(api: Api, namespace: str) -> None:
    kept = api.create(placed(varied(scaling={"pollIntervalMilliseconds": 500.0}), namespace))

    assert parse_pool(kept).spec.scaling.poll_interval_milliseconds == 500


def test_fields_that_come_and_go_leave_nothing_behind(api: Api, namespace: str) -> None:
    whole = placed(VALID, namespace)
    start = api.apply(whole)["spec"]
    for place in OPTIONAL:
        changed = copy.deepcopy(whole)
        parent = changed
        for part in place[:-1]:
            parent = parent[part]
        del parent[place[-1]]
        if place == ADDRESS:
            parent["url"] = "rediss://redis:6379/0"
        if place[-1] == "volumes":
            del parent["volumeMounts"]
        other = api.apply(changed)
        assert parse_pool(other).spec == parse_pool(changed).spec, place
        assert api.apply(whole)["spec"] == start, place


def test_a_pool_is_pinned_by_kubectl_scale_and_freed_by_null(api: Api, email: str) -> None:
    assert "replicas" not in api.get(email)["spec"]
    before = api.get(email)["spec"]

    api.scale(email, 3)
    assert api.get(email)["spec"] == {**before, "replicas": 3}
    api.patch(email, {"spec": {"replicas": None}})
    assert api.get(email)["spec"] == before
    api.scale(email, 0)
    assert api.get(email)["spec"]["replicas"] == 0


def test_a_pool_is_not_scaled_beyond_its_bounds(api: Api, email: str) -> None:
    with pytest.raises(RefusedError, match=r"replicas must not be more than maxReplicas"):
        api.scale(email, 11)
    api.scale(email, 10)
    with pytest.raises(RefusedError, match=r"spec\.replicas"):
        api.patch(email, {"spec": {"maxReplicas": 9}})


def test_the_scale_tells_of_the_status(api: Api, email: str) -> None:
    api.scale(email, 3)
    api.patch(f"{email}/status", {"status": {"replicas": 2, "selector": "workerpool.dev/pool=email"}})
    scale = api.get(f"{email}/scale")

    assert (scale["spec"], scale["status"]) == (
        {"replicas": 3},
        {"replicas": 2, "selector": "workerpool.dev/pool=email"},
    )


STATUS = {
    "observedGeneration": 1,
    "replicas": 3,
    "readyReplicas": 2,
    "desiredReplicas": 4,
    "lastScaleTime": "2026-01-02T03:04:05Z",
    "backlog": {"ready": 40, "running": 2, "scheduled": 7, "oldestJobSeconds": 12},
    "conditions": [
        {
            "type": "ScalingActive",
            "status": "True",
            "reason": "Backlog",
            "message": "42 jobs for 10 each",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
            "observedGeneration": 1,
        }
    ],
}


def test_the_status_is_kept_apart_from_the_spec(api: Api, email: str) -> None:
    api.patch(email, {"status": STATUS})
    assert "status" not in api.get(email)
    api.patch(f"{email}/status", {"status": STATUS, "spec": {"maxReplicas": 99}})
    kept = api.get(email)

    assert (kept["status"], kept["spec"]["maxReplicas"], kept["metadata"]["generation"]) == (STATUS, 10, 1)
    assert parse_pool(kept).spec == parse_pool(SMALL).spec


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"readyReplicas": -1}, "status.readyReplicas"),
        ({"conditions": [{"type": "Ready"}]}, "status.conditions[0].reason"),
        ({"conditions": [{**STATUS["conditions"][0], "status": "Yes"}]}, "status.conditions[0].status"),  # type: ignore[index]
        ({"conditions": STATUS["conditions"] * 2}, "status.conditions[1]"),  # type: ignore[operator]
        ({"lastScaleTime": "yesterday"}, "status.lastScaleTime"),
        ({"backlog": {"ready": "many"}}, "status.backlog.ready"),
    ],
)
def test_a_status_that_is_none_is_refused(api: Api, email: str, change: dict[str, Any], field: str) -> None:
    with pytest.raises(RefusedError) as caught:
        api.patch(f"{email}/status", {"status": change})

    assert field in caught.value.message


def test_kubectl_get_shows_the_columns(api: Api, email: str) -> None:
    api.patch(f"{email}/status", {"status": STATUS})
    with config.new_client_from_config(str(api.kubeconfig)) as client:  # type: ignore[no-untyped-call]
        headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        where = email.rpartition("/")[0]
        client.update_params_for_auth(headers, [], ["BearerToken"], where, "GET", None)
        answer = client.call_api("GET", f"{api.url}{where}", header_params=headers)
        table = json.loads(answer.read())
    shown = {
        column["name"]: cell for column, cell in zip(table["columnDefinitions"], table["rows"][0]["cells"], strict=True)
    }

    assert shown | {"Age": "now"} == {
        "Name": "email", "Ready": 2, "Desired": 4, "Min": 0, "Max": 10, "Backlog": 40, "Reason": "Backlog",
        "Pinned": None, "Running": 2, "Scheduled": 7, "Oldest": 12, "Layout": "Celery",
        "Message": "42 jobs for 10 each", "Age": "now",
    }  # fmt: skip


def test_kubectl_explain_has_the_reference(api: Api) -> None:
    def published() -> dict[str, Any] | None:
        schemas = api.get("/openapi/v3/apis/workerpool.dev/v1alpha1")["components"]["schemas"]
        found: dict[str, Any] | None = schemas.get("dev.workerpool.v1alpha1.WorkerPool")
        return found

    explained = eventually(published, 30, "the OpenAPI document of the kind")
    assert explained is not None
    scaling = explained["properties"]["spec"]["properties"]["scaling"]
    ours = schema()["properties"]["spec"]["properties"]["scaling"]

    assert scaling["description"] == 'What "fast enough" means, and how quickly the pool may change.'
    assert {name: field["description"] for name, field in scaling["properties"].items()} == {
        name: field["description"] for name, field in ours["properties"].items()
    }
    assert scaling["properties"]["pollIntervalMilliseconds"]["description"] == (
        "How often the queues are read, in milliseconds. [100 to 60000; default 1000]"
    )
