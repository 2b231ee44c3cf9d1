"""From the first job sent to the first job begun, out of a pool at zero: where the time goes.

Times come from where things happen: the worker's lines (milliseconds), the operator's lines (milliseconds) and the
pods' states (whole seconds, as the API server writes them). All on one node, so by one clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.pods.ends import jobs_lines
from tests.support.pods.watcher import PodWatcher, at


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Unix seconds of what happened to the pool's first job."""

    pool: str
    sent: float
    decided: float
    container_started: float
    consuming: float
    begun: float

    def steps(self) -> dict[str, float]:
        """Seconds of each step; they add up to the whole."""
        return {
            "seen and decided": self.decided - self.sent,
            "container started": self.container_started - self.decided,
            "worker consuming": self.consuming - self.container_started,
            "first job begun": self.begun - self.consuming,
        }


def timeline(
    pool: str,
    rush_id: str,
    *,
    workers: Mapping[str, Iterable[str]],
    operators: Mapping[str, Iterable[str]],
    watcher: PodWatcher,
) -> Timeline:
    """The timeline of a rush's first job in a pool, from the lines of workers and operators, by ``pod/...``."""
    begun, sent, name = min(
        (line["time"] - line["seconds"], line["time"] - line["seconds"] - line["wait_seconds"], key.split("/")[0])
        for key, lines in workers.items()
        for line in jobs_lines(lines)
        if line.get("queue") == pool and rush_id in line["job_id"] and "seconds" in line and "wait_seconds" in line
    )
    pod = watcher.pods[name]
    # of every start of the pod's container: a node under load may need more than one
    mine = [line for key, lines in workers.items() if key.startswith(f"{name}/") for line in jobs_lines(lines)]
    consuming = max(line["time"] for line in mine if line["message"].startswith("consuming") and line["time"] <= begun)
    return Timeline(
        pool=pool,
        sent=sent,
        decided=min(when for when in _decisions(pool, operators) if when >= sent - 1),
        container_started=_started(pod),
        consuming=consuming,
        begun=begun,
    )


def _decisions(pool: str, operators: Mapping[str, Iterable[str]]) -> list[float]:
    return [
        dt.datetime.fromisoformat(line["time"]).timestamp()
        for lines in operators.values()
        for line in jobs_lines(lines)
        if line.get("pool") == pool and line["message"].startswith("scaled 0 -> ")
    ]


def _started(pod: Mapping[str, Any]) -> float:
    state = pod["status"]["containerStatuses"][0]["state"]
    return at((state.get("running") or state.get("terminated"))["startedAt"])
