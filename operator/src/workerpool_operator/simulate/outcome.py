"""What came of a simulated run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """How the pool stood at one time, for the picture."""

    time_s: float
    current: int
    ready: int
    waiting: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of a run. ``waits_s[n]`` is how long job ``n`` waited for the start of the run that finished it.

    ``busy_kills`` counts replicas that were killed while they held a job, ``lost_s`` the job seconds that this cost,
    ``unfinished`` the jobs that were not done when the simulation gave up.
    """

    waits_s: list[float]
    replica_s: float
    end_s: float
    scale_events: int
    pods_started: int
    busy_kills: int
    lost_s: float
    unfinished: int
    course: list[Moment]
