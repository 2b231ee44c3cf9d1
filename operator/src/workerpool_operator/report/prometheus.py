"""The board as Prometheus text (exposition format 0.0.4), without a client library. Pure.

What could not be read has no sample: an absent series can be alerted on, a 0 would be a lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workerpool_operator.core.observation import InFlight, QueueDepth
from workerpool_operator.ports import CycleRecord
from workerpool_operator.report.board import Board, PoolView
from workerpool_operator.report.numbers import numbers

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[dict[str, str], float]


def render(board: Board) -> str:
    """All metrics of the board. Names and labels are the contract of the design."""
    views = [view for view in board.pools.values() if view.record]
    blocks = (*_queue_metrics(views), *_pool_metrics(views), *_counters(views), _poll(views))
    return "".join(blocks)


def _queue_metrics(views: Sequence[PoolView]) -> tuple[str, ...]:
    ready: list[Sample] = []
    oldest: list[Sample] = []
    for view, record in _with_records(views):
        for name, queue in record.observation.queues.items():
            if isinstance(queue, QueueDepth):
                labels = _labels(view, queue=name)
                ready.append((labels, queue.ready))
                if queue.oldest_job_s is not None:
                    oldest.append((labels, queue.oldest_job_s))
    later = [
        (_labels(view, queue=_only_queue(record)), float(flight.scheduled))
        for view, record in _with_records(views)
        if isinstance(flight := record.observation.in_flight, InFlight)
    ]
    return (
        _block("queue_scheduled_jobs", "gauge", "Jobs whose time has not come.", later),
        _block("queue_ready_jobs", "gauge", "Jobs that a free worker would start now.", ready),
        _block("queue_oldest_job_seconds", "gauge", "Age of the oldest waiting job.", oldest),
    )


def _only_queue(record: CycleRecord) -> str:
    """The queue that scheduled jobs belong to; they are counted by pool, so it is empty where there are several."""
    return next(iter(record.observation.queues)) if len(record.observation.queues) == 1 else ""


def _pool_metrics(views: Sequence[PoolView]) -> tuple[str, ...]:
    pairs = [(_labels(view), numbers(record)) for view, record in _with_records(views)]
    running = [(labels, float(now.running)) for labels, now in pairs if now.running is not None]
    up = [(_labels(view), float(view.broker_up)) for view in views if view.broker_up is not None]
    return (
        _block("running_jobs", "gauge", "Jobs that the pool's workers hold.", running),
        _block("desired_replicas", "gauge", "Replicas decided on last.", [(ls, now.target) for ls, now in pairs]),
        _block("replicas", "gauge", "Replicas asked for.", [(ls, now.current) for ls, now in pairs]),
        _block("ready_replicas", "gauge", "Replicas that take jobs.", [(ls, now.ready_replicas) for ls, now in pairs]),
        _block("broker_up", "gauge", "1 when all of the pool could be read in the last poll, else 0.", up),
    )


def _counters(views: Sequence[PoolView]) -> tuple[str, ...]:
    scales: list[Sample] = []
    errors: list[Sample] = []
    for view in views:
        for (direction, reason), number in sorted(view.scale_events.items()):
            scales.append((_labels(view, direction=direction, reason=reason), number))
        for kind, number in sorted(view.broker_errors.items()):
            errors.append((_labels(view, kind=kind), number))
    return (
        _block("scale_events_total", "counter", "Changes of size that were applied.", scales),
        _block("broker_errors_total", "counter", "Polls in which something could not be read, by cause.", errors),
    )


def _poll(views: Sequence[PoolView]) -> str:
    name = "workerpool_poll_duration_seconds"
    lines = [f"# HELP {name} Time of the round trips that read the broker.\n# TYPE {name} summary\n"]
    for view in views:
        labels = _format(_labels(view))
        lines.append(f"{name}_sum{labels} {_number(view.poll_seconds)}\n{name}_count{labels} {view.cycles}\n")
    return "".join(lines)


def _with_records(views: Sequence[PoolView]) -> Iterable[tuple[PoolView, CycleRecord]]:
    return ((view, view.record) for view in views if view.record)


def _labels(view: PoolView, **more: str) -> dict[str, str]:
    return {"namespace": view.key.namespace, "pool": view.key.name, **more}


def _block(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    head = f"# HELP workerpool_{name} {text}\n# TYPE workerpool_{name} {kind}\n"
    return head + "".join(f"workerpool_{name}{_format(labels)} {_number(value)}\n" for labels, value in samples)


def _format(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
