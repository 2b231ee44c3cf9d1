"""What operator and worker really expose: for each sample name the labels that its samples carry."""

from __future__ import annotations

import os
import urllib.request
from asyncio import to_thread
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.unit.report.records import AWAY, EMAIL, make_record
from workerpool_operator.core.decision import Reason
from workerpool_operator.kube.server import Server
from workerpool_operator.report.prometheus import Metrics
from workerpool_worker.monitoring import startup
from workerpool_worker.monitoring.exposition import Exposition
from workerpool_worker.monitoring.metrics_store import Store
from workerpool_worker.settings import load_settings

# what Prometheus adds to every sample: its own two, the Prometheus Operator's, and the chart's relabeling
OF_THE_TARGET = frozenset({"instance", "job", "namespace", "pod", "service", "container", "endpoint", "operator"})


async def exposed() -> dict[str, frozenset[str]]:
    """Labels by sample name, of both."""
    found: dict[str, frozenset[str]] = {}
    for text in (await _operator(), worker()):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, frozenset()) | frozenset(sample.labels)
    return found


def worker() -> str:
    """Of a worker to which everything has happened that leaves a sample."""
    fixed = startup.fixed(load_settings({"WORKERPOOL_POOL": "email", "WORKERPOOL_NAMESPACE": "shop"}))
    store = Store(("email",), ("email.send",), fixed)
    for outcome in ("completed", "failed", "retried", "deferred", "lost", "dead"):
        store.job_ended("email", "email.send", outcome, 0.2, 1.5)
    store.dead_letters({"email": 1})
    return Exposition(os.getpid(), Path(__file__)).render(store.snapshot(running=1)).decode()


async def _operator() -> str:
    """Of an operator to which everything has happened that leaves a sample, asked over HTTP."""
    metrics = Metrics()
    metrics.leader = True
    metrics.record(make_record(ready=38, running=2, oldest_job_s=3.5, target=4, reason=Reason.WORK_WAITING))
    metrics.record(make_record(ready=AWAY, running=2))
    metrics.record(make_record(ready=38, oldest_job_s=3.5))
    metrics.problems(EMAIL, ["ApplyRefused"], polled=True)
    server = Server(
        metrics=metrics,
        loop_ages=lambda: (),
        synced=lambda: True,
        leads=lambda: True,
        writes={("patch", "deployments/scale"): 1},
        host="127.0.0.1",
        port=0,
    )
    await server.start()
    try:
        return await to_thread(_fetch, f"http://127.0.0.1:{server.port}/metrics")
    finally:
        await server.close()


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
        return str(answer.read().decode())
