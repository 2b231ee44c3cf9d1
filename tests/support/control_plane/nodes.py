"""Simulated nodes: pods are scheduled, become ready and go away as on real ones, and run nowhere."""

from __future__ import annotations

import json
from pathlib import Path

from .api import Api, Object, path
from .local import LocalControlPlane

STAGES = Path(__file__).with_name("stages.yaml")
NODES = 4
PODS_PER_NODE = "1000"


def start_nodes(local: LocalControlPlane, count: int = NODES) -> None:
    """Start the scheduler and the simulator, and give them nodes."""
    kubeconfig = str(local.admin_kubeconfig)
    settings = local.folder / "scheduler.yaml"
    settings.write_text(json.dumps(_scheduler_settings(kubeconfig)), encoding="utf-8")
    local.run("kube-scheduler", "--config", str(settings), "--secure-port", "0")
    local.run(
        "kwok", "--kubeconfig", kubeconfig, "--config", str(STAGES), "--manage-all-nodes",
        "--cidr", "10.64.0.0/12", "--node-ip", "127.0.0.1",
    )  # fmt: skip
    with Api(local.admin_kubeconfig) as api:
        for number in range(count):
            api.create(node(f"simulated-{number}"))


def node(name: str) -> Object:
    """A node with room for many pods."""
    room = {"cpu": "1000", "memory": "4000Gi", "pods": PODS_PER_NODE}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "status": {"capacity": room, "allocatable": room},
    }


def ready_nodes(api: Api) -> list[str]:
    """The names of the nodes that are ready."""
    return [
        str(one["metadata"]["name"])
        for one in api.list(path("nodes"))
        if any(c["type"] == "Ready" and c["status"] == "True" for c in one["status"].get("conditions", []))
    ]


def _scheduler_settings(kubeconfig: str) -> Object:
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig, "qps": 1000, "burst": 2000},
        "leaderElection": {"leaderElect": False},
        "podInitialBackoffSeconds": 1,
        "podMaxBackoffSeconds": 1,
    }
