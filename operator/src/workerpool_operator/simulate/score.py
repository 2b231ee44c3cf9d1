"""What came of a run, as the few numbers that policies are compared by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workerpool_operator.simulate.load import Load
from workerpool_operator.simulate.outcome import Outcome

GOAL = 0.99
"""A policy meets its target when this share of the jobs waits no longer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One policy under one load. ``None`` is what a bound cannot say (the oracle runs nothing).

    ``replica_s`` counts every replica from when it was asked for until it was gone; ``work_s`` the seconds of all jobs,
    each once; ``cost`` is replica-seconds x slots / work: 1 is a pool that never idles. Waits are seconds from a job's
    arrival to the start of the run that finished it. ``setting`` says with what a policy that is tuned ran.
    """

    name: str
    replica_s: float
    work_s: float
    cost: float
    wait_p50_s: float | None
    wait_p95_s: float | None
    wait_p99_s: float | None
    wait_max_s: float | None
    within_target: float
    scale_events: int | None
    pods_started: int | None
    busy_kills: int
    lost_s: float = 0.0
    unfinished: int = 0
    setting: str = ""

    @property
    def meets(self) -> bool:
        """Whether enough jobs were in time."""
        return self.within_target >= GOAL

    def contract(self) -> dict[str, float | int | None]:
        """What ``--json`` promises of each policy."""
        return {
            "replica_seconds": round(self.replica_s, 3),
            "work_seconds": round(self.work_s, 3),
            "wait_p50_s": _rounded(self.wait_p50_s),
            "wait_p95_s": _rounded(self.wait_p95_s),
            "wait_p99_s": _rounded(self.wait_p99_s),
            "within_target": round(self.within_target, 6),
            "scale_events": self.scale_events,
            "pods_started": self.pods_started,
            "busy_kills": self.busy_kills,
        }


def score(name: str, outcome: Outcome, load: Load, *, target_s: float, slots: int, setting: str = "") -> Score:
    """Count what came of a run."""
    waits_s = sorted(outcome.waits_s)
    late = sum(1 for wait_s in waits_s if wait_s > target_s)
    work_s = load.work_s
    return Score(
        name=name,
        replica_s=outcome.replica_s,
        work_s=work_s,
        cost=outcome.replica_s * slots / work_s,
        wait_p50_s=quantile(waits_s, 0.5),
        wait_p95_s=quantile(waits_s, 0.95),
        wait_p99_s=quantile(waits_s, 0.99),
        wait_max_s=waits_s[-1],
        within_target=1 - late / len(waits_s),
        scale_events=outcome.scale_events,
        pods_started=outcome.pods_started,
        busy_kills=outcome.busy_kills,
        lost_s=outcome.lost_s,
        unfinished=outcome.unfinished,
        setting=setting,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that is not exceeded by this share of them (the nearest-rank quantile)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
