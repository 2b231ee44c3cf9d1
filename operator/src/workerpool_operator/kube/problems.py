"""What can be wrong with a pool beside what its cycle tells: each with a reason, and which conditions it makes false.

Made by whoever finds it, with a message that says what to do and never holds a secret's value. Pure.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final


class ProblemKind(enum.StrEnum):
    """What is wrong; the earlier one gives ``Ready`` its reason where there are several."""

    INVALID_SPEC = "InvalidSpec"
    """The spec cannot be used; the pool is left as it is."""
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason, not a secret
    """A Secret that the broker needs does not exist."""
    SECRET_KEY_MISSING = "SecretKeyMissing"  # noqa: S105 - a reason, not a secret
    """The Secret exists and lacks the key."""
    SECRET_UNUSABLE = "SecretUnusable"  # noqa: S105 - a reason, not a secret
    """The Secret may not be read, or what it holds is not text."""
    BROKER_NOT_ALLOWED = "BrokerNotAllowed"
    """The broker's host is not among those the operator may talk to."""
    FOREIGN_DEPLOYMENT = "ForeignDeployment"
    """A Deployment of the pool's name exists and is not the pool's."""
    TARGET_NOT_FOUND = "TargetNotFound"
    """The Deployment that deploymentRef names does not exist."""
    TARGET_SHARED = "TargetShared"
    """An older pool scales the same Deployment."""
    TARGET_AUTOSCALED = "TargetAutoscaled"
    """A HorizontalPodAutoscaler scales the same Deployment."""
    APPLY_REFUSED = "ApplyRefused"
    """The API server refused what the spec renders to."""
    REPLICA_FAILURE = "ReplicaFailure"
    """Pods of the Deployment cannot be created: a quota, a policy, a missing service account."""
    ROLLOUT_STUCK = "RolloutStuck"
    """A new version of the workers does not become ready."""
    REPLICAS_NOT_READY = "ReplicasNotReady"
    """Pods of the Deployment are not ready for minutes: an image that cannot be fetched, a node that is missing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong, with one line a person can act on."""

    kind: ProblemKind
    message: str


_BROKER: Final = frozenset({"BrokerReachable", "ScalingActive"})
_SCALING: Final = frozenset({"ScalingActive"})
BLOCKS: Final[Mapping[ProblemKind, frozenset[str]]] = {
    ProblemKind.INVALID_SPEC: _SCALING,
    ProblemKind.SECRET_MISSING: _BROKER,
    ProblemKind.SECRET_KEY_MISSING: _BROKER,
    ProblemKind.SECRET_UNUSABLE: _BROKER,
    ProblemKind.BROKER_NOT_ALLOWED: _BROKER,
    ProblemKind.FOREIGN_DEPLOYMENT: _SCALING,
    ProblemKind.TARGET_NOT_FOUND: _SCALING,
    ProblemKind.TARGET_SHARED: _SCALING,
    ProblemKind.TARGET_AUTOSCALED: _SCALING,
}
"""The conditions, beside Ready, that a problem makes false; one that is not listed leaves the pool scaled."""

_ORDER: Final = {kind: place for place, kind in enumerate(ProblemKind)}


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The gravest first, each once."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: _ORDER[problem.kind]))


def blocking(problems: Iterable[Problem], condition: str) -> Problem | None:
    """The first problem that makes a condition false."""
    return next((problem for problem in problems if condition in BLOCKS.get(problem.kind, ())), None)


def invalid_spec(lines: Iterable[str]) -> Problem:
    """The spec cannot be used; ``lines`` are those of a ResourceError."""
    return Problem(kind=ProblemKind.INVALID_SPEC, message="; ".join(lines))


def secret_missing(field: str, *, secret: str) -> Problem:
    """A Secret that ``field`` names does not exist."""
    text = f"{field}: secret {secret} does not exist in the pool's namespace: create it, or correct the name"
    return Problem(kind=ProblemKind.SECRET_MISSING, message=text)


def secret_key_missing(field: str, *, secret: str, key: str) -> Problem:
    """The Secret that ``field`` names lacks the key."""
    text = f"{field}: secret {secret} has no key {key}: add it, or correct the name"
    return Problem(kind=ProblemKind.SECRET_KEY_MISSING, message=text)


def foreign_deployment(name: str) -> Problem:
    """A Deployment of the pool's name belongs to somebody else."""
    text = f"Deployment {name} exists and is not this pool's: delete or rename it, or scale it with spec.deploymentRef"
    return Problem(kind=ProblemKind.FOREIGN_DEPLOYMENT, message=text)


def target_not_found(name: str) -> Problem:
    """``deploymentRef`` names nothing."""
    text = f"spec.deploymentRef: Deployment {name} does not exist in the pool's namespace"
    return Problem(kind=ProblemKind.TARGET_NOT_FOUND, message=text)


def target_shared(name: str, *, pool: str) -> Problem:
    """An older pool scales the same Deployment."""
    text = f"Deployment {name} is scaled by the older WorkerPool {pool}: only one of them can; delete the other"
    return Problem(kind=ProblemKind.TARGET_SHARED, message=text)


def target_autoscaled(name: str, *, autoscaler: str) -> Problem:
    """A HorizontalPodAutoscaler scales the same Deployment."""
    text = f"Deployment {name} is scaled by HorizontalPodAutoscaler {autoscaler}: only one can: delete the autoscaler"
    return Problem(kind=ProblemKind.TARGET_AUTOSCALED, message=text)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentState:
    """What the Deployment's status says.

    ``replicas`` are the pods it has, ``ready`` those of them that are ready; ``conditions`` as the API server has them.
    """

    replicas: int
    ready: int
    conditions: tuple[Mapping[str, Any], ...] = ()


UNREADY_FOR_S: Final = 120.0
"""Pods may take this long to be ready before it is told: a node may have to be added, an image to be fetched."""


def deployment_problems(state: DeploymentState | None, *, name: str, now_s: float) -> tuple[Problem, ...]:
    """What the conditions of a Deployment say of its pods.

    A Deployment that is scaled up from zero is not rolled out, so an image that cannot be fetched never fails its
    ``Progressing``: only ``Available`` stays false. ``now_s`` is Unix time in seconds.
    """
    conditions = {str(one.get("type")): one for one in state.conditions} if state is not None else {}
    failure, progress = conditions.get("ReplicaFailure", {}), conditions.get("Progressing", {})
    if failure.get("status") == "True":
        text = f"Deployment {name}: pods cannot be created: {failure.get('message') or failure.get('reason')}"
        return (Problem(kind=ProblemKind.REPLICA_FAILURE, message=text),)
    look = f"kubectl describe pods -l workerpool.dev/pool={name}"
    if progress.get("status") == "False":
        text = f"Deployment {name}: its new version does not become ready; the old one works on ({look})"
        return (Problem(kind=ProblemKind.ROLLOUT_STUCK, message=text),)
    available = conditions.get("Available", {})
    since_s = _unix_s(available.get("lastTransitionTime"))
    if available.get("status") == "False" and since_s is not None and now_s - since_s >= UNREADY_FOR_S:
        text = f"Deployment {name}: pods are not ready for minutes ({look})"
        return (Problem(kind=ProblemKind.REPLICAS_NOT_READY, message=text),)
    return ()


def _unix_s(text: object) -> float | None:
    if not isinstance(text, str):
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else None
