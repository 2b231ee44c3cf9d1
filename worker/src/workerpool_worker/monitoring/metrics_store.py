"""The numbers that a worker keeps of its jobs. Pure data, no library: counting is a few look-ups in dictionaries."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Container, Mapping

DURATION_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
"""From a mail on a connection that is open to an import that takes an hour."""

WAIT_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""From a worker that was idle to a retry of the next day."""

UNKNOWN = "unknown"
"""Stands for queues and tasks that this worker does not know: whoever sends messages must not make series."""


class _Buckets:
    """A histogram. `counts` are per bucket, not yet summed up; the last is for all that exceeds the bounds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        value = max(value, 0.0)  # clocks of two machines differ
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Store:
    """The numbers of one worker.

    Args:
        queues: The names of queues that may become labels.
        tasks: The names of tasks that may.
        fixed: What is said of the worker itself, for `workerpool_worker_info` and the labels of all.
    """

    def __init__(self, queues: Container[str], tasks: Container[str], fixed: Mapping[str, object]) -> None:
        self._queues, self._tasks, self._fixed = queues, tasks, dict(fixed)
        self._jobs: dict[tuple[str, str], dict[str, int]] = {}
        self._durations: dict[tuple[str, str], _Buckets] = {}
        self._waits: dict[str, _Buckets] = {}
        self._dead: dict[str, int] = {}
        self.connected = False

    def job_ended(self, queue: str, task: str, outcome: str, seconds: float | None, wait_s: float | None) -> None:
        """Count one try."""
        queue = queue if queue in self._queues else UNKNOWN
        key = queue, task if task in self._tasks else UNKNOWN
        found = self._jobs.get(key)
        if found is None:
            found = self._jobs[key] = {}
        found[outcome] = found.get(outcome, 0) + 1
        if seconds is not None:
            duration = self._durations.get(key)
            if duration is None:
                duration = self._durations[key] = _Buckets(DURATION_BUCKETS_S)
            duration.observe(seconds)
        if wait_s is not None:
            wait = self._waits.get(queue)
            if wait is None:
                wait = self._waits[queue] = _Buckets(WAIT_BUCKETS_S)
            wait.observe(wait_s)

    def dead_letters(self, counts: Mapping[str, int]) -> None:
        """Take over how many dead letters lie where; queues that are not named have no number any more."""
        known: dict[str, int] = {}
        for queue, number in counts.items():
            name = queue if queue in self._queues else UNKNOWN
            known[name] = known.get(name, 0) + number
        self._dead = known

    def snapshot(self, *, running: int) -> bytes:
        """All numbers of this moment, as `exposition.py` reads them."""
        content = {
            **self._fixed,
            "connected": self.connected,
            "running": running,
            "jobs": [[*key, by_outcome] for key, by_outcome in self._jobs.items()],
            "durations": [[*key, one.counts, one.sum] for key, one in self._durations.items()],
            "waits": [[queue, one.counts, one.sum] for queue, one in self._waits.items()],
            "dead_letters": self._dead,
        }
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
