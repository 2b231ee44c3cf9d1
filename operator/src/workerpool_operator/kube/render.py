"""The objects that a pool owns, as the bodies of server-side applies. Pure: the same pool gives the same bytes.

``spec.replicas`` of the Deployment is never in :func:`deployment`: whoever applies a field owns it, and would set it
back at every apply. But a Deployment made without it starts with 1 pod. So a Deployment is made in two requests:

1. apply :func:`creation` as ``FIELD_MANAGER``, **without force**. It holds ``initial_replicas``. Should the Deployment
   exist after all (a stale cache), whoever owns its replicas makes this a conflict, and nothing is changed.
2. apply :func:`replicas_claim` as ``SCALER_MANAGER``: now both own the field.

From then on :func:`deployment` is applied as ``FIELD_MANAGER`` with force: it gives its share of the field up and the
value stays. Without the second request (a crash in between) the API server would put the default, 1, until the next
poll scales the pool. Scaling goes through the scale subresource as ``SCALER_MANAGER``.
"""

from __future__ import annotations

from typing import Any, Final

from workerpool_operator.kube.names import common_labels, selector_labels
from workerpool_operator.kube.render_pod import pod_template
from workerpool_operator.resource.model import API_VERSION, KIND, WorkerPool
from workerpool_operator.resource.worker import BUNDLED_IMAGE

Body = dict[str, Any]

REVISIONS: Final = 3
"""Old ReplicaSets kept to roll back to; the default of 10 is a lot of them with a thousand pools."""

PROGRESS_DEADLINE_S: Final = 300
"""After this a rollout that goes no further is told; long enough for a node to be added and an image to be fetched."""

MOST_EVICTED: Final = "25%"
"""How many of a pool's pods may be away at a time because nodes are drained; rounded up, so one always may."""


def deployment(
    pool: WorkerPool, *, uid: str, broker_revision: str | None = None, worker_image: str = BUNDLED_IMAGE
) -> Body:
    """The pool's Deployment, without its size.

    Args:
        pool: A pool with ``spec.worker``.
        uid: The pool's identity on the API server; it owns the Deployment.
        broker_revision: Something that changes when the Secret of the broker's address or CA does, and tells nothing
            of its value (its resourceVersion). The pods read it only at their start, so it renews them. None: they
            are left alone.
        worker_image: What runs where the pool names no image: the bundled worker, or a mirror's copy of it.

    Raises:
        ValueError: The pool has ``spec.deploymentRef``: that Deployment is somebody else's.
    """
    worker = pool.spec.worker
    if worker is None:
        raise ValueError(f"pool {pool} has no spec.worker: its Deployment is not rendered")
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(pool, uid),
        "spec": {
            "revisionHistoryLimit": REVISIONS,
            "progressDeadlineSeconds": PROGRESS_DEADLINE_S,
            # A new worker takes jobs before an old one stops: a busy pool keeps its capacity through a rollout.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "selector": {"matchLabels": selector_labels(pool.name)},
            "template": pod_template(pool, worker, worker_image=worker_image, broker_revision=broker_revision),
        },
    }


def initial_replicas(pool: WorkerPool) -> int:
    """The size of a Deployment that is just made: nothing was read yet, so the pin, else the minimum."""
    wanted = pool.spec.min_replicas if pool.spec.replicas is None else pool.spec.replicas
    return min(wanted, pool.spec.max_replicas)


def creation(
    pool: WorkerPool, *, uid: str, broker_revision: str | None = None, worker_image: str = BUNDLED_IMAGE
) -> Body:
    """The first apply of a Deployment that does not exist: as :func:`deployment`, and its initial size.

    Raises:
        ValueError: As :func:`deployment`.
    """
    body = deployment(pool, uid=uid, broker_revision=broker_revision, worker_image=worker_image)
    return {**body, "spec": {"replicas": initial_replicas(pool), **body["spec"]}}


def replicas_claim(pool: WorkerPool, replicas: int) -> Body:
    """The apply with which ``SCALER_MANAGER`` comes to own the size of the pool's Deployment, and only that."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": pool.name, "namespace": pool.namespace},
        "spec": {"replicas": replicas},
    }


def pod_disruption_budget(pool: WorkerPool, *, uid: str) -> Body | None:
    """A budget for draining nodes, or None where there is nothing to protect: no pods of ours, or one at most.

    An evicted worker finishes its job within its grace period, as at a scale-down. What the budget adds is that a
    drain does not take a whole pool at once: each eviction beyond a quarter waits for a replacement to be ready. It
    never blocks a drain for good: one pod may always go, and one that is not ready does not count.
    """
    if pool.spec.worker is None or pool.spec.max_replicas < 2:  # noqa: PLR2004
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(pool, uid),
        "spec": {
            "maxUnavailable": MOST_EVICTED,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector_labels(pool.name)},
        },
    }


def owner_reference(pool: WorkerPool, uid: str) -> Body:
    """What makes the garbage collector remove an object with its pool."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": pool.name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _metadata(pool: WorkerPool, uid: str) -> Body:
    # The pool's own labels are not passed on: a GitOps tool that tracks by label would take ours for its own.
    return {
        "name": pool.name,
        "namespace": pool.namespace,
        "labels": common_labels(pool.name),
        "ownerReferences": [owner_reference(pool, uid)],
    }
