"""The CustomResourceDefinition of WorkerPool, made from the model so that it cannot drift from it.

``workerpool crd`` prints it; ``make generate`` writes ``manifests/crd.yaml``, and a test compares that byte by byte.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from workerpool_operator.kube.crd_rules import with_validations
from workerpool_operator.kube.crd_schema import Schema, structural
from workerpool_operator.resource.base import DNS_LABEL
from workerpool_operator.resource.model import API_VERSION, KIND, Spec, WorkerPool
from workerpool_operator.resource.status import Status

GROUP: Final = API_VERSION.partition("/")[0]
VERSION: Final = API_VERSION.partition("/")[2]
PLURAL: Final = "workerpools"
NAME: Final = f"{PLURAL}.{GROUP}"
_HEADER: Final = "# The CustomResourceDefinition of WorkerPool. Generated: `make generate` writes it from the model.\n"


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition, as the API server takes it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME, "labels": {"app.kubernetes.io/name": "workerpool"}},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["wp"],
                "categories": ["all"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema()},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": list(_columns()),
                }
            ],
        },
    }


def crd_yaml() -> str:
    """The CustomResourceDefinition as YAML: the same text each time."""
    return _HEADER + yaml.dump(crd(), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


def schema() -> Schema:
    """The structural schema of the resource, with its CEL rules."""
    spec = structural(Spec)
    # Only local mode goes without a broker.
    spec["required"] = [*spec["required"], "broker"]
    return with_validations(
        {
            "description": _first_line(WorkerPool),
            "type": "object",
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string", "description": f"Version of the resource: {API_VERSION}."},
                "kind": {"type": "string", "description": f"Kind of the resource: {KIND}."},
                "metadata": {
                    "type": "object",
                    # The name is also the Deployment's, and the value of a label of its pods.
                    "properties": {"name": {"type": "string", "maxLength": 63, "pattern": DNS_LABEL}},
                },
                "spec": spec,
                "status": structural(Status),
            },
        }
    )


def _columns() -> list[dict[str, Any]]:
    active = '.status.conditions[?(@.type=="ScalingActive")]'
    rows: tuple[tuple[str, str, str, str, int], ...] = (
        ("Ready", "integer", ".status.readyReplicas", "Replicas that are ready for jobs.", 0),
        ("Desired", "integer", ".status.desiredReplicas", "The size that the operator decided on.", 0),
        ("Min", "integer", ".spec.minReplicas", "The least size.", 0),
        ("Max", "integer", ".spec.maxReplicas", "The largest size.", 0),
        ("Backlog", "integer", ".status.backlog.ready", "Jobs that wait for a worker.", 0),
        ("Reason", "string", f"{active}.reason", "Why the pool has its size.", 0),
        ("Pinned", "integer", ".spec.replicas", "The size it is pinned to, if it is.", 1),
        ("Running", "integer", ".status.backlog.running", "Jobs that a worker holds.", 1),
        ("Scheduled", "integer", ".status.backlog.scheduled", "Jobs that are due later.", 1),
        ("Oldest", "integer", ".status.backlog.oldestJobSeconds", "Seconds the oldest waiting job has waited.", 1),
        ("Layout", "string", ".spec.broker.layout", "How the queues are kept in Redis.", 1),
        ("Message", "string", f"{active}.message", "Why the pool has its size, in words.", 1),
        ("Age", "date", ".metadata.creationTimestamp", "When the pool was made.", 0),
    )
    return [
        {"name": name, "type": kind, "jsonPath": path, "description": text, **({"priority": wide} if wide else {})}
        for name, kind, path, text, wide in rows
    ]


def _first_line(model: type) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


class _Plain(yaml.SafeDumper):
    """Writes each value where it stands: no anchors, whatever is shared."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class gives it
        return True
