"""Documents for the tests of the resource: a valid one, and variations of it."""

from __future__ import annotations

import copy
import json
from typing import Any

VALID: dict[str, Any] = {
    "apiVersion": "workerpool.dev/v1alpha1",
    "kind": "WorkerPool",
    "metadata": {"name": "email", "namespace": "shop", "labels": {"team": "mail"}, "annotations": {"a/b": "c"}},
    "spec": {
        "queues": [{"name": "email"}, {"name": "sms"}],
        "broker": {
            "layout": "Celery",
            "urlSecretRef": {"name": "redis", "key": "url"},
            "caSecretRef": {"name": "redis-ca", "key": "ca.crt"},
            "keyPrefix": "shop:",
            "priorities": [0, 3, 6, 9],
        },
        "minReplicas": 0,
        "maxReplicas": 20,
        "replicas": 3,
        "scaling": {
            "backlogPerReplica": 10,
            "queueLatencySeconds": 30,
            "pollIntervalMilliseconds": 500,
            "scaleUp": {"stabilizationSeconds": 5, "maxReplicasPerStep": 4},
            "scaleDown": {"stabilizationSeconds": 90, "whenBusy": "Allow"},
            "schedules": [
                {
                    "name": "black-friday",
                    "start": "0 8 * * 5",
                    "end": "0 22 * * 5",
                    "timeZone": "Europe/Rome",
                    "minReplicas": 5,
                }
            ],
            "fallback": {"replicas": 4, "afterSeconds": 30},
            "budget": {"name": "mail-provider", "maxReplicas": 30, "weight": 2},
            "paused": False,
        },
        "worker": {
            "image": "ghcr.io/shop/mailer:1.2",
            "imagePullPolicy": "IfNotPresent",
            "imagePullSecrets": [{"name": "registry"}],
            "command": ["celery", "worker"],
            "args": ["--loglevel=INFO"],
            "concurrency": 4,
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
                {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            ],
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}],
            "resources": {"requests": {"cpu": 1, "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
            "serviceAccountName": "mailer",
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"}],
            "affinity": {"podAntiAffinity": {"preferred": [{"weight": 1, "f": 0.5, "n": None}]}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
            "priorityClassName": "low",
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
            "volumeMounts": [{"name": "tmp", "mountPath": "/scratch", "readOnly": False}],
            "podLabels": {"team": "mail"},
            "podAnnotations": {"note": "any: text"},
            "terminationGracePeriodSeconds": 120,
        },
    },
}

SMALL: dict[str, Any] = {
    "apiVersion": "workerpool.dev/v1alpha1",
    "kind": "WorkerPool",
    "metadata": {"name": "email"},
    "spec": {"queues": [{"name": "email"}], "broker": {"url": "redis://redis:6379/0"}, "worker": {}},
}


def varied(**fields: Any) -> dict[str, Any]:
    """The small document with fields of its spec replaced; ``...`` removes one."""
    document = copy.deepcopy(SMALL)
    for name, value in fields.items():
        document["spec"][name] = value
        if value is ...:
            del document["spec"][name]
    return document


def text_of(document: dict[str, Any]) -> str:
    """A document as YAML: a line for each of its parts, the spec in line 4."""
    return "".join(f"{json.dumps(name)}: {json.dumps(value)}\n" for name, value in document.items())
