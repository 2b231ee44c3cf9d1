"""What `helm install` with default values gives: all of it runs within the restricted profile and passes helm test."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.local_run import SCRIPTS
from tests.support.pods.kubectl import Kubectl
from tools.cluster import Cluster, shop

pytestmark = pytest.mark.e2e


def test_helm_test_passes(cluster: Cluster) -> None:
    assert "Phase:          Succeeded" in cluster.helm("test", shop.RELEASE, "--namespace", shop.NAMESPACE)


def test_two_operators_run_and_one_of_them_leads(kubectl: Kubectl) -> None:
    pods = kubectl.items("pods", "-l", "app.kubernetes.io/component=operator")
    assert len([pod for pod in pods if pod["status"]["phase"] == "Running"]) == 2
    holder = kubectl.json("get", "lease", "workerpool-operator")["spec"]["holderIdentity"]
    assert holder.split("_")[0] in {pod["metadata"]["name"] for pod in pods}


def test_everything_passes_the_restricted_profile_without_a_warning(kubectl: Kubectl) -> None:
    labels = kubectl.json("get", "namespace", shop.NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == labels["pod-security.kubernetes.io/warn"] == "restricted"
    # what is there, given to the API server once more: it would warn now as it would have then
    seen = len(kubectl.warnings)
    for kind in ("deployments", "statefulsets", "cronjobs"):
        objects = kubectl.json("get", kind)
        assert objects["items"]
        for body in objects["items"]:
            body["metadata"] = {key: body["metadata"][key] for key in ("name", "namespace")}
            body.pop("status")
            body["metadata"]["name"] += "-again"
            kubectl.run("create", "--dry-run=server", "-f", "-", given=json.dumps(body))
    assert kubectl.warnings[seen:] == []
    events = kubectl.items("events", "--field-selector", "type=Warning")
    assert not [event["message"] for event in events if "violates PodSecurity" in event["message"]]


def test_the_pools_are_at_zero_and_ready(kubectl: Kubectl) -> None:
    for pool in kubectl.items("workerpools"):
        conditions = {one["type"]: one["status"] for one in pool["status"]["conditions"]}
        assert conditions["Ready"] == conditions["BrokerReachable"] == "True", pool["status"]


def test_the_leader_explains_a_pool_through_the_api_server(kubectl: Kubectl) -> None:
    holder = kubectl.json("get", "lease", "workerpool-operator")["spec"]["holderIdentity"]
    command = [str(SCRIPTS / "kubectl-workerpool"), "explain", "wp/email", "--kubeconfig", str(kubectl.kubeconfig)]
    done = subprocess.run(
        [*command, "-n", shop.NAMESPACE, "-o", "json"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["decidedBy"] == holder
    # what other tests sent may still be on its way
    assert told["rules"][-1]["after"] == told["decision"]["target"] <= 1
