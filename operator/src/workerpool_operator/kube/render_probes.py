"""Probes of the bundled worker: two questions to one file, asked without a shell, a network or the worker's code.

``run`` makes the file named by ``WORKERPOOL_HEARTBEAT_FILE`` at its start, writes into it once it consumes, and touches
it every two seconds from its event loop, also while it waits for a broker that is away.

- *ready*: the file has content, however old. A worker that never reached its broker is not ready, so a rollout with a
  wrong address stops. One that was ready stays so while it works, broker or no broker: a ReplicaSet removes unready
  pods first, and must not be led to a busy one.
- *alive*: the file was touched within the last minute. Only an event loop that hangs fails this, for two minutes. Such
  a worker cannot acknowledge anything any more (others recover its jobs), so it gets little time to end.

The interpreter starts without ``site`` (``-I -S``): a tenth of the time that the worker's own command would take.
"""

from __future__ import annotations

from typing import Any, Final

from workerpool_operator.kube.render_env import HEARTBEAT_VARIABLE
from workerpool_operator.resource.worker import Worker

STALE_S: Final = 60
"""Age of the file at which the event loop is taken to hang. A Redis that takes connections and never answers, or a
slow name server, may hold it for some tens of seconds."""

_LONGEST_END_S: Final = 30
"""Grace of a worker whose event loop hangs."""

_STAT: Final = f"import os, sys, time; f = os.stat(os.environ['{HEARTBEAT_VARIABLE}']); sys.exit("


def probes(worker: Worker) -> dict[str, Any]:
    """The probes of the container."""
    return {
        "readinessProbe": {
            "exec": {"command": _python("f.st_size == 0")},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            "exec": {"command": _python(f"time.time() - f.st_mtime > {STALE_S}")},
            "initialDelaySeconds": 30,
            "periodSeconds": 20,
            "timeoutSeconds": 10,
            "failureThreshold": 3,
            "terminationGracePeriodSeconds": min(_LONGEST_END_S, worker.termination_grace_period_seconds),
        },
    }


def _python(failing: str) -> list[str]:
    return ["python3", "-I", "-S", "-c", f"{_STAT}{failing})"]
