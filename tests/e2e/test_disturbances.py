"""Nothing is lost and nothing done twice, whatever is done to workers and operators under load."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.pods.ends import disturbed
from tests.support.pods.kubectl import Kubectl, KubectlError
from tests.support.pods.node import Node
from tests.support.pods.shop import Rush, Shop, wanted
from tests.support.pods.watcher import PodWatcher
from tests.support.waiting import eventually
from tools.cluster import WORKER, Cluster, shop

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

LATENCY_MS = 1500
"""How long a charge takes here: as long as payments wait, every payment worker is busy."""

NEXT_IMAGE = WORKER.tag + "-next"


@pytest.fixture(scope="module", autouse=True)
def slow_payments(kubectl: Kubectl) -> Iterator[None]:
    """Charges that take time, so that a worker is busy whenever one looks."""
    env = [{"name": "SANDBOX_LATENCY_MS", "value": str(LATENCY_MS)}]
    _change(kubectl, {"worker": {"env": env}})
    yield
    _change(kubectl, {"worker": {"env": None}})


@pytest.fixture
def next_image(cluster: Cluster, kubectl: Kubectl) -> Iterator[str]:
    """Another image, on the node before the load begins."""
    subprocess.run(["docker", "tag", WORKER.tag, NEXT_IMAGE], check=True)
    cluster.load(NEXT_IMAGE)
    yield NEXT_IMAGE
    _change(kubectl, {"worker": {"image": None}})


@pytest.fixture
def under_load(
    kubectl: Kubectl, node: Node, store: Shop, watcher: PodWatcher, rush: Callable[..., Rush]
) -> Iterator[Callable[[], str]]:
    """A rush that is under way; gives the name of a payment worker that works. Afterwards every effect is counted."""
    sent = rush(12, payments=100)
    store.send(sent)

    def busy() -> str:
        return eventually(lambda: _working(kubectl, store, sent), 150, "a payment worker at work", every_s=0.2) or ""

    busy()
    yield busy
    counted = store.until_done(sent, 240)
    assert counted.done == wanted(sent)
    assert counted.twice == {}


def test_a_rolling_update_of_the_worker_image(
    next_image: str, kubectl: Kubectl, node: Node, watcher: PodWatcher, under_load: Callable[[], str]
) -> None:
    under_load()
    _change(kubectl, {"worker": {"image": next_image}})
    eventually(lambda: _images(kubectl) == {next_image}, 120, "all workers on the new image", every_s=0.5)
    harm = disturbed(watcher.seen(node.kept_logs(shop.NAMESPACE, "payment-")), watcher)
    assert (harm.cut_off, harm.killed) == ((), ()), "an old worker did not finish its job"


def test_a_sigkill_of_a_worker_from_the_node(
    kubectl: Kubectl, node: Node, watcher: PodWatcher, under_load: Callable[[], str]
) -> None:
    name = under_load()
    status = kubectl.json("get", "pod", name)["status"]["containerStatuses"][0]
    node.kill(status["containerID"])
    eventually(lambda: any(end.pod == name and end.exit_code == 137 for end in watcher.ended()), 60, f"{name} killed")


def test_a_busy_pod_that_is_deleted_by_hand_finishes_its_job(
    kubectl: Kubectl, node: Node, watcher: PodWatcher, under_load: Callable[[], str]
) -> None:
    name = under_load()
    kubectl.run("delete", "pod", name, "--timeout=120s")
    harm = disturbed(watcher.seen(node.kept_logs(shop.NAMESPACE, "payment-")), watcher)
    assert (harm.cut_off, harm.killed) == ((), ())


def test_a_rollout_restart_of_the_operator(kubectl: Kubectl, under_load: Callable[[], str]) -> None:
    under_load()
    before = _workers(kubectl)
    kubectl.run("rollout", "restart", "deployment/workerpool-operator")
    kubectl.run("rollout", "status", "deployment/workerpool-operator", "--timeout=180s", timeout_s=200)
    assert before, "there were no workers"
    assert before <= _workers(kubectl), "workers went with the operator"


def test_a_leader_that_is_gone_without_a_word_is_followed(kubectl: Kubectl, under_load: Callable[[], str]) -> None:
    under_load()
    first = _leader(kubectl)
    kubectl.run("delete", "pod", first, "--grace-period=0", "--force")
    eventually(lambda: _leader(kubectl) not in ("", first), 60, "another leader", every_s=0.2)


def _change(kubectl: Kubectl, spec: dict[str, Any]) -> None:
    """Change the payment pool and wait until its Deployment was changed and rolled out."""

    def template() -> Any:
        return kubectl.json("get", "deployment", "payment")["spec"]["template"]

    before = template()
    kubectl.run("patch", "workerpool", "payment", "--type=merge", "-p", json.dumps({"spec": spec}))
    eventually(lambda: template() != before, 30, f"the Deployment to follow {spec}", every_s=0.2)
    kubectl.run("rollout", "status", "deployment/payment", "--timeout=180s", timeout_s=200)


def _working(kubectl: Kubectl, store: Shop, sent: Rush) -> str | None:
    """A payment worker that is ready while charges of the rush are still missing: then all of them are at one."""
    if store.count(sent).done["charges"] >= sent.orders + sent.payments - 12:
        raise AssertionError("the payments are nearly through: nobody is busy any more")
    for pod in kubectl.items("pods", "-l", "workerpool.dev/pool=payment", "--field-selector", "status.phase=Running"):
        conditions = {one["type"]: one["status"] for one in pod["status"]["conditions"]}
        if conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
            return str(pod["metadata"]["name"])
    return None


def _workers(kubectl: Kubectl) -> set[str]:
    return {pod["metadata"]["uid"] for pod in kubectl.items("pods", "-l", "workerpool.dev/pool=payment")}


def _images(kubectl: Kubectl) -> set[str]:
    pods = kubectl.items("pods", "-l", "workerpool.dev/pool=payment")
    return {pod["spec"]["containers"][0]["image"] for pod in pods}


def _leader(kubectl: Kubectl) -> str:
    """The pod that holds the Lease, if it exists."""
    try:
        holder = kubectl.json("get", "lease", "workerpool-operator")["spec"].get("holderIdentity") or ""
    except KubectlError:
        return ""
    return str(holder).split("_")[0]
