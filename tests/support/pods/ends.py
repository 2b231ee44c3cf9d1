"""What the workers' own log lines tell of jobs that did not end in peace."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.pods.watcher import Ended, PodWatcher

RESTORED = "restored a job whose worker is gone"
CUT = {"cut_off", "requeued", "failed"}


@dataclass(frozen=True, kw_only=True)
class Disturbed:
    """Jobs that were taken from a worker before they ended, and containers that did not end by themselves."""

    restored: int
    """Jobs given to another worker: theirs was gone, or had no processor for seconds and seemed so."""
    cut_off: tuple[str, ...]
    killed: tuple[Ended, ...]


def disturbed(logs: Mapping[str, Iterable[str]], watcher: PodWatcher) -> Disturbed:
    """What the logs (lines by pod) and the pods' ends tell."""
    lines = [line for found in logs.values() for line in jobs_lines(found)]
    return Disturbed(
        restored=sum(1 for line in lines if line.get("message") == RESTORED),
        cut_off=tuple(f"{line['job_id']}: {line['outcome']}" for line in lines if line.get("outcome") in CUT),
        # "StartError": the container never ran, which a node under load may do; the kubelet starts it again
        killed=tuple(end for end in watcher.ended() if end.exit_code != 0 and end.reason != "StartError"),
    )


def jobs_lines(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Those lines of a worker that are JSON objects, parsed."""
    found = []
    for line in lines:
        try:
            parsed = json.loads(line)
        except ValueError:
            continue  # cut by the end of the container, or not ours
        if isinstance(parsed, dict):
            found.append(parsed)
    return found
