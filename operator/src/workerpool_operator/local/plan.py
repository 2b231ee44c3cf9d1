"""From a WorkerPool to what runs on this machine: its broker's address and the command of its workers.

Secrets have no API server here. The value of key ``url`` of secret ``redis`` is taken from the environment variable
``WORKERPOOL_SECRET_REDIS_URL``, and a config map's from ``WORKERPOOL_CONFIGMAP_…`` likewise.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workerpool_operator.local.launch import LaunchPlan
from workerpool_operator.ports import PoolKey, QueueSource
from workerpool_operator.resource.model import WorkerPool
from workerpool_operator.resource.pod import EnvVar
from workerpool_operator.resource.worker import Worker

BUNDLED_COMMAND = "workerpool-worker"


class PlanError(Exception):
    """A pool cannot run on this machine. The text is one line that names the pool, the field and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokerAddress:
    """Where a pool's queues are: pools with equal addresses share one connection and one round trip."""

    layout: str
    url: str
    ca_pem: str | None = None


def key_of(pool: WorkerPool) -> PoolKey:
    """The pool's identity."""
    return PoolKey(namespace=pool.metadata.namespace, name=pool.metadata.name)


def source_of(pool: WorkerPool) -> QueueSource:
    """What a queue reader must know of the pool."""
    broker = pool.spec.broker
    queues = tuple(queue.name for queue in pool.spec.queues)
    if broker is None:
        return QueueSource(key=key_of(pool), queues=queues)
    return QueueSource(key=key_of(pool), queues=queues, key_prefix=broker.key_prefix, priorities=broker.priorities)


def broker_of(pool: WorkerPool, *, embedded_url: str | None, environ: Mapping[str, str]) -> BrokerAddress:
    """The address of the pool's broker; ``embedded_url`` is that of the Redis that local mode started, if it did.

    Raises:
        PlanError: A secret is not given, or there is no address.
    """
    broker = pool.spec.broker
    url = None if broker is None else broker.url
    ca_pem = None
    if broker is not None and broker.url_secret_ref is not None:
        url = _stand_in(pool, "spec.broker.urlSecretRef", broker.url_secret_ref, environ)
    if broker is not None and broker.ca_secret_ref is not None:
        ca_pem = _stand_in(pool, "spec.broker.caSecretRef", broker.ca_secret_ref, environ)
    url = url or embedded_url
    if url is None:
        raise PlanError(f"pool {key_of(pool)}: spec.broker.url: name a Redis")
    return BrokerAddress(layout="Celery" if broker is None else broker.layout.value, url=url, ca_pem=ca_pem)


def needs_embedded_redis(pool: WorkerPool) -> bool:
    """Whether the pool names no Redis of its own."""
    broker = pool.spec.broker
    return broker is None or (broker.url is None and broker.url_secret_ref is None)


def launch_plan(
    pool: WorkerPool,
    broker: BrokerAddress,
    *,
    folder: Path,
    log_dir: Path,
    environ: Mapping[str, str],
    extra_env: Mapping[str, str] | None = None,
    show_logs: bool = False,
) -> LaunchPlan:
    """How the pool's workers are started.

    The bundled worker where the pool gives no command; ``worker.command`` and ``args`` as they are otherwise. A worker
    gets this process's environment, the broker's address (also as ``CELERY_BROKER_URL``, which a Celery app obeys),
    the pool's name and queues, and what ``worker.env`` says.

    Args:
        pool: The pool.
        broker: Its broker.
        folder: Where its command runs.
        log_dir: Where its output goes.
        environ: This process's environment.
        extra_env: More of it, from whoever runs the pools.
        show_logs: Whether output is shown as well.

    Raises:
        PlanError: The command cannot be found, or a value of its environment is missing.
    """
    worker = pool.spec.worker
    if worker is None:
        raise PlanError(f"pool {key_of(pool)}: spec.deploymentRef: there are no Deployments here; give spec.worker")
    grace_s = worker.termination_grace_period_seconds
    ca_file = (log_dir / f"{pool.metadata.name}-broker-ca.pem").absolute()
    files = ((ca_file, broker.ca_pem),) if broker.ca_pem is not None else ()
    trust = {"WORKERPOOL_BROKER_CA_FILE": str(ca_file)} if files else {}
    given = dict(environ) | _pool_env(pool, worker, broker) | trust
    env = given | dict(extra_env or {}) | _own_env(pool, worker, environ)
    argv = _argv(pool, worker)
    _check_command(pool, argv[0], env, folder)
    return LaunchPlan(
        argv=argv,
        env=env,
        cwd=folder,
        log_dir=log_dir,
        grace_s=float(grace_s),
        show_logs=show_logs,
        concurrency=worker.concurrency or 1,
        files=files,
    )


