"""The operator on a real API server: sizes follow the queues, in one write, and the story can be told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.control_plane.api import Api, Object, path
from tests.support.operator_process import OperatorProcess, worker_pool
from tests.support.waiting import eventually
from workerpool_operator.kube.owned import STAMP
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.models import WelcomeEmail
from workerpool_worker.producer import Producer

pytestmark = pytest.mark.integration

REVISION = "deployment.kubernetes.io/revision"


@pytest.fixture
def operator(
    operator_kubeconfig: Path, namespace: str, tmp_path: Path, simulated_nodes: list[str]
) -> Iterator[OperatorProcess]:
    with OperatorProcess(kubeconfig=operator_kubeconfig, namespace=namespace, folder=tmp_path) as running:
        yield running
        print(running.log.read_text()[-6000:])  # noqa: T201 - shown by pytest when the test fails


def enqueue(url: str, count: int) -> None:
    with Producer(url) as producer:
        producer.send_many([WelcomeEmail(id=str(n), customer="Ada", to="ada@example.org") for n in range(count)])


def size(api: Api, namespace: str, name: str) -> int | None:
    found: Object | None = api.find(path("deployments", namespace, name))
    return None if found is None else int(found["spec"]["replicas"])


def annotations_of(api: Api, namespace: str, name: str) -> set[str]:
    return set(api.get(path("deployments", namespace, name))["metadata"].get("annotations") or {})


def status(api: Api, namespace: str, name: str) -> Object:
    return dict(api.get(path("workerpools", namespace, name)).get("status") or {})


def test_zero_to_the_size_wanted_and_back(
    operator: OperatorProcess, api: Api, namespace: str, redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    api.create(worker_pool("email", namespace, redis_server.url))
    eventually(lambda: size(api, namespace, "email") == 0, 20, "a Deployment at zero")
    # a change of annotations counts as a generation too: the operator's stamp and the controller's revision come first
    eventually(lambda: {STAMP, REVISION} <= annotations_of(api, namespace, "email"), 20, "the Deployment is complete")
    born = api.get(path("deployments", namespace, "email"))
    enqueue(redis_server.url, 58)
    eventually(lambda: size(api, namespace, "email") == 6, 10, "six replicas for 58 jobs")
    grown = api.get(path("deployments", namespace, "email"))
    assert grown["metadata"]["generation"] == born["metadata"]["generation"] + 1, "one write of the size"
    eventually(lambda: status(api, namespace, "email").get("readyReplicas") == 6, 30, "six ready")
    redis_client.delete("email")
    eventually(lambda: size(api, namespace, "email") == 0, 20, "back at zero")
    eventually(lambda: status(api, namespace, "email").get("replicas") == 0, 20, "a status at zero")
    found = status(api, namespace, "email")
    assert found["observedGeneration"] == 1
    assert {one["type"]: one["status"] for one in found["conditions"]} == {
        "Ready": "True",
        "BrokerReachable": "True",
        "ScalingActive": "True",
        "ScalingLimited": "False",
    }
