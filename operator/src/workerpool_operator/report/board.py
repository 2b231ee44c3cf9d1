"""What views show: per pool the last record, a short history, notices, counts and peaks. Pure data, no drawing."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from workerpool_operator.core.observation import Cause
from workerpool_operator.ports import CycleRecord, Notice, NoticeKind, OutcomeKind, PoolKey
from workerpool_operator.report.numbers import Numbers, Trouble, numbers, troubles
from workerpool_operator.report.prometheus_store import MetricStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One moment of a pool's history; None is unknown. ``backlog`` counts the jobs waiting."""

    time_s: float
    backlog: int | None
    running: int | None
    scheduled: int | None
    desired: int
    ready_replicas: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """A line that whoever runs the views wants shown: what goes on, and how far it is.

    ``total`` 0 is a text without a bar.
    """

    text: str
    done: int = 0
    total: int = 0


@dataclass(kw_only=True, slots=True)
class PoolView:
    """All that is kept of one pool. Views read it; only the board writes it.

    ``scale_events`` counts by (direction, reason), the peaks are those since the start.
    ``longest_oldest_job_s`` is the greatest age in seconds that a waiting job was seen at.
    """

    key: PoolKey
    points: deque[Point]
    notices: deque[Notice]
    record: CycleRecord | None = None
    scale_events: Counter[tuple[str, str]] = field(default_factory=Counter)
    cycles: int = 0
    started: int = 0
    crashes: int = 0
    kills: int = 0
    longest_oldest_job_s: float | None = None
    peak_backlog: int = 0
    peak_running: int = 0
    peak_desired: int = 0
    peak_ready_replicas: int = 0

    @property
    def now(self) -> Numbers | None:
        """The numbers of the last cycle, None before the first."""
        return numbers(self.record) if self.record else None

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """What was wrong in the last cycle."""
        return troubles(self.record) if self.record else ()

    @property
    def broker_up(self) -> bool | None:
        """Whether all of the pool could be read in the last cycle, None before the first reading."""
        if self.record is None:
            return None
        missing = {part.cause for part in self.record.observation.unavailable}
        return None if missing == {Cause.NOT_YET_READ} else not missing

    def scaled(self, direction: str) -> int:
        """How often the pool was scaled ``up`` or ``down``."""
        return sum(number for (way, _), number in self.scale_events.items() if way == direction)


class Board:
    """A sink that keeps what views need, bounded, and tells them when something changed."""

    def __init__(self, *, max_points: int = 600, max_notices: int = 50) -> None:
        self._max_points = max_points
        self._max_notices = max_notices
        self._pools: dict[PoolKey, PoolView] = {}
        self._listeners: dict[int, Callable[[], None]] = {}
        self._next_listener = 0
        self._messages: deque[str] = deque(maxlen=max_notices)
        self._progress: Progress | None = None
        self.version = 0
        """Grows with every change."""
        self.metrics = MetricStore()
        """What the page's metrics are made of."""

    @property
    def pools(self) -> Mapping[PoolKey, PoolView]:
        """The pools seen so far, in the order they appeared."""
        return self._pools

    @property
    def broker_up(self) -> bool | None:
        """Whether all pools could be read in their last cycle, None before anything was read."""
        states = [view.broker_up for view in self._pools.values() if view.broker_up is not None]
        return all(states) if states else None

    @property
    def messages(self) -> tuple[str, ...]:
        """Lines that belong to no pool, oldest first."""
        return tuple(self._messages)

    @property
    def progress(self) -> Progress | None:
        """The progress line that views show, None for none."""
        return self._progress

    @progress.setter
    def progress(self, progress: Progress | None) -> None:
        if progress != self._progress:
            self._progress = progress
            self._changed()

    def say(self, line: str) -> None:
        """Show a line that belongs to no pool, such as another report's trouble."""
        self._messages.append(line)
        self._changed()

    def record(self, record: CycleRecord) -> None:
        """Keep the record and what it adds to the history."""
        self.metrics.record(record)
        view = self._view(record.key)
        view.record = record
        now = numbers(record)
        view.points.append(
            Point(
                time_s=now.time_s,
                backlog=now.ready,
                running=now.running,
                scheduled=now.scheduled,
                desired=now.target,
                ready_replicas=now.ready_replicas,
            )
        )
        _count(view, record)
        _raise_peaks(view, now)
        self._changed()

    def notice(self, notice: Notice) -> None:
        """Keep the notice and count it."""
        view = self._view(notice.key)
        view.notices.append(notice)
        view.started += notice.kind is NoticeKind.REPLICA_STARTED
        view.crashes += notice.kind is NoticeKind.REPLICA_CRASHED
        view.kills += notice.kind is NoticeKind.REPLICA_KILLED
        self._changed()

    def forget(self, key: PoolKey) -> None:
        """Drop a pool that is no more."""
        self.metrics.forget(key)
        if self._pools.pop(key, None) is not None:
            self._changed()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each change, from the loop, so it must be quick; returns what ends that."""
        token, self._next_listener = self._next_listener, self._next_listener + 1
        self._listeners[token] = listener
        return lambda: self._listeners.pop(token, None) and None

    def _view(self, key: PoolKey) -> PoolView:
        if key not in self._pools:
            self._pools[key] = PoolView(
                key=key, points=deque(maxlen=self._max_points), notices=deque(maxlen=self._max_notices)
            )
        return self._pools[key]

    def _changed(self) -> None:
        self.version += 1
        for listener in tuple(self._listeners.values()):
            listener()


def _count(view: PoolView, record: CycleRecord) -> None:
    view.cycles += 1
    direction = record.decision.direction
    if record.outcome.kind is OutcomeKind.APPLIED and direction != "none":
        view.scale_events[direction, record.decision.reason.value] += 1


def _raise_peaks(view: PoolView, now: Numbers) -> None:
    view.peak_backlog = max(view.peak_backlog, now.ready or 0)
    view.peak_running = max(view.peak_running, now.running or 0)
    view.peak_desired = max(view.peak_desired, now.target)
    view.peak_ready_replicas = max(view.peak_ready_replicas, now.ready_replicas)
    if now.oldest_job_s is not None:
        view.longest_oldest_job_s = max(view.longest_oldest_job_s or 0.0, now.oldest_job_s)