def _pool_env(pool: WorkerPool, worker: Worker, broker: BrokerAddress) -> dict[str, str]:
    """What every worker is told of its pool; the bundled one reads it, any Celery app obeys CELERY_BROKER_URL."""
    env = {
        "BROKER_URL": broker.url,
        "CELERY_BROKER_URL": broker.url,
        "WORKERPOOL_POOL": pool.metadata.name,
        "WORKERPOOL_NAMESPACE": pool.metadata.namespace,
        "WORKERPOOL_QUEUES": ",".join(queue.name for queue in pool.spec.queues),
        "WORKERPOOL_GRACE_SECONDS": str(worker.termination_grace_period_seconds),
        # a worker's output is a file here: without this its last words before a crash would be lost in a buffer
        "PYTHONUNBUFFERED": "1",
    }
    if worker.concurrency is not None:
        env["WORKERPOOL_CONCURRENCY"] = str(worker.concurrency)
    return env


def _own_env(pool: WorkerPool, worker: Worker, environ: Mapping[str, str]) -> dict[str, str]:
    return {variable.name: _value(pool, n, variable, environ) for n, variable in enumerate(worker.env or ())}


def _value(pool: WorkerPool, index: int, variable: EnvVar, environ: Mapping[str, str]) -> str:
    source = variable.value_from
    if source is None:
        return variable.value or ""
    field = f"spec.worker.env[{index}].valueFrom"
    if source.secret_key_ref is not None:
        return _stand_in(pool, f"{field}.secretKeyRef", source.secret_key_ref, environ)
    if source.config_map_key_ref is not None:
        return _stand_in(pool, f"{field}.configMapKeyRef", source.config_map_key_ref, environ, kind="configmap")
    raise PlanError(f"pool {key_of(pool)}: {field}: only secrets and config maps can stand in for values in local mode")


class _NamedKey(Protocol):
    """A key of a Secret or of a ConfigMap, as the resource names it."""

    @property
    def name(self) -> str: ...

    @property
    def key(self) -> str: ...


def _stand_in(pool: WorkerPool, field: str, ref: _NamedKey, environ: Mapping[str, str], *, kind: str = "secret") -> str:
    """The value of the environment variable that stands in for a key of a Secret or ConfigMap."""
    variable = re.sub(r"[^A-Z0-9]", "_", f"WORKERPOOL_{kind}_{ref.name}_{ref.key}".upper())
    value = environ.get(variable)
    if not value:
        raise PlanError(
            f"pool {key_of(pool)}: {field}: in local mode set the environment variable {variable} "
            f"to the value of key {ref.key} of {kind} {ref.name}"
        )
    return value


def _argv(pool: WorkerPool, worker: Worker) -> tuple[str, ...]:
    """The bundled image becomes the bundled worker's command; a command of the user's own runs as given."""
    if worker.command:
        return (*worker.command, *worker.args)
    return (_bundled(pool), *(worker.args or ("run",)))


def _bundled(pool: WorkerPool) -> str:
    """The bundled worker's command: the one installed beside this program, else one on PATH."""
    beside = Path(sysconfig.get_path("scripts")) / BUNDLED_COMMAND
    if os.access(beside, os.X_OK):
        return str(beside)
    beside = Path(sys.argv[0]).resolve().parent / BUNDLED_COMMAND
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(BUNDLED_COMMAND)
    if found is None:
        raise PlanError(
            f"pool {key_of(pool)}: spec.worker: the bundled worker is not installed "
            "(pip install workerpool-worker); or give worker.command"
        )
    return found


def _check_command(pool: WorkerPool, command: str, env: Mapping[str, str], folder: Path) -> None:
    """Find the command before anything is started: a typing error should not wait for the first job to be seen."""
    where = str(folder / command) if "/" in command else command
    if "$(" in command or shutil.which(where, path=env.get("PATH")) is not None:
        return
    why = (
        "is not executable: chmod +x it" if Path(where).is_file() else "does not exist: install it, or correct the name"
    )
    raise PlanError(f"pool {key_of(pool)}: spec.worker.command: {command} {why}")
