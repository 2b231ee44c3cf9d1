"""The objects that watches report, kept small: what of each is needed, and no more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from workerpool_operator.kube.names import CORDONED_ANNOTATION, DELETION_COST
from workerpool_operator.ports import PoolKey
from workerpool_operator.resource import ResourceError, WorkerPool, World, parse_pool

Body = Mapping[str, Any]
Name = tuple[str, str]
"""Namespace and name of an object."""

_COMPARED = ("labels", "annotations")
"""What is kept of the metadata of an owned Deployment; the fields' managers alone would be most of the memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolObject:
    """A WorkerPool as the API server has it: parsed, or with what is wrong with it."""

    key: PoolKey
    uid: str
    generation: int
    version: int
    pool: WorkerPool | None
    problems: tuple[str, ...]
    status: Body
    body: Body
    created: str = ""

    @property
    def target(self) -> Name:
        """The Deployment that is scaled."""
        spec = self.body.get("spec") or {}
        ref = spec.get("deploymentRef") or {}
        return self.key.namespace, str(ref.get("name") or self.key.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentObject:
    """A Deployment: what scaling needs, and its whole body where a pool owns it."""

    name: Name
    uid: str
    version: int
    generation: int
    replicas: int
    pods: int
    ready: int
    owner_uid: str | None
    owner_pool: str | None
    """The name of the WorkerPool that owns it, or did: its uid tells which."""
    match_labels: Body
    conditions: tuple[Body, ...]
    kept: str | None = None
    """JSON of what is compared of an owned Deployment: a tenth of the memory that it takes as objects."""

    @property
    def body(self) -> Body | None:
        """Labels, annotations and spec without its size, of an owned Deployment."""
        return None if self.kept is None else cast("Body", json.loads(self.kept))

    @property
    def essence(self) -> object:
        """All but its size and its status."""
        return self.uid, self.owner_uid, self.match_labels, self.kept


@dataclass(frozen=True, kw_only=True, slots=True)
class PodObject:
    """A pod of some pool's Deployment."""

    name: Name
    version: int
    labels: Body
    ready: bool
    leaving: bool
    ended: bool
    deletion_cost: int
    cordon: str = ""
    """Its annotation that says that its workers take no more jobs."""


def version_of(body: Body) -> int:
    """The resource version as a number, 0 where there is none; they grow (Kubernetes KEP-5504 makes that a promise)."""
    text = str((body.get("metadata") or {}).get("resourceVersion") or "")
    return int(text) if text.isdigit() else 0


def name_of(body: Body) -> Name:
    """Namespace and name."""
    metadata = body["metadata"]
    return str(metadata.get("namespace") or ""), str(metadata["name"])


def key_of(body: Body) -> PoolKey:
    """The identity of a WorkerPool."""
    namespace, name = name_of(body)
    return PoolKey(namespace=namespace, name=name)


def spec_id(body: Body) -> tuple[str, int]:
    """What stays the same while the spec does."""
    metadata = body["metadata"]
    return str(metadata.get("uid") or ""), int(metadata.get("generation") or 0)


def pool_object(body: Body) -> PoolObject:
    """Parse a WorkerPool; what is wrong with it is kept as lines, never raised."""
    metadata = body["metadata"]
    pool: WorkerPool | None = None
    problems: tuple[str, ...] = ()
    try:
        pool = parse_pool(body, world=World.KUBERNETES)
    except ResourceError as error:
        problems = tuple(str(problem) for problem in error.problems)
    namespace, name = name_of(body)
    return PoolObject(
        key=PoolKey(namespace=namespace, name=name),
        uid=str(metadata.get("uid") or ""),
        generation=int(metadata.get("generation") or 0),
        version=version_of(body),
        pool=pool,
        problems=problems,
        status=dict(body.get("status") or {}),
        body={"spec": body.get("spec") or {}, "metadata": {"name": name, "namespace": namespace}},
        created=str(metadata.get("creationTimestamp") or ""),
    )


def deployment_object(body: Body) -> DeploymentObject:
    """Take from a Deployment what is needed."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    owner = next((one for one in metadata.get("ownerReferences") or () if one.get("controller")), None)
    owned = owner is not None and owner.get("kind") == "WorkerPool"
    replicas = spec.get("replicas")
    return DeploymentObject(
        name=name_of(body),
        uid=str(metadata.get("uid") or ""),
        version=version_of(body),
        generation=int(metadata.get("generation") or 0),
        replicas=1 if replicas is None else int(replicas),
        pods=int(status.get("replicas") or 0),
        ready=int(status.get("readyReplicas") or 0),
        owner_uid=str(owner.get("uid")) if owner is not None else None,
        owner_pool=str(owner.get("name")) if owned and owner is not None else None,
        match_labels=dict((spec.get("selector") or {}).get("matchLabels") or {}),
        conditions=tuple(status.get("conditions") or ()),
        kept=_kept(metadata, spec) if owned else None,
    )


def _kept(metadata: Body, spec: Body) -> str:
    part = {key: metadata.get(key) or {} for key in _COMPARED}
    return json.dumps({"metadata": part, "spec": {key: value for key, value in spec.items() if key != "replicas"}})


def pod_object(body: Body) -> PodObject:
    """Take from a pod what is needed."""
    metadata, status = body["metadata"], body.get("status") or {}
    conditions = status.get("conditions") or ()
    annotations = metadata.get("annotations") or {}
    cost = str(annotations.get(DELETION_COST) or "0")
    return PodObject(
        name=name_of(body),
        version=version_of(body),
        labels=dict(metadata.get("labels") or {}),
        ready=any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions),
        leaving=bool(metadata.get("deletionTimestamp")),
        ended=status.get("phase") in {"Succeeded", "Failed"},
        deletion_cost=int(cost) if cost.lstrip("-").isdigit() else 0,
        cordon=str(annotations.get(CORDONED_ANNOTATION) or ""),
    )
