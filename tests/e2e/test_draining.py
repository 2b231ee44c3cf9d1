"""A pool shrinks around a job that is under way, and takes the worker back when the load returns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.pods.ends import disturbed
from tests.support.pods.kubectl import Kubectl
from tests.support.pods.node import Node
from tests.support.pods.shop import Rush, Shop, wanted
from tests.support.pods.watcher import PodWatcher
from tests.support.waiting import eventually
from tools.cluster import shop

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

CHARGE_S = 40
"""How long a charge takes here."""

CORDONED = "workerpool.dev/cordoned"


@pytest.fixture
def two_workers(kubectl: Kubectl) -> Iterator[set[str]]:
    """The names of two payment workers whose charges take long."""
    slow = [{"name": "SANDBOX_LATENCY_MS", "value": str(CHARGE_S * 1000)}]
    _patch(kubectl, {"replicas": 2, "worker": {"env": slow}})
    eventually(lambda: _slow(kubectl), 30, "the Deployment to follow", every_s=0.2)
    kubectl.run("rollout", "status", "deployment/payment", "--timeout=180s", timeout_s=200)
    yield eventually(lambda: _two(kubectl), 60, "two workers", every_s=0.5)
    _patch(kubectl, {"replicas": None, "worker": {"env": None}})


def test_no_job_is_cut_off_and_no_pod_made_in_vain(
    two_workers: set[str],
    kubectl: Kubectl,
    node: Node,
    store: Shop,
    watcher: PodWatcher,
    rush: Callable[..., Rush],
) -> None:
    # those of tests before this one may still be going
    others = {pod["metadata"]["name"] for pod in kubectl.items("pods", "-l", "workerpool.dev/pool=payment")}
    sent = rush(0, payments=1)
    store.send(sent)
    _patch(kubectl, {"replicas": 1})
    eventually(lambda: len(_pods(kubectl)) == 1, 30, "the idle one gone", every_s=0.2)
    (busy,) = _pods(kubectl)
    assert store.count(sent).done["charges"] == 0, "its job runs"

    _patch(kubectl, {"replicas": 0})
    eventually(lambda: CORDONED in _pods(kubectl)[busy], 20, "the busy one cordoned", every_s=0.2)
    eventually(lambda: _size(kubectl) == 0, 20, "nobody wanted", every_s=0.2)
    _patch(kubectl, {"replicas": 1})
    eventually(lambda: CORDONED not in _pods(kubectl)[busy], 20, "the busy one given back", every_s=0.2)
    assert store.count(sent).done["charges"] == 0, "its job still runs"

    _patch(kubectl, {"replicas": 0})
    counted = store.until_done(sent, CHARGE_S + 60)
    assert counted.done == wanted(sent)
    assert counted.twice == {}
    eventually(lambda: not _pods(kubectl), 60, "nobody left", every_s=0.5)
    assert {pod["metadata"]["name"] for pod in watcher.of_pool("payment")} <= two_workers | others, "no other pod"
    harm = disturbed(watcher.seen(node.kept_logs(shop.NAMESPACE, "payment-")), watcher)
    assert (harm.cut_off, harm.killed) == ((), ())


def _patch(kubectl: Kubectl, spec: dict[str, Any]) -> None:
    kubectl.run("patch", "workerpool", "payment", "--type=merge", "-p", json.dumps({"spec": spec}))


def _size(kubectl: Kubectl) -> int:
    return int(kubectl.json("get", "workerpool", "payment")["status"]["desiredReplicas"])


def _slow(kubectl: Kubectl) -> bool:
    (container,) = kubectl.json("get", "deployment", "payment")["spec"]["template"]["spec"]["containers"]
    return {"name": "SANDBOX_LATENCY_MS", "value": str(CHARGE_S * 1000)} in container["env"]


def _two(kubectl: Kubectl) -> set[str]:
    names = set(_pods(kubectl))
    assert len(names) == 2, names
    return names


def _pods(kubectl: Kubectl) -> dict[str, dict[str, str]]:
    """The annotations of the payment workers that stay, by pod."""
    return {
        pod["metadata"]["name"]: pod["metadata"].get("annotations") or {}
        for pod in kubectl.items("pods", "-l", "workerpool.dev/pool=payment")
        if "deletionTimestamp" not in pod["metadata"]
    }
