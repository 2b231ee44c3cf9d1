"""Which replicas go when a pool shrinks. Pure."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class Standing(enum.IntEnum):
    """How little is lost when a replica goes: the lowest go first."""

    DOWN = 0
    """It has no process, or one that is ending by itself."""
    STARTING = 1
    """It takes no jobs yet."""
    IDLE = 2
    """Its last heartbeat is fresh and says it has no job."""
    UNKNOWN = 3
    """It runs, but has not been heard of lately: it may hold a job."""
    BUSY = 4
    """It holds at least one job."""
    DEAF = 5
    """It holds a job and does not listen: it cannot be told to take no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What the choice needs of one replica: who it is, how it stands, its jobs, and since when.

    ``started_s`` is when it was started, ``working_since_s`` when a worker of it started a job last.
    """

    index: int
    standing: Standing
    active: int = 0
    started_s: float = 0.0
    working_since_s: float = 0.0


def choose_victims(candidates: Sequence[Candidate], count: int) -> tuple[int, ...]:
    """Choose ``count`` replicas to stop, or all when there are fewer.

    Those of the lowest standing go first, so a busy one goes only when no other is left; then those with the fewest
    jobs. Of the equally busy the one goes that has started no job for the longest: it is the nearest to its end, as far
    as anybody can tell. Of the others the youngest, which have the least warmed up and give back what was added last.

    Returns:
        The indices of the chosen, in the order they should be stopped.
    """
    ranked = sorted(
        candidates,
        key=lambda one: (
            one.standing,
            one.active,
            one.working_since_s if one.active else -one.started_s,
            -one.started_s,
            -one.index,
        ),
    )
    return tuple(one.index for one in ranked[: max(0, count)])
