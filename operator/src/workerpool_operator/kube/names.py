"""Names on the API server that users, dashboards and other tools rely on: labels, annotations, field managers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from workerpool_operator.resource.base import RESERVED_PREFIX

POOL_LABEL: Final = f"{RESERVED_PREFIX}pool"
"""On everything a pool owns and on its pods; its value is the pool's name, which is short enough for one."""

QUEUES_ANNOTATION: Final = f"{RESERVED_PREFIX}queues"
"""On the pods: the queues with commas between. An annotation, since the names of queues are not fit for labels."""

BROKER_REVISION_ANNOTATION: Final = f"{RESERVED_PREFIX}broker-revision"
"""On the pods: changes when the Secret with the broker's address does, so that the workers are renewed."""

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
"""On a pod: among equally ready ones a ReplicaSet removes the one with the lowest first."""

CORDONED_ANNOTATION: Final = f"{RESERVED_PREFIX}cordoned"
"""On a pod whose workers were told to take no more jobs: JSON, the queues that each of them took jobs from."""

FIELD_MANAGER: Final = "workerpool-operator"
"""Owns what is rendered, by server-side apply."""

SCALER_MANAGER: Final = "workerpool-operator-scaler"
"""Owns ``spec.replicas`` and nothing else: see :mod:`workerpool_operator.kube.render`."""

CONTAINER: Final = "worker"
"""Name of the container in a pod."""

_PART_OF: Final = "workerpool"


def selector_labels(pool: str) -> dict[str, str]:
    """What tells the pods of a pool: a Deployment's selector can never be changed, so it is this label alone."""
    return {POOL_LABEL: pool}


def common_labels(pool: str) -> dict[str, str]:
    """The labels of everything that a pool owns."""
    return {
        "app.kubernetes.io/name": "workerpool-worker",
        "app.kubernetes.io/instance": pool,
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/part-of": _PART_OF,
        "app.kubernetes.io/managed-by": FIELD_MANAGER,
        **selector_labels(pool),
    }


def selector_text(labels: str | Mapping[str, str]) -> str:
    """A selector as ``status.selector`` has it (``a=b,c=d``): of a pool by its name, or of any labels."""
    wanted = selector_labels(labels) if isinstance(labels, str) else labels
    return ",".join(f"{key}={wanted[key]}" for key in sorted(wanted))
