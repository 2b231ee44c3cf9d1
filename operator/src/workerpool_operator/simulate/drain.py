"""How replicas leave a simulated pool."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from math import inf


class Pick(enum.Enum):
    """How the replicas that go are chosen. Those that still start go first in any case."""

    BY_HEARTBEAT = "the idle by their last heartbeat, as WorkerPool does"
    BY_TRUTH = "the idle as they really are: what nobody can know"
    RANDOM = "any"


@dataclass(frozen=True, kw_only=True, slots=True)
class Drain:
    """How replicas leave: who, and how long a busy one may take to finish before it is killed."""

    pick: Pick
    grace_s: float = inf
    cordon: bool = False
    """Whether it only stops to take jobs, is given back when the load returns, and goes when it is known to be idle."""
