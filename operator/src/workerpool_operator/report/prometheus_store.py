"""What metrics are made of: per pool the last record and some counts, and two histograms. Pure data, no library.

Noting a cycle is a few dictionary look-ups; the samples are only made when somebody scrapes. Setting every gauge in
every cycle would cost several times as much, for samples that nobody asks for at that rate.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from workerpool_operator.core.observation import Cause
from workerpool_operator.ports import CycleRecord, Notice, OutcomeKind, PoolKey

POLL_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""From a Redis next door to one that runs into the time limit."""

REACTION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""From one patch to an API server that is away for a while."""


@dataclass(kw_only=True, slots=True)
class PoolSeries:
    """What is counted of one pool. ``asked_at_s`` is when another size was first asked for, None while none is."""

    record: CycleRecord
    scale_events: Counter[tuple[str, str]] = field(default_factory=Counter)
    broker_errors: Counter[str] = field(default_factory=Counter)
    asked_at_s: float | None = None


class Buckets:
    """A histogram. ``counts`` are per bucket, not yet summed up; the last is for all that exceeds the bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def copy(self) -> Buckets:
        """A copy that does not change."""
        other = Buckets(self.bounds)
        other.counts, other.sum = self.counts.copy(), self.sum
        return other


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The store at one moment, safe to read in another thread."""

    pools: tuple[PoolSeries, ...]
    polls: Buckets
    reactions: Buckets
    leader: bool | None
    problems: tuple[tuple[PoolKey, str], ...] = ()


class MetricStore:
    """A sink that keeps what a scrape needs."""

    def __init__(self) -> None:
        self._pools: dict[PoolKey, PoolSeries] = {}
        self._problems: dict[PoolKey, tuple[str, ...]] = {}
        self._polls = Buckets(POLL_BUCKETS_S)
        self._reactions = Buckets(REACTION_BUCKETS_S)
        self.leader: bool | None = None
        """Whether this process leads, None in a world without leadership."""

    def record(self, record: CycleRecord) -> None:
        """Take note of one cycle of one pool."""
        series = self._pools.get(record.key)
        if series is None:
            series = self._pools[record.key] = PoolSeries(record=record)
        else:
            series.record = record
        self._polls.observe(record.poll_duration_s)
        _count_errors(series, record)
        self._note_reaction(series, record)

    def notice(self, notice: Notice) -> None:
        """Nothing: what happens outside a cycle is for events and logs."""

    def problems(self, key: PoolKey, reasons: Iterable[str], *, polled: bool) -> None:
        """Take note of what is wrong with a pool, by reason; while it is not polled, its last samples are not true."""
        if not polled:
            self._pools.pop(key, None)
        found = tuple(sorted(set(reasons)))
        if found:
            self._problems[key] = found
        else:
            self._problems.pop(key, None)

    def forget(self, key: PoolKey) -> None:
        """Drop the series of a pool that is no more."""
        self._pools.pop(key, None)
        self._problems.pop(key, None)

    def forget_all(self) -> None:
        """Drop the series of all pools: from here on, another operator tells of them."""
        self._pools.clear()
        self._problems.clear()

    def snapshot(self) -> Snapshot:
        """Everything as it is now."""
        return Snapshot(
            pools=tuple(
                PoolSeries(
                    record=series.record,
                    scale_events=series.scale_events.copy(),
                    broker_errors=series.broker_errors.copy(),
                )
                for series in self._pools.values()
            ),
            polls=self._polls.copy(),
            reactions=self._reactions.copy(),
            leader=self.leader,
            problems=tuple((key, reason) for key, reasons in self._problems.items() for reason in reasons),
        )

    def _note_reaction(self, series: PoolSeries, record: CycleRecord) -> None:
        direction, seen_s = record.decision.direction, record.observation.time_s
        if direction == "none":
            series.asked_at_s = None  # the wish is gone, or somebody else fulfilled it
            return
        if series.asked_at_s is None:
            series.asked_at_s = seen_s
        if record.outcome.kind is OutcomeKind.APPLIED:
            # the wall clock may have been set back in between
            waited_s = max(0.0, seen_s - series.asked_at_s)
            self._reactions.observe(waited_s + record.act_duration_s)
            series.scale_events[direction, record.decision.reason.value] += 1
            series.asked_at_s = None


def _count_errors(series: PoolSeries, record: CycleRecord) -> None:
    unavailable = record.observation.unavailable
    if not unavailable:
        return
    # one round trip that failed is one error, however many queues it was to read
    for cause in {part.cause for part in unavailable} - {Cause.NOT_YET_READ}:
        series.broker_errors[cause.value] += 1
