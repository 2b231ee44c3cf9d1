"""Which pods have to be replaced because nobody else would."""

from __future__ import annotations

from typing import Any

import pytest

from tools.cluster.shop import _is_stale, _is_stuck, _workload

TAG = "ghcr.io/workerpool/worker:0.1.0"
NEW, OLD = "a" * 64, "b" * 64


def pod(*, image_id: str = "", ready: bool = True, revision: str = "r1", owner: tuple[str, str] | None = None) -> Any:
    owners = [{"kind": owner[0], "name": owner[1]}] if owner else []
    return {
        "metadata": {"name": "p", "ownerReferences": owners, "labels": {"controller-revision-hash": revision}},
        "spec": {"containers": [{"name": "worker", "image": TAG}]},
        "status": {"containerStatuses": [{"name": "worker", "ready": ready, "imageID": image_id}]},
    }


@pytest.mark.parametrize("dress", ["sha256:{}", "docker.io/library/import-2026@sha256:{}"])
def test_a_pod_of_an_older_image_is_stale(dress: str) -> None:
    current = {TAG: frozenset({NEW})}
    assert _is_stale(pod(image_id=dress.format(OLD)), current)
    assert not _is_stale(pod(image_id=dress.format(NEW)), current)


def test_a_pod_that_has_not_started_or_runs_another_image_is_not_stale() -> None:
    assert not _is_stale(pod(image_id=""), {TAG: frozenset({NEW})})
    assert not _is_stale(pod(image_id=f"sha256:{OLD}"), {"redis:8": frozenset({NEW})})
    assert not _is_stale(pod(image_id=f"sha256:{OLD}"), {TAG: frozenset()})


def test_the_workload_is_found_by_the_owner() -> None:
    assert _workload(pod(owner=("ReplicaSet", "my-mail-5f6d"))["metadata"]) == "deployment/my-mail"
    assert _workload(pod(owner=("StatefulSet", "postgres"))["metadata"]) == "statefulset/postgres"
    assert _workload(pod(owner=("Job", "rush-1"))["metadata"]) == ""
    assert _workload(pod()["metadata"]) == ""


@pytest.mark.parametrize(
    ("ready", "revision", "stuck"),
    [(False, "r1", True), (True, "r1", False), (False, "r2", False), (True, "r2", False)],
)
def test_only_an_unready_pod_of_an_older_revision_is_stuck(ready: bool, revision: str, stuck: bool) -> None:
    workloads = {"statefulset/redis": {"kind": "StatefulSet", "status": {"updateRevision": "r2"}}}
    assert _is_stuck(pod(ready=ready, revision=revision, owner=("StatefulSet", "redis")), workloads) is stuck


def test_a_deployments_pod_is_never_stuck() -> None:
    workloads = {"deployment/mail": {"kind": "Deployment", "status": {}}}
    assert not _is_stuck(pod(ready=False, owner=("ReplicaSet", "mail-5f6d")), workloads)
