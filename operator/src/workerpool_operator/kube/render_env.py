"""The environment of a worker: what it is told of its pool, under what the user says."""

from __future__ import annotations

from typing import Any, Final

from workerpool_operator.resource.broker import SecretKeyRef
from workerpool_operator.resource.model import WorkerPool
from workerpool_operator.resource.worker import Worker

HEALTH_PORT_VARIABLE: Final = "WORKERPOOL_HEALTH_PORT"
HEALTH_PORT: Final = 8080
HEARTBEAT_VARIABLE: Final = "WORKERPOOL_HEARTBEAT_FILE"
HEARTBEAT_FILE: Final = "/tmp/workerpool-heartbeat"  # noqa: S108 - the pod's own emptyDir
STATE_DIR: Final = "/tmp"  # noqa: S108 - the pod's own emptyDir
CA_DIR: Final = "/etc/workerpool/broker-ca"
CA_FILE: Final = f"{CA_DIR}/ca.crt"

_LEAST_GRACE_S: Final = 2
"""What the bundled worker takes as WORKERPOOL_GRACE_SECONDS at least; a pod may have 1."""

Entry = dict[str, Any]


def environment(pool: WorkerPool, worker: Worker) -> list[Entry]:
    """The variables of the container, one entry a name, the user's value where both name one.

    Ours come first and the user's after them, so that theirs may refer to ours: ``$(WORKERPOOL_POOL)``.
    """
    own: list[Entry] = [
        entry.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True) for entry in worker.env
    ]
    named = {entry["name"] for entry in own}
    return [entry for entry in _stamped(pool, worker) if entry["name"] not in named] + own


def _stamped(pool: WorkerPool, worker: Worker) -> list[Entry]:
    broker = pool.broker
    address = _from_secret(broker.url_secret_ref) if broker.url_secret_ref else {"value": broker.url or ""}
    texts = {
        "WORKERPOOL_POOL": pool.name,
        "WORKERPOOL_NAMESPACE": pool.namespace,
        "WORKERPOOL_QUEUES": ",".join(pool.queue_names),
        "WORKERPOOL_GRACE_SECONDS": str(max(_LEAST_GRACE_S, worker.termination_grace_period_seconds)),
    }
    if worker.concurrency is not None:
        texts["WORKERPOOL_CONCURRENCY"] = str(worker.concurrency)
    if broker.ca_secret_ref is not None:
        texts["WORKERPOOL_BROKER_CA_FILE"] = CA_FILE
    if worker.is_bundled:
        # A container's host name is the pod's name cut at 63 characters; heartbeats have to carry all of it.
        texts["WORKERPOOL_WORKER_NAME"] = "celery@$(WORKERPOOL_REPLICA)"
        texts["WORKERPOOL_STATE_DIR"] = STATE_DIR
        texts[HEARTBEAT_VARIABLE] = HEARTBEAT_FILE
        texts[HEALTH_PORT_VARIABLE] = str(HEALTH_PORT)
    return [
        {"name": "BROKER_URL", **address},
        {"name": "CELERY_BROKER_URL", **address},
        {"name": "WORKERPOOL_REPLICA", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *({"name": name, "value": text} for name, text in texts.items()),
    ]


def _from_secret(ref: SecretKeyRef) -> Entry:
    return {"valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}


def cautions(pool: WorkerPool) -> tuple[str, ...]:
    """What the user should be told of a pool that is valid and runs, a sentence each.

    So far one: the bundled worker without a database keeps its books in a file of the pod.
    """
    worker = pool.spec.worker
    if worker is None or not worker.is_bundled or worker.env_from:
        return ()
    if any(entry.name in ("DATABASE_URL", "WORKERPOOL_STATE_DIR") for entry in worker.env):
        return ()
    text = (
        "spec.worker.env sets no DATABASE_URL: each pod keeps its own books, which are lost with it, so a job that is "
        "run again on another pod takes effect twice; name a PostgreSQL"
    )
    return (text,)
