"""Pools at rest: at zero, with no work of any kind. As long as one reads the same, its decision is the same as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from workerpool_operator.core.observation import ActiveSchedule, QueueDepth, Unavailable
from workerpool_operator.ports import PoolReading, ReplicaState

AT_ZERO = ReplicaState(current=0, ready=0, leaving=0, silent=0)


@dataclass(kw_only=True, slots=True)
class Rest:
    """What a pool looked like when it was decided last, and when it was seen last to be still so (Unix seconds)."""

    pool: object
    found: PoolReading
    schedules: tuple[ActiveSchedule, ...]
    decided_s: float
    seen_s: float

    def goes_on(
        self,
        *,
        pool: object,
        found: PoolReading | Unavailable,
        state: ReplicaState,
        schedules: tuple[ActiveSchedule, ...],
        now_s: float,
        longest_s: float,
    ) -> bool:
        """Whether nothing has changed and the last decision is not too old."""
        same = self.pool is pool and state == AT_ZERO and found == self.found and schedules == self.schedules
        return same and 0 <= now_s - self.decided_s < longest_s


def nothing_in(found: PoolReading | Unavailable) -> TypeGuard[PoolReading]:
    """Whether a pool has no work of any kind, and all of it could be read."""
    return (
        isinstance(found, PoolReading)
        and all(isinstance(one, QueueDepth) and one.ready == 0 for one in found.queues.values())
        and found.held == 0
        and not (found.scheduled or found.due_in_s or found.vanished)
    )
