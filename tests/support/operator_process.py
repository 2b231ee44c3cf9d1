"""``workerpool operator`` as a process of its own, against the tests' API server."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.support.local_run import SCRIPTS


@dataclass(kw_only=True)
class OperatorProcess:
    """One operator for one namespace, with its log in a file."""

    kubeconfig: Path
    namespace: str
    folder: Path
    name: str = "operator"
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        command = [str(SCRIPTS / "workerpool"), "operator", "--kubeconfig", str(self.kubeconfig)]
        command += ["--namespace", self.namespace, "--lease-namespace", self.namespace, "--host", "127.0.0.1"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", "0", *self.arguments], stdout=log, stderr=log, env={**os.environ, **self.env}
            )
        return self

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, within_s: float = 20) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        if self.running:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()


def worker_pool(
    name: str, namespace: str, url: str, *, scaling: Mapping[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """A WorkerPool of the bundled worker that polls quickly and shrinks soon."""
    wanted = {
        "backlogPerReplica": 10,
        "pollIntervalMilliseconds": 250,
        "scaleDown": {"stabilizationSeconds": 2},
        **(scaling or {}),
    }
    worker: dict[str, Any] = {} if "deploymentRef" in spec else {"worker": {}}
    return {
        "apiVersion": "workerpool.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "queues": [{"name": name}],
            "broker": {"url": url},
            "maxReplicas": 10,
            "scaling": wanted,
            **worker,
            **spec,
        },
    }
