"""The pods of a pool: what the user says of them, hardened to pass the restricted Pod Security profile."""

from __future__ import annotations

import posixpath
from collections.abc import Container, Sequence
from typing import Any, Final

from workerpool_operator.kube.names import (
    BROKER_REVISION_ANNOTATION,
    CONTAINER,
    QUEUES_ANNOTATION,
    common_labels,
    selector_labels,
)
from workerpool_operator.kube.render_env import CA_DIR, environment
from workerpool_operator.kube.render_probes import ports, probes
from workerpool_operator.resource.base import Model
from workerpool_operator.resource.model import WorkerPool
from workerpool_operator.resource.worker import Worker

BUNDLED_USER: Final = 65532
"""The user and group that the bundled image runs as; of other images only that it is not root."""

_TMP: Final = "/tmp"  # noqa: S108 - the mount of the pod's own emptyDir

Body = dict[str, Any]


def pod_template(pool: WorkerPool, worker: Worker, *, worker_image: str, broker_revision: str | None) -> Body:
    """The pod template of the pool's Deployment; ``worker_image`` is run where the worker names no image."""
    annotations = {**worker.pod_annotations, QUEUES_ANNOTATION: ",".join(pool.queue_names)}
    if broker_revision is not None:
        annotations[BROKER_REVISION_ANNOTATION] = broker_revision
    labels = {**common_labels(pool.name), **worker.pod_labels, **selector_labels(pool.name)}
    return {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": _pod(pool, worker, worker.image or worker_image),
    }


def _pod(pool: WorkerPool, worker: Worker, image: str) -> Body:
    volumes, mounts = _volumes(pool, worker)
    pod: Body = {
        "containers": [_container(pool, worker, image, mounts)],
        "enableServiceLinks": False,
        "securityContext": _pod_security(worker),
        "terminationGracePeriodSeconds": worker.termination_grace_period_seconds,
        "volumes": volumes,
        "imagePullSecrets": [{"name": name} for name in dict.fromkeys(ref.name for ref in worker.image_pull_secrets)],
        "nodeSelector": worker.node_selector,
        "tolerations": _plain_list(worker.tolerations),
        "affinity": _plain(worker.affinity) if worker.affinity else {},
        "topologySpreadConstraints": [
            _spread(pool, entry) for entry in _plain_list(worker.topology_spread_constraints)
        ],
        "priorityClassName": worker.priority_class_name,
        # Named even where it is the default: the API server copies the name to the old field serviceAccount, which
        # nobody owns, and takes it back from there when the name is gone.
        "serviceAccountName": worker.service_account_name or "default",
    }
    if worker.service_account_name is None:
        # A worker that names no account has no business with the API server.
        pod["automountServiceAccountToken"] = False
    return _without_empty(pod)


def _container(pool: WorkerPool, worker: Worker, image: str, mounts: list[Body]) -> Body:
    args = worker.args or (("run",) if worker.is_bundled else ())
    return _without_empty(
        {
            "name": CONTAINER,
            "image": image,
            "imagePullPolicy": worker.image_pull_policy.value if worker.image_pull_policy else None,
            "command": list(worker.command),
            "args": list(args),
            "env": environment(pool, worker),
            "envFrom": _plain_list(worker.env_from),
            "resources": _resources(worker),
            "volumeMounts": mounts,
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
            **({"ports": ports(worker), **probes(worker)} if worker.is_bundled and args[0] == "run" else {}),
        }
    )


def _pod_security(worker: Worker) -> Body:
    security: Body = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if worker.is_bundled:
        security |= {
            "runAsUser": BUNDLED_USER,
            "runAsGroup": BUNDLED_USER,
            "fsGroup": BUNDLED_USER,
            # Without it every file of a large volume is visited at every start.
            "fsGroupChangePolicy": "OnRootMismatch",
        }
    return security


def _resources(worker: Worker) -> Body:
    # As text: a number would come back from the API server as text, and look changed.
    given = {"requests": worker.resources.requests, "limits": worker.resources.limits}
    return {kind: {name: str(amount) for name, amount in amounts.items()} for kind, amounts in given.items() if amounts}


def _spread(pool: WorkerPool, constraint: Body) -> Body:
    return {"labelSelector": {"matchLabels": selector_labels(pool.name)}} | constraint


def _volumes(pool: WorkerPool, worker: Worker) -> tuple[list[Body], list[Body]]:
    """Volumes and mounts: the user's, and ours under names and at places that are free."""
    volumes, mounts = _plain_list(worker.volumes), _plain_list(worker.volume_mounts)
    names = {volume["name"] for volume in volumes}
    places = {posixpath.normpath(mount["mountPath"]) for mount in mounts}
    own_volumes: list[Body] = []
    own_mounts: list[Body] = []
    if _TMP not in places:
        name = _free_name("workerpool-tmp", names)
        own_volumes.append({"name": name, "emptyDir": {}})
        own_mounts.append({"name": name, "mountPath": _TMP})
    ca = pool.broker.ca_secret_ref
    if ca is not None and CA_DIR not in places:
        name = _free_name("workerpool-broker-ca", names)
        items = [{"key": ca.key, "path": "ca.crt"}]
        own_volumes.append({"name": name, "secret": {"secretName": ca.name, "items": items}})
        own_mounts.append({"name": name, "mountPath": CA_DIR, "readOnly": True})
    return own_volumes + volumes, own_mounts + mounts


def _free_name(wanted: str, taken: Container[str]) -> str:
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name


def _plain(part: Model) -> Body:
    """A part of the resource as it was written."""
    body: Body = part.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    return body


def _plain_list(parts: Sequence[Model]) -> list[Body]:
    return [_plain(part) for part in parts]


def _without_empty(body: Body) -> Body:
    """Without what was not given: an apply owns even an empty list."""
    return {key: value for key, value in body.items() if value not in (None, [], {})}
