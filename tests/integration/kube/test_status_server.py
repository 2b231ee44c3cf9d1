"""What is told of a pool, put in place on a real API server: it takes it, and gives it back as it was."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.support.control_plane.api import Api, path
from tests.unit.report.records import AWAY, START_S, make_record
from tests.unit.resource.documents import SMALL
from workerpool_operator.core.decision import Reason
from workerpool_operator.kube.events import event_body, events_for
from workerpool_operator.kube.problems import DeploymentState, invalid_spec
from workerpool_operator.kube.status import project
from workerpool_operator.ports import CycleRecord, PoolKey

pytestmark = pytest.mark.integration

BUSY = make_record(ready=1234, oldest_job_s=47.2, running=3, current=1, target=4, reason=Reason.WORK_WAITING)
RECORDS: dict[str, CycleRecord | None] = {
    "busy": BUSY,
    "away": make_record(ready=AWAY, running=AWAY, reason=Reason.BROKER_UNREADABLE),
    "invalid": None,
}


@pytest.fixture
def pool(api: Api, namespace: str) -> dict[str, Any]:
    document = copy.deepcopy(SMALL)
    document["metadata"]["namespace"] = namespace
    made: dict[str, Any] = api.create(document)
    return made


def test_a_status_comes_back_as_it_was_written_and_leaves_nothing_of_the_one_before(
    api: Api, pool: dict[str, Any]
) -> None:
    where = path("workerpools", pool["metadata"]["namespace"], "email", "status")
    for record in RECORDS.values():
        status = project(
            record,
            name="email",
            generation=1,
            selector="workerpool.dev/pool=email",
            previous=pool.get("status"),
            problems=() if record else (invalid_spec(["spec.minReplicas: is more than maxReplicas"]),),
            deployment=DeploymentState(replicas=1, ready=1),
            now_s=START_S,
        )
        pool = api.patch(where, [{"op": "add", "path": "/status", "value": status}], kind="json")
        assert json.dumps(pool["status"], sort_keys=True) == json.dumps(status, sort_keys=True)


def test_an_event_is_shown_with_its_pool(api: Api, pool: dict[str, Any]) -> None:
    namespace, uid = pool["metadata"]["namespace"], pool["metadata"]["uid"]
    (event,) = events_for(BUSY, None)
    key = PoolKey(namespace=namespace, name="email")
    body = event_body(event, key, uid=uid, time_s=START_S, instance="operator-1")
    api.create(body)
    (found,) = api.list(path("events", namespace), fieldSelector=f"involvedObject.uid={uid}")
    kept = body.keys() - {"apiVersion", "kind", "metadata"}
    assert {name: found[name] for name in kept} == {name: body[name] for name in kept}
