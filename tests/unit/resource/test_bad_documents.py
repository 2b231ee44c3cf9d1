"""Every mistake has its line: exact wording, because the wording is what a user of the resource meets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.resource.bad_documents import ADDRESS, CASES, LABEL, NO_URL, address, broker, worker
from tests.unit.resource.documents import text_of, varied
from workerpool_operator.resource import ResourceError, World, load_pools

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("fields", "expected"), CASES, ids=[f"{n}-{line.split(':')[0]}" for n, (_, line) in enumerate(CASES)]
)
def test_a_mistake_has_exactly_its_line(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(ResourceError) as caught:
        load_pools(text_of(varied(**fields)))

    assert str(caught.value) == f"pools.yaml:4: {expected}"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"worker": ..., "deploymentRef": {"name": "a"}},
            "spec.deploymentRef: local mode has no Deployments; set worker instead (worker: {} is the bundled worker)",
        ),
        (
            worker(image="shop/mailer"),
            "spec.worker.image: local mode runs no images; set command to what the image would run",
        ),
        (broker(urlSecretRef={"name": "a", "key": "b"}), f"spec.broker: {ADDRESS}"),
    ],
)
def test_a_mistake_of_local_mode(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(ResourceError) as caught:
        load_pools(text_of(varied(**fields)), world=World.LOCAL)

    assert str(caught.value) == f"pools.yaml:4: {expected}"


@pytest.mark.parametrize("world", [World.LOCAL, World.SIMULATED])
@pytest.mark.parametrize("fields", [{"broker": ...}, {"broker": {}}, {"broker": {"layout": "RQ"}}])
def test_only_kubernetes_needs_a_broker(world: World, fields: dict[str, Any]) -> None:
    assert load_pools(text_of(varied(**fields)), world=world)[0].broker.url is None


def test_all_mistakes_are_told_at_once() -> None:
    document = varied(minReplicas=5, maxReplicas=3, replica="3", queues=[{"name": ""}], broker={"url": "x"})
    document["metadata"] = {"name": "Email", "namespace": 5}

    with pytest.raises(ResourceError) as caught:
        load_pools(text_of(document))

    assert str(caught.value).splitlines() == [
        f'pools.yaml:3: metadata.name: "Email" {LABEL}',
        "pools.yaml:3: metadata.namespace: must be text, not the number 5 (put it in quotes)",
        "pools.yaml:4: spec.queues[0].name: must not be empty",
        f"pools.yaml:4: spec.broker.url: {NO_URL}",
        "pools.yaml:4: spec.replica: unknown field; did you mean replicas?",
        "pools.yaml:4: spec.maxReplicas: 3 is less than minReplicas 5",
    ]


@pytest.mark.parametrize(
    "fields",
    [
        address("redis://:hunter2@r"),
        {"broker": "redis://:hunter2@r"},
        {"queues": [{"name": "redis://:hunter2@r,"}]},
        worker(image="redis://:hunter2@r x"),
        worker(env=[{"name": "A", "value": ["hunter2"]}]),
        worker(command=["a", {"hunter2": 1}], args="hunter2"),
        worker(podAnnotations={"a": 5, "b": ["hunter2"]}),
        broker(layout="redis://:hunter2@r"),
    ],
)
def test_what_may_be_a_secret_is_never_repeated(fields: dict[str, Any]) -> None:
    with pytest.raises(ResourceError) as caught:
        load_pools(text_of(varied(**fields)))

    assert "hunter2" not in str(caught.value)
