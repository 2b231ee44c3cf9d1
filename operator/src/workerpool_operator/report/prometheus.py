"""Metrics as Prometheus reads them, for the local page and the operator alike.

What could not be read has no sample: an absent series can be alerted on, a 0 would be a lie. The samples are made from
a :class:`~workerpool_operator.report.prometheus_store.MetricStore` when somebody scrapes.

``workerpool_poll_duration_seconds`` and ``workerpool_reaction_seconds`` carry no ``namespace`` and ``pool``: a
histogram has some fifteen series, which for a thousand pools would be two thirds of all, and what they tell (how fast
brokers and the API server answer) is a property of the installation. Each pool that was read counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from workerpool_operator.core.observation import Allotment, Cause, InFlight, QueueDepth
from workerpool_operator.ports import CycleRecord, PoolKey
from workerpool_operator.report.board import Board
from workerpool_operator.report.prometheus_store import Buckets, MetricStore, PoolSeries, Snapshot

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_POOL = ("namespace", "pool")


class Metrics(MetricStore, Collector):
    """A sink and, once registered, the collector of what it took note of."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Nothing is known yet.

        Args:
            registry: Where to register.
        """
        super().__init__()
        if registry is not None:
            registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """All metrics, names and labels as in the design."""
        return families(self.snapshot())

    def describe(self) -> Iterator[Metric]:
        """The same without samples, so that registering finds names that are taken."""
        return families(Metrics().snapshot())


def render(board: Board) -> str:
    """All metrics of the board as text (exposition format 0.0.4)."""
    return render_snapshot(board.metrics.snapshot())


def render_snapshot(snapshot: Snapshot) -> str:
    """All metrics of one moment as text. It may run in another thread than the loop."""
    return generate_latest(_Frozen(snapshot)).decode()


class _Frozen(CollectorRegistry):
    """A registry of one moment."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        return families(self._snapshot)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Every metric family, also those without a sample just now."""
    yield from _queues(snapshot)
    for name, text, value_of in _GAUGES:
        gauge = GaugeMetricFamily(f"workerpool_{name}", text, labels=_POOL)
        for series in snapshot.pools:
            value = value_of(series.record)
            if value is not None:
                gauge.add_metric(_labels(series.record.key), value)
        yield gauge
    yield from _counters(snapshot.pools)
    yield from _budgets(snapshot.pools)
    problem = GaugeMetricFamily(
        "workerpool_problem", "1 for each reason for which the pool is not ready.", labels=(*_POOL, "reason")
    )
    for key, reason in snapshot.problems:
        problem.add_metric((*_labels(key), reason), 1)
    yield problem
    yield _histogram("poll_duration", "Time of the round trips that read the brokers, once a pool.", snapshot.polls)
    reaction = "Time from the first observation that asked for another size to the answer to the change of replicas."
    yield _histogram("reaction", reaction, snapshot.reactions)
    leader = GaugeMetricFamily("workerpool_leader", "1 while this operator leads, 0 while it stands by.")
    if snapshot.leader is not None:
        leader.add_metric((), snapshot.leader)
    yield leader


def _queues(snapshot: Snapshot) -> tuple[Metric, ...]:
    labels = (*_POOL, "queue")
    ready = GaugeMetricFamily("workerpool_queue_ready_jobs", "Jobs that a free worker would start now.", labels=labels)
    scheduled = GaugeMetricFamily(
        "workerpool_queue_scheduled_jobs",
        "Jobs whose time has not come; counted a pool, so the queue is empty where a pool has several.",
        labels=labels,
    )
    oldest = GaugeMetricFamily(
        "workerpool_queue_oldest_job_seconds", "Age of the oldest waiting job; absent when none waits.", labels=labels
    )
    for series in snapshot.pools:
        key, seen = _labels(series.record.key), series.record.observation
        for name, queue in seen.queues.items():
            if isinstance(queue, QueueDepth):
                ready.add_metric((*key, name), queue.ready)
                if queue.oldest_job_s is not None:
                    oldest.add_metric((*key, name), queue.oldest_job_s)
        if isinstance(seen.in_flight, InFlight):
            only = next(iter(seen.queues)) if len(seen.queues) == 1 else ""
            scheduled.add_metric((*key, only), seen.in_flight.scheduled)
    return ready, scheduled, oldest


def _running(record: CycleRecord) -> float | None:
    flight = record.observation.in_flight
    return flight.running if isinstance(flight, InFlight) else None


def _broker_up(record: CycleRecord) -> float | None:
    missing = {part.cause for part in record.observation.unavailable}
    return None if missing == {Cause.NOT_YET_READ} else float(not missing)


_GAUGES: tuple[tuple[str, str, Callable[[CycleRecord], float | None]], ...] = (
    ("running_jobs", "Jobs that the pool's workers hold.", _running),
    ("desired_replicas", "Replicas decided on last.", lambda record: record.decision.target),
    ("max_replicas", "The pool's maxReplicas.", lambda record: record.spec.max_replicas),
    ("replicas", "Replicas asked for.", lambda record: record.decision.current),
    ("ready_replicas", "Replicas that take jobs.", lambda record: record.observation.replicas.ready),
    ("broker_up", "1 when all of the pool could be read in the last poll, else 0.", _broker_up),
    ("loop_lag_seconds", "How much later than due the pool's last cycle began.", lambda record: record.lag_s),
)


def _counters(pools: Iterable[PoolSeries]) -> tuple[Metric, ...]:
    scales = CounterMetricFamily(
        "workerpool_scale_events", "Changes of size that were applied.", labels=(*_POOL, "direction", "reason")
    )
    errors = CounterMetricFamily(
        "workerpool_broker_errors", "Polls in which something could not be read, by cause.", labels=(*_POOL, "kind")
    )
    for series in pools:
        key = _labels(series.record.key)
        for (direction, reason), number in sorted(series.scale_events.items()):
            scales.add_metric((*key, direction, reason), number)
        for kind, number in sorted(series.broker_errors.items()):
            errors.add_metric((*key, kind), number)
    return scales, errors


def _budgets(pools: Iterable[PoolSeries]) -> tuple[Metric, ...]:
    """What several pools share: as the pool that was decided last saw it."""
    labels = ("namespace", "budget")
    most = GaugeMetricFamily("workerpool_budget_max_replicas", "The limit that the pools share.", labels=labels)
    used = GaugeMetricFamily(
        "workerpool_budget_used_replicas", "Replicas of all its pools, those that are leaving included.", labels=labels
    )
    newest: dict[tuple[str, str], tuple[float, Allotment]] = {}
    for series in pools:
        seen = series.record.observation
        if seen.allotment is not None:
            budget = series.record.key.namespace, seen.allotment.budget
            if budget not in newest or newest[budget][0] <= seen.time_s:
                newest[budget] = seen.time_s, seen.allotment
    for budget, (_, allotment) in newest.items():
        most.add_metric(budget, allotment.max_replicas)
        used.add_metric(budget, allotment.used)
    return most, used


def _histogram(name: str, text: str, buckets: Buckets) -> Metric:
    bounds = [*(str(bound) for bound in buckets.bounds), "+Inf"]
    summed = list(zip(bounds, accumulate(buckets.counts), strict=True))
    family = HistogramMetricFamily(f"workerpool_{name}_seconds", text)
    family.add_metric((), summed, sum_value=buckets.sum)
    return family


def _labels(key: PoolKey) -> tuple[str, str]:
    return key.namespace, key.name
