"""Probes of the bundled worker: two questions over HTTP, answered by a small process beside the worker.

- *ready* (``/readyz``): it has consumed, however long ago. A worker that never reached its broker is not ready, so a
  rollout with a wrong address stops. One that was ready stays so while it works, broker or no broker: a ReplicaSet
  removes pods that are not ready first, and must not be led to a busy one.
- *alive* (``/healthz``): its event loop came round within the last minute, or it is still starting. Only a loop that
  hangs fails this, for two minutes. Such a worker cannot acknowledge anything any more (others recover its jobs), so it
  gets little time to end.

Not by commands in the container: starting one costs the node a hundred times as much, and a pool has many pods.
"""

from __future__ import annotations

from typing import Any, Final

from workerpool_operator.kube.render_env import HEALTH_PORT, HEALTH_PORT_VARIABLE
from workerpool_operator.resource.worker import Worker

HEALTH_PORT_NAME: Final = "health"

_LONGEST_END_S: Final = 30
"""Grace of a worker whose event loop hangs."""


def ports(worker: Worker) -> list[dict[str, Any]]:
    """The ports of the container."""
    return [{"name": HEALTH_PORT_NAME, "containerPort": _port(worker), "protocol": "TCP"}]


def probes(worker: Worker) -> dict[str, Any]:
    """The probes of the container."""
    return {
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": HEALTH_PORT_NAME},
            "initialDelaySeconds": 1,
            "periodSeconds": 2,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": HEALTH_PORT_NAME},
            "initialDelaySeconds": 10,
            "periodSeconds": 20,
            "timeoutSeconds": 10,
            "failureThreshold": 3,
            "terminationGracePeriodSeconds": min(_LONGEST_END_S, worker.termination_grace_period_seconds),
        },
    }


def _port(worker: Worker) -> int:
    """The port the worker listens on: ours, unless the user's environment names another."""
    named = next((entry.value for entry in worker.env if entry.name == HEALTH_PORT_VARIABLE), None)
    is_port = named is not None and named.isdecimal() and 0 < int(named) < 65536  # noqa: PLR2004
    return int(named) if is_port and named is not None else HEALTH_PORT
