"""What became of every pod: a watch that runs beside a test and remembers the pods that are gone."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.pods.kubectl import Kubectl

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A container that ended. ``exit_code`` 137 is SIGKILL, 143 SIGTERM without a handler."""

    pod: str
    exit_code: int
    reason: str
    at: float
    """Unix seconds, whole ones."""


@dataclass(kw_only=True)
class PodWatcher:
    """The latest state of each pod, those that are gone included."""

    pods: dict[str, Body] = field(default_factory=dict)
    """By pod name."""
    began: float = field(default_factory=time.time)
    """Unix seconds."""
    sizes: dict[str, list[int]] = field(default_factory=dict)
    """By pool: how many of its pods were there at a time, a number for each change."""

    def see(self, event: Body) -> None:
        pod = event["object"]
        name = pod["metadata"]["name"]
        self.pods[name] = pod
        if event["type"] == "DELETED":
            pod["gone"] = True
        pool = pool_of(pod)
        if pool is None:
            return
        there = sum(1 for other in self.pods.values() if pool_of(other) == pool and not other.get("gone"))
        sizes = self.sizes.setdefault(pool, [0])
        if sizes[-1] != there:
            sizes.append(there)

    def of_pool(self, pool: str) -> list[Body]:
        return [pod for pod in self.pods.values() if pool_of(pod) == pool]

    def seen(self, logs: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Those logs (by ``pod/...``) that are of pods of this watch: the node may keep older ones a while longer."""
        return {key: lines for key, lines in logs.items() if key.split("/")[0] in self.pods}

    def ended(self) -> list[Ended]:
        """Every end of a worker's container since the watch began, restarts included."""
        return [
            Ended(pod=name, exit_code=end["exitCode"], reason=end.get("reason", ""), at=at(end["finishedAt"]))
            for name, pod in self.pods.items()
            if pool_of(pod) is not None
            for status in pod["status"].get("containerStatuses", ())
            for state in (status.get("state", {}), status.get("lastState", {}))
            if (end := state.get("terminated")) and at(end["finishedAt"]) >= self.began - 1
        ]


def pool_of(pod: Body) -> str | None:
    """The pool a pod belongs to, or None."""
    pool: str | None = pod["metadata"].get("labels", {}).get("workerpool.dev/pool")
    return pool


def at(text: str) -> float:
    """A time of the API server in Unix seconds; whole seconds, as it writes them."""
    return dt.datetime.fromisoformat(text).timestamp()


@contextmanager
def watching(kubectl: Kubectl) -> Iterator[PodWatcher]:
    """Watch the namespace's pods while the block runs."""
    watcher = PodWatcher()
    command = [*kubectl.command, "get", "pods", "--watch", "--output-watch-events", "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        thread = threading.Thread(target=_follow, args=(process, watcher), daemon=True)
        thread.start()
        try:
            yield watcher
        finally:
            process.terminate()
            thread.join(20)


def _follow(process: subprocess.Popen[str], watcher: PodWatcher) -> None:
    """kubectl prints one event a line."""
    assert process.stdout is not None
    for line in process.stdout:
        watcher.see(json.loads(line))
