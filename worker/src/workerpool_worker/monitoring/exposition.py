"""A worker's metrics as Prometheus reads them, made from the numbers of `metrics.py` when somebody asks.

Runs in the process that answers probes. Only it imports the Prometheus library, at the first scrape: neither the start
of the worker nor the memory of its children pays for it.

What is not known has no sample: it is never 0.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from workerpool_worker.monitoring.metrics_store import DURATION_BUCKETS_S, WAIT_BUCKETS_S

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_POOL = ("namespace", "pool")
_INFO = "1, with what the worker runs with."
_JOBS = "Tries of jobs that have ended, by how."
_DURATION = "How long tries of jobs ran."
_WAIT = "From the first sending of a job to the start of its first try."
_DEAD = "Dead letters of the queue in Redis; every worker tells the same."
_RUNNING = "Jobs that run now."
_CONCURRENCY = "Jobs that may run at a time."
_CONNECTED = "1 while the worker is connected to its broker, else 0."
_HEARTBEAT = "Since the worker's event loop last came round."


class Exposition:
    """What `/metrics` answers.

    Args:
        worker: The process whose CPU, memory and files are told: Celery's main process.
        heartbeat: The file that its event loop touches.
    """

    def __init__(self, worker: int, heartbeat: Path) -> None:
        self._process = CollectorRegistry()
        ProcessCollector(pid=lambda: worker, registry=self._process)
        self._heartbeat = heartbeat

    def render(self, page: bytes) -> bytes:
        """The text for the numbers of this page; of a worker that has published none, its process."""
        own = generate_latest(_Registry(self._families(json.loads(page)))) if page else b""
        return own + generate_latest(self._process)

    def _families(self, content: Mapping[str, Any]) -> Iterator[Metric]:
        yield from families(content)
        age = GaugeMetricFamily("workerpool_worker_heartbeat_age_seconds", _HEARTBEAT, labels=_POOL)
        with suppress(OSError):
            age_s = time.time() - self._heartbeat.stat().st_mtime
            age.add_metric((content["namespace"], content["pool"]), max(0.0, age_s))
        yield age


class _Registry(CollectorRegistry):
    """Families as they are."""

    def __init__(self, found: Iterable[Metric]) -> None:
        super().__init__()
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def families(content: Mapping[str, Any]) -> Iterator[Metric]:
    """Every family of a page, also those without a sample."""
    pool = content["namespace"], content["pool"]
    yield _jobs(pool, content["jobs"])
    duration = HistogramMetricFamily("workerpool_job_duration_seconds", _DURATION, labels=(*_POOL, "queue", "task"))
    for queue, task, counts, total in content["durations"]:
        duration.add_metric((*pool, queue, task), _summed(DURATION_BUCKETS_S, counts), sum_value=total)
    yield duration
    wait = HistogramMetricFamily("workerpool_job_wait_seconds", _WAIT, labels=(*_POOL, "queue"))
    for queue, counts, total in content["waits"]:
        wait.add_metric((*pool, queue), _summed(WAIT_BUCKETS_S, counts), sum_value=total)
    yield wait
    dead = GaugeMetricFamily("workerpool_dead_letter_jobs", _DEAD, labels=(*_POOL, "queue"))
    for queue, number in content["dead_letters"].items():
        dead.add_metric((*pool, queue), number)
    yield dead
    for name, text, value in (
        ("running_jobs", _RUNNING, content["running"]),
        ("concurrency", _CONCURRENCY, content["concurrency"]),
        ("broker_connected", _CONNECTED, int(content["connected"])),
    ):
        gauge = GaugeMetricFamily(f"workerpool_worker_{name}", text, labels=_POOL)
        gauge.add_metric(pool, value)
        yield gauge
    info = content["info"]
    about = GaugeMetricFamily("workerpool_worker_info", _INFO, labels=(*_POOL, *info))
    about.add_metric((*pool, *map(str, info.values())), 1)
    yield about


def _jobs(pool: tuple[str, str], jobs: Iterable[tuple[str, str, Mapping[str, int]]]) -> Metric:
    family = CounterMetricFamily("workerpool_jobs", _JOBS, labels=(*_POOL, "queue", "task", "outcome"))
    for queue, task, by_outcome in jobs:
        for outcome, number in by_outcome.items():
            family.add_metric((*pool, queue, task, outcome), number)
    return family


def _summed(bounds: tuple[float, ...], counts: Iterable[int]) -> list[tuple[str, float]]:
    names = [*map(str, bounds), "+Inf"]
    return list(zip(names, accumulate(counts), strict=True))
