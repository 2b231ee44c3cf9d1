"""What the policy answers: a size, why, and what to remember for the next time.

These are named tuples where the rest of the core has frozen dataclasses: a decision a second for each of thousands of
pools makes some ten of them, and a frozen dataclass takes three times as long to make.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from workerpool_operator.core.measure import Measures


class Reason(enum.StrEnum):
    """Why a pool has the size it has. One of these is in every decision, metric, event and status."""

    WORK_WAITING = "WorkWaiting"
    """The backlog (ready + running + due) asks for this size."""
    LATENCY_TARGET = "LatencyTarget"
    """Fewer replicas would let jobs wait longer than queueLatencySeconds."""
    KEEPING_UP = "KeepingUp"
    """The backlog alone would need fewer, but this many were busy on average: fewer would fall behind."""
    DUE_WORK = "DueWork"
    """Only scheduled jobs that come due within the start-up time ask for a replica."""
    STRANDED_WORK = "StrandedWork"
    """Jobs of workers that are gone can only be brought back by a new worker."""
    IDLE = "Idle"
    """Nothing waits, runs or comes due: the least the bounds allow."""
    SCHEDULED_MINIMUM = "ScheduledMinimum"
    """A schedule in force raises the minimum."""
    PINNED = "Pinned"
    """spec.replicas fixes the size."""
    PAUSED = "Paused"
    """spec.scaling.paused holds the size."""
    FALLBACK = "Fallback"
    """The broker could not be read for long enough that the fallback size applies."""
    BROKER_UNREADABLE = "BrokerUnreadable"
    """Something could not be read: the size is held, an unreadable queue never lowers it."""
    STABILIZING = "Stabilizing"
    """A change is held back until the stabilisation window agrees."""
    STEP_LIMITED = "StepLimited"
    """scaleUp.maxReplicasPerStep bounds this step."""
    AT_MINIMUM = "AtMinimum"
    """The wish is below minReplicas."""
    AT_MAXIMUM = "AtMaximum"
    """The wish is above maxReplicas."""
    BUDGET_EXHAUSTED = "BudgetExhausted"
    """The wish is above what scaling.budget, which other pools share, leaves the pool now."""
    BUSY_WORKERS = "BusyWorkers"
    """Fewer are wanted, but this many hold a job, and scaleDown.whenBusy is Wait."""


class Answer(NamedTuple):
    """A size on its way through the rules, and why it is what it is so far."""

    replicas: int
    reason: Reason
    message: str


class RuleOutcome(NamedTuple):
    """What one rule made of the answer; rules that left it as it was are not listed."""

    rule: str
    before: int
    after: int
    reason: Reason
    message: str


class Wish(NamedTuple):
    """A size that demand once asked for, with the time it was asked."""

    time_s: float
    replicas: int


class History(NamedTuple):
    """All that the policy remembers of a pool between two decisions; bounded, and safe to lose.

    ``up_wishes`` and ``down_wishes`` are the wishes of the stabilisation windows, already thinned to those that can
    still win.
    """

    measures: Measures = Measures()
    up_wishes: tuple[Wish, ...] = ()
    down_wishes: tuple[Wish, ...] = ()


class Decision(NamedTuple):
    """The size a pool should have, and why.

    ``current`` is the size it had. ``demand_replicas`` is what the work alone asked for, before any override, window or
    bound. ``limits`` names the bounds that applied. ``look_again_s`` is when the next decision should be taken at the
    latest, in seconds from the observation.
    """

    current: int
    target: int
    reason: Reason
    message: str
    demand_replicas: int
    limits: tuple[Reason, ...] = ()
    trace: tuple[RuleOutcome, ...] = ()
    history: History = History()
    look_again_s: float = 1.0

    @property
    def direction(self) -> str:
        """``up``, ``down`` or ``none``."""
        if self.target > self.current:
            return "up"
        return "down" if self.target < self.current else "none"
