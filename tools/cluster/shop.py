"""Puts the product and the example shop into a cluster: the backing services, the chart, the pools."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from tools.cluster.errors import CommandError
from tools.cluster.images import ALL_IMAGES, ROOT, identity
from tools.cluster.kind import Cluster, digest_of
from tools.cluster.volumes import open_volumes

NAMESPACE: Final = "shop"
RELEASE: Final = "workerpool"
SAMPLES: Final = ("email", "order", "payment")
REDIS_IMAGE: Final = "redis:8"

_CHART: Final = ROOT / "charts" / "workerpool"
_SHOP: Final = ROOT / "manifests" / "shop"
_READY_S: Final = 300
_KINDS: Final = "deployments,statefulsets"


def services(cluster: Cluster) -> None:
    """The namespace (restricted Pod Security profile), its PostgreSQL and mail sink, the templates of load."""
    open_volumes(cluster)
    cluster.apply("--kustomize", str(_SHOP))


def chart(cluster: Cluster, *values: str, namespace: str = NAMESPACE) -> None:
    """Install or upgrade the chart, without waiting for its pods; ``values`` are further arguments of helm.

    Waiting is left to ``wait_for_rollouts``: helm would wait for pods that ``renew`` has yet to replace.
    """
    command = ["upgrade", "--install", RELEASE, str(_CHART), "--namespace", namespace, "--create-namespace"]
    cluster.helm(*command, *values, timeout_s=_READY_S)


def pools(cluster: Cluster, names: Iterable[str] = SAMPLES, *, namespace: str = NAMESPACE) -> None:
    """Apply sample pools and wait until the operator has made them ready."""
    samples = ROOT / "manifests" / "samples"
    for name in names:
        cluster.apply("--namespace", namespace, "--filename", str(samples / f"{name}.yaml"))
    wait = ["wait", "workerpools", *names, "--namespace", namespace, "--for", "condition=Ready"]
    cluster.kubectl(*wait, f"--timeout={_READY_S}s", timeout_s=_READY_S + 30)


def wait_for_rollouts(cluster: Cluster, *selector: str, namespace: str = NAMESPACE) -> None:
    """Wait until every Deployment and StatefulSet (that ``selector``, such as ``-l a=b``, picks) runs as it should."""
    command = ["rollout", "status", _KINDS, "--namespace", namespace, f"--timeout={_READY_S}s", *selector]
    cluster.kubectl(*command, timeout_s=_READY_S + 30)


def install(cluster: Cluster) -> None:
    """All of it, in order, for programs; the images have to be on the nodes."""
    services(cluster)
    chart(cluster)
    renew(cluster, [image.tag for image in ALL_IMAGES])
    wait_for_rollouts(cluster)
    pools(cluster)


def renew(cluster: Cluster, tags: Sequence[str], *, namespace: str = NAMESPACE) -> list[str]:
    """Replace pods that nobody else would; names like ``deployment/email`` or ``pod/postgres-0``.

    Those of an older image under one of these tags: a tag that was loaded anew gives Kubernetes no reason to look. And
    those of a StatefulSet's older revision that never became ready: it waits for them before it replaces them.
    """
    current = {tag: cluster.image_ids(tag) for tag in tags}
    pods = cluster.get("pods", "--namespace", namespace)["items"]
    workloads = _workloads(cluster, namespace)
    stale = sorted({_workload(pod["metadata"]) for pod in pods if _is_stale(pod, current)} & workloads.keys())
    if stale:
        cluster.kubectl("rollout", "restart", *stale, "--namespace", namespace)
        workloads = _workloads(cluster, namespace)
    stuck = [f"pod/{pod['metadata']['name']}" for pod in pods if _is_stuck(pod, workloads)]
    if stuck:
        cluster.kubectl("delete", *stuck, "--namespace", namespace, "--wait=false")
    return stale + stuck


def load_images(cluster: Cluster) -> list[str]:
    """Load this repository's images, and Redis's where Docker has it already; the tags that were loaded or were there.

    A Redis that Docker does not have, or has in a form that kind cannot load, is pulled by the node like any image.
    """
    tags = [image.tag for image in ALL_IMAGES]
    cluster.load(*tags)
    if identity(REDIS_IMAGE) is not None and not cluster.image_ids(REDIS_IMAGE):
        try:
            cluster.load(REDIS_IMAGE)
        except CommandError:
            return tags
    return [*tags, REDIS_IMAGE] if cluster.image_ids(REDIS_IMAGE) else tags


def trouble(cluster: Cluster, *, namespace: str = NAMESPACE) -> str:
    """Pods and warnings, for somebody who has to find out why something did not become ready."""
    parts = []
    for command in (
        ("get", "pods", "--output", "wide"),
        ("get", "events", "--field-selector", "type=Warning", "--sort-by", ".lastTimestamp"),
    ):
        try:
            said = cluster.kubectl(*command, "--namespace", namespace, timeout_s=20).rstrip()
        except CommandError as error:
            said = str(error)
        parts.append("\n".join(said.splitlines()[:1] + said.splitlines()[1:][-15:]))
    parts += [_last_words(cluster, pod["metadata"]["name"], namespace) for pod in _unready(cluster, namespace)]
    return "\n\n".join(part for part in parts if part)


def _unready(cluster: Cluster, namespace: str) -> list[Any]:
    """Pods whose containers are not all ready, except those of Jobs that are done."""
    try:
        pods = cluster.get("pods", "--namespace", namespace)["items"]
    except CommandError:
        return []
    waiting = (pod for pod in pods if pod["status"]["phase"] != "Succeeded")
    return [pod for pod in waiting if not _is_ready(pod)]


def _last_words(cluster: Cluster, pod: str, namespace: str) -> str:
    try:
        said = cluster.kubectl("logs", pod, "--namespace", namespace, "--tail", "5", "--all-containers", timeout_s=20)
    except CommandError as error:
        said = str(error)
    return f"{pod} says:\n{said.rstrip()}" if said.strip() else ""


def _is_stale(pod: Any, current: dict[str, frozenset[str]]) -> bool:
    asked = {container["name"]: container["image"] for container in pod["spec"]["containers"]}
    for status in pod["status"].get("containerStatuses", []):
        ids = current.get(asked[status["name"]])
        if ids and status.get("imageID") and digest_of(status["imageID"]) not in ids:
            return True
    return False


def _workload(metadata: Any) -> str:
    """Whose pod this is: ``deployment/NAME`` or ``statefulset/NAME``; "" of a Job's, which ends by itself."""
    for owner in metadata.get("ownerReferences", []):
        if owner["kind"] == "ReplicaSet":
            return "deployment/" + str(owner["name"]).rpartition("-")[0]
        if owner["kind"] == "StatefulSet":
            return f"statefulset/{owner['name']}"
    return ""


def _workloads(cluster: Cluster, namespace: str) -> dict[str, Any]:
    items = cluster.get(_KINDS, "--namespace", namespace)["items"]
    return {f"{item['kind'].lower()}/{item['metadata']['name']}": item for item in items}


def _is_stuck(pod: Any, workloads: dict[str, Any]) -> bool:
    """Whether this is a pod of a StatefulSet's older revision that is not ready."""
    owner = workloads.get(_workload(pod["metadata"]))
    if owner is None or owner["kind"] != "StatefulSet" or _is_ready(pod):
        return False
    revision = pod["metadata"].get("labels", {}).get("controller-revision-hash")
    return bool(revision != owner["status"].get("updateRevision"))


def _is_ready(pod: Any) -> bool:
    statuses = pod["status"].get("containerStatuses", [])
    return bool(statuses) and all(status["ready"] for status in statuses)
