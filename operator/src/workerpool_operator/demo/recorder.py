"""What the demo keeps of a run beside the effects: the course of each pool, for the picture and the times."""

from __future__ import annotations

from dataclasses import dataclass, field

from workerpool_operator.core.observation import InFlight
from workerpool_operator.ports import CycleRecord, Notice, NoticeKind, PoolKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """One pool at one moment. ``backlog`` and ``running`` are None while they cannot be read."""

    time_s: float
    backlog: int | None
    running: int | None
    desired: int
    current: int
    ready: int


@dataclass(kw_only=True, slots=True)
class Recorder:
    """A sink that remembers every moment of every pool."""

    course: dict[str, list[Moment]] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    longest_wait_s: float = 0.0
    peak_replicas: int = 0
    _sizes: dict[PoolKey, int] = field(default_factory=dict)

    def record(self, record: CycleRecord) -> None:
        """Keep the moment."""
        seen = record.observation
        held = seen.in_flight if isinstance(seen.in_flight, InFlight) else None
        readable = not seen.unavailable
        self.course.setdefault(record.key.name, []).append(
            Moment(
                time_s=seen.time_s,
                backlog=seen.ready if readable else None,
                running=held.running if held and readable else None,
                desired=record.decision.target,
                current=record.decision.current,
                ready=seen.replicas.ready,
            )
        )
        self.longest_wait_s = max(self.longest_wait_s, seen.oldest_job_s or 0.0)
        self._sizes[record.key] = seen.replicas.current
        self.peak_replicas = max(self.peak_replicas, self.size)

    def notice(self, notice: Notice) -> None:
        """Keep the notice."""
        self.notices.append(notice)

    @property
    def size(self) -> int:
        """Replicas of all pools together, as last seen."""
        return sum(self._sizes.values())

    @property
    def first_replica_s(self) -> float | None:
        """When the first replica was started, Unix seconds."""
        return next((one.time_s for one in self.notices if one.kind is NoticeKind.REPLICA_STARTED), None)
