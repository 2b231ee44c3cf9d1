"""The settings of ``workerpool operator``: what its command line and environment say."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from workerpool_operator.resource.worker import BUNDLED_IMAGE


class LogFormat(enum.StrEnum):
    """How log lines are written."""

    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorSettings:
    """Everything that can be set. Empty ``namespaces``: the whole cluster.

    ``lease_namespace`` is where the Lease lies that decides who leads; ``allowed_broker_hosts`` are patterns of shell
    form (``*.redis.svc``), empty for any host; ``worker_image`` runs where a pool's ``spec.worker`` names no image.
    """

    namespaces: tuple[str, ...] = ()
    lease_namespace: str = "default"
    lease_name: str = "workerpool-operator"
    identity: str = ""
    allowed_broker_hosts: tuple[str, ...] = ()
    worker_image: str = BUNDLED_IMAGE
    kubeconfig: Path | None = None
    context: str | None = None
    host: str = "0.0.0.0"  # noqa: S104 - the kubelet probes the pod's address, not its loopback
    port: int = 8080
    log_format: LogFormat = LogFormat.JSON
    log_level: str = "INFO"
