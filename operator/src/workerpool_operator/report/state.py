"""The board as JSON for the page and for scripts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workerpool_operator.core.observation import QueueDepth, Unavailable
from workerpool_operator.ports import Notice
from workerpool_operator.report.board import Board, Point, PoolView
from workerpool_operator.report.numbers import numbers
from workerpool_operator.report.screen import BAD_NOTICES

Json = dict[str, Any]


def state(board: Board, *, since: Mapping[str, int] | None = None) -> Json:
    """Everything the board knows; numbers that could not be read are null.

    Args:
        board: What to tell.
        since: Per pool the cycles that the receiver has in its history already, as :func:`marks` gave them; the
            history then holds the points after that only.
    """
    views = [view for view in board.pools.values() if view.record]
    progress = board.progress
    return {
        "version": board.version,
        "broker_up": board.broker_up,
        "progress": {"text": progress.text, "done": progress.done, "total": progress.total} if progress else None,
        "messages": list(board.messages),
        "pools": [_pool(view, (since or {}).get(str(view.key), 0)) for view in views],
    }


def marks(board: Board) -> dict[str, int]:
    """How far the history of each pool has come: what to give as ``since`` the next time."""
    return {str(view.key): view.cycles for view in board.pools.values()}


def _newer(view: PoolView, since: int) -> list[Point]:
    # by count, not by time: clocks are set back
    points = list(view.points)
    return points[max(0, len(points) - (view.cycles - since)) :]


def _pool(view: PoolView, since: int) -> Json:
    record = view.record
    if record is None:
        return {}
    now = numbers(record)
    # the first keys are those of the decision log, with the same meaning
    return {
        "time": now.time_s,
        "pool": record.key.name,
        "ready": now.ready,
        "running": now.running,
        "scheduled": now.scheduled,
        "oldest_job_s": now.oldest_job_s,
        "current": now.current,
        "target": now.target,
        "reason": now.reason,
        "message": now.message,
        "namespace": record.key.namespace,
        "min": now.minimum,
        "max": now.maximum,
        "busy": now.busy,
        "ready_replicas": now.ready_replicas,
        "leaving": now.leaving,
        "broker_up": view.broker_up,
        "outcome": {"kind": record.outcome.kind.value, "message": record.outcome.message},
        "limits": [limit.value for limit in record.decision.limits],
        "queues": {name: _queue(queue) for name, queue in record.observation.queues.items()},
        "troubles": [trouble.text for trouble in view.troubles],
        "counts": _counts(view),
        "peaks": _peaks(view),
        "history": [_point(point) for point in _newer(view, since)],
        "notices": [_notice(notice) for notice in view.notices],
    }


def _queue(queue: QueueDepth | Unavailable) -> Json:
    if isinstance(queue, Unavailable):
        return {"ready": None, "oldest_job_s": None, "cause": queue.cause.value, "message": queue.message}
    return {"ready": queue.ready, "oldest_job_s": queue.oldest_job_s}


def _counts(view: PoolView) -> Json:
    return {
        "scaled_up": view.scaled("up"),
        "scaled_down": view.scaled("down"),
        "started": view.started,
        "crashes": view.crashes,
        "kills": view.kills,
    }


def _peaks(view: PoolView) -> Json:
    return {
        "ready": view.peak_backlog,
        "running": view.peak_running,
        "target": view.peak_desired,
        "ready_replicas": view.peak_ready_replicas,
        "oldest_job_s": view.longest_oldest_job_s,
    }


def _point(point: Point) -> Json:
    return {
        "time": point.time_s,
        "ready": point.backlog,
        "running": point.running,
        "scheduled": point.scheduled,
        "target": point.desired,
        "ready_replicas": point.ready_replicas,
    }


def _notice(notice: Notice) -> Json:
    return {
        "time": notice.time_s,
        "kind": notice.kind.value,
        "message": notice.message,
        "busy": notice.busy,
        "bad": notice.kind in BAD_NOTICES,
    }
