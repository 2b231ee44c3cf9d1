"""What the user wants of a pool, as the policy needs it: plain numbers, defaults filled in, already validated."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class WhenBusy(enum.StrEnum):
    """Whether the pool may shrink below the number of workers that hold a job."""

    WAIT = "Wait"
    ALLOW = "Allow"


BACKLOG_DOWN_WINDOW_S = 60
"""The default window of a pool with a backlog target. A latency target brings its own hysteresis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleUp:
    """How fast a pool may grow: the lowest wish of the window counts; ``max_replicas_per_step`` None is no limit."""

    stabilization_s: int = 0
    max_replicas_per_step: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleDown:
    """How fast a pool may shrink: the highest wish of the window counts."""

    stabilization_s: int | None = None
    when_busy: WhenBusy = WhenBusy.WAIT


@dataclass(frozen=True, kw_only=True, slots=True)
class Fallback:
    """The size to hold at least once the broker could not be read for ``after_s`` seconds."""

    replicas: int
    after_s: int = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """A limit that several pools share: ``max_replicas`` over all pools that name it, more of it for more weight."""

    name: str
    max_replicas: int
    weight: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolSpec:
    """The scaling part of a WorkerPool.

    ``backlog_per_replica`` is how many jobs, waiting or running, one replica should face; ``queue_latency_s`` how long
    a job may wait. At least one of the two is set. ``slots_per_replica`` is how many jobs one replica runs at a time,
    None where it is not declared. ``lead_s`` is how long before a scheduled job comes due the pool should be awake for
    it: the time a replica takes to start. ``pinned_replicas`` fixes the size (0..max).
    """

    min_replicas: int = 0
    max_replicas: int = 10
    pinned_replicas: int | None = None
    backlog_per_replica: int | None = 10
    queue_latency_s: int | None = None
    slots_per_replica: int | None = None
    lead_s: float = 5.0
    poll_interval_s: float = 1.0
    scale_up: ScaleUp = field(default=ScaleUp())
    scale_down: ScaleDown = field(default=ScaleDown())
    fallback: Fallback | None = None
    paused: bool = False
    budget: Budget | None = None

    @property
    def down_window_s(self) -> int:
        """For how long a smaller size must be wished before the pool shrinks."""
        window_s = self.scale_down.stabilization_s
        if window_s is None:
            return BACKLOG_DOWN_WINDOW_S if self.backlog_per_replica is not None else 0
        return window_s
