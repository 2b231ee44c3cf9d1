"""Where the API server keeps things: the paths this operator uses, and what a path is about. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

GROUP = "workerpool.dev"
VERSION = "v1alpha1"


def deployments(namespace: str | None = None) -> str:
    """The Deployments of a namespace, or of all."""
    return _path("apps/v1", "deployments", namespace)


def deployment(namespace: str, name: str) -> str:
    """One Deployment."""
    return _path("apps/v1", "deployments", namespace, name)


def deployment_scale(namespace: str, name: str) -> str:
    """The scale subresource of a Deployment."""
    return deployment(namespace, name) + "/scale"


def pods(namespace: str | None = None) -> str:
    """The pods of a namespace, or of all."""
    return _path("v1", "pods", namespace)


def pod(namespace: str, name: str) -> str:
    """One pod."""
    return _path("v1", "pods", namespace, name)


def workerpools(namespace: str | None = None) -> str:
    """The WorkerPools of a namespace, or of all."""
    return _path(f"{GROUP}/{VERSION}", "workerpools", namespace)


def workerpool(namespace: str, name: str) -> str:
    """One WorkerPool."""
    return _path(f"{GROUP}/{VERSION}", "workerpools", namespace, name)


def workerpool_status(namespace: str, name: str) -> str:
    """The status subresource of a WorkerPool."""
    return workerpool(namespace, name) + "/status"


def secret(namespace: str, name: str) -> str:
    """One Secret."""
    return _path("v1", "secrets", namespace, name)


def leases(namespace: str) -> str:
    """The Leases of a namespace."""
    return _path("coordination.k8s.io/v1", "leases", namespace)


def lease(namespace: str, name: str) -> str:
    """One Lease."""
    return _path("coordination.k8s.io/v1", "leases", namespace, name)


def pdb(namespace: str, name: str) -> str:
    """One PodDisruptionBudget."""
    return _path("policy/v1", "poddisruptionbudgets", namespace, name)


def hpas(namespace: str | None = None) -> str:
    """The HorizontalPodAutoscalers of a namespace, or of all."""
    return _path("autoscaling/v2", "horizontalpodautoscalers", namespace)


def events(namespace: str) -> str:
    """The (core) Events of a namespace."""
    return _path("v1", "events", namespace)


def namespace(name: str) -> str:
    """One Namespace."""
    return _path("v1", "namespaces", None, name)


def crd(name: str = f"workerpools.{GROUP}") -> str:
    """One CustomResourceDefinition."""
    return _path("apiextensions.k8s.io/v1", "customresourcedefinitions", None, name)


def _path(group_version: str, resource: str, in_namespace: str | None, name: str | None = None) -> str:
    parts = ["apis" if "/" in group_version else "api", group_version]
    if in_namespace is not None:
        parts += ["namespaces", quote(in_namespace, safe="")]
    parts.append(resource)
    if name is not None:
        parts.append(quote(name, safe=""))
    return "/" + "/".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a path is about. ``resource`` is as RBAC writes it, ``deployments/scale``; "" is "none of that"."""

    group: str
    resource: str
    namespace: str
    name: str

    @classmethod
    def of(cls, path: str) -> Target:
        """Take a path apart: ``/api/v1/...`` or ``/apis/<group>/<version>/...``; others are their own resource."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[:1] == ["apis"] and len(parts) > 3:  # noqa: PLR2004 - apis, group, version, resource
            group, rest = parts[1], parts[3:]
        elif parts[:1] == ["api"] and len(parts) > 2:  # noqa: PLR2004 - api, version, resource
            group, rest = "", parts[2:]
        else:
            return cls(group="", resource=path, namespace="", name="")
        inside = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):  # noqa: PLR2004
            inside, rest = rest[1], rest[2:]
        resource, name, sub = (*rest, "", "")[:3]
        return cls(group=group, resource=f"{resource}/{sub}" if sub else resource, namespace=inside, name=name)

    @property
    def resource_and_group(self) -> str:
        """As in ``kubectl auth can-i``: ``deployments.apps/scale``."""
        resource, slash, sub = self.resource.partition("/")
        return (f"{resource}.{self.group}" if self.group else resource) + slash + sub

    def __str__(self) -> str:
        place = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.resource} {place}" if place else self.resource
