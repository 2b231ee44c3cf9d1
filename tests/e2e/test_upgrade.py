"""The chart's life: uninstalling keeps pools and workers, upgrading brings the new CRD and leaves the workers alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.pods.kubectl import Kubectl
from tests.support.pods.shop import Rush, Shop, wanted
from tests.support.waiting import eventually
from tools.cluster import Cluster, shop

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]

CHART = Path(__file__).parents[2] / "charts" / "workerpool"
POOL = "lasting"


def test_uninstall_keeps_pools_and_workers_and_an_upgrade_changes_the_crd_and_no_pod(
    cluster: Cluster, kubectl: Kubectl, store: Shop, rush: Callable[..., Rush], tmp_path: Path
) -> None:
    kubectl.apply(_pool())
    kubectl.run("rollout", "status", f"deployment/{POOL}", "--timeout=120s")
    before = _pods(kubectl)
    assert len(before) == 2

    cluster.helm("uninstall", shop.RELEASE, "--namespace", shop.NAMESPACE, "--wait")
    assert not kubectl.items("deployments", "-l", "app.kubernetes.io/name=workerpool")
    assert POOL in {pool["metadata"]["name"] for pool in kubectl.items("workerpools")}
    assert _pods(kubectl) == before, "workers went with the operator"

    shop_chart = _previous(tmp_path)
    _install(cluster, shop_chart)
    assert not _knows_pausing(kubectl), "the older chart's CRD is there"
    assert _pods(kubectl) == before

    shop.chart(cluster)
    assert _knows_pausing(kubectl), "the CRD was not upgraded"
    assert _pods(kubectl) == before, "an upgrade of the chart replaced workers"
    kubectl.run("patch", "workerpool", POOL, "--type=merge", "-p", '{"spec":{"scaling":{"paused":true}}}')
    eventually(
        lambda: kubectl.json("get", "workerpool", POOL)["spec"]["scaling"].get("paused"), 20, "the new field is kept"
    )
    kubectl.run("delete", "workerpool", POOL, "--timeout=60s")

    sent = rush(5)
    store.send(sent)
    assert store.until_done(sent, 240).done == wanted(sent)
    eventually(lambda: not _pods(kubectl), 90, "the workers go with their pool")


def _pool() -> dict[str, Any]:
    return {
        "apiVersion": "workerpool.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": POOL},
        "spec": {
            "queues": [{"name": POOL}],
            "broker": {"urlSecretRef": {"name": "workerpool-redis", "key": "url"}},
            "minReplicas": 2,
            "maxReplicas": 3,
            "worker": {"envFrom": [{"secretRef": {"name": "shop"}}]},
        },
    }


def _pods(kubectl: Kubectl) -> set[str]:
    pods = kubectl.items("pods", "-l", f"workerpool.dev/pool={POOL}")
    return {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


def _previous(folder: Path) -> Path:
    """A chart as the one before might have been: an older version, whose CRD knows no pausing."""
    chart = Path(shutil.copytree(CHART, folder / "workerpool"))
    crd = yaml.safe_load((chart / "files/crd.yaml").read_text())
    for version in crd["spec"]["versions"]:
        scaling = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["scaling"]
        del scaling["properties"]["paused"]
    (chart / "files/crd.yaml").write_text(yaml.safe_dump(crd))
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": "0.0.9"}))
    return chart


def _install(cluster: Cluster, chart: Path) -> None:
    command = ["install", shop.RELEASE, str(chart), "--namespace", shop.NAMESPACE, "--wait", "--timeout", "180s"]
    cluster.helm(*command, timeout_s=200)


def _knows_pausing(kubectl: Kubectl) -> bool:
    crd = kubectl.json("get", "crd", "workerpools.workerpool.dev")
    scaling = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["scaling"]
    return "paused" in scaling["properties"]
