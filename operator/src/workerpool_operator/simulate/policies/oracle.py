"""The least that any schedule can cost which meets the target, the future known: a bound, not a schedule.

Let N jobs be given with arrivals a_j and seconds s_j, a target T, S the least start-up time of a replica, ``slots``
jobs a replica. A schedule meets the target when all but m = floor(N / 100) jobs start (the run that finishes them)
within T of their arrival; the others are *exempt*, and may run at any later time. R are its replica-seconds: each
replica from when it is asked for, S or more before it can work, until it is gone. A job that has started runs to its
end without a pause, or is cut off and starts anew. Whatever the schedule does, in whatever order and with whatever
foresight, R is at least the largest of three numbers.

1. **Floor.** ``minReplicas`` x duration: the pool is never smaller.

2. **Work and peak.** W / slots + S x (P - minReplicas), W being the sum of all s_j. Each is worked once, and a
   replica works at most ``slots`` of them a second: that is W / slots. Before it works, each replica that is not there
   at the start spends S, and at least P replicas are needed: for any stretch of arrivals [a, b] and any L, a job of it
   that is not exempt has started by b + T, so at least min(s_j, L) of it is worked within [a, b + T + L]; hence P x
   slots x (b - a + T + L) is at least the sum of these less m x L for the exempt. The largest over a set of stretches
   and several L is taken; any set gives a bound.

3. **Work and gaps** (``minReplicas`` 0). Pick jobs j_1, j_2, ... greedily: j_1 the first, j_{i+1} the first after
   a_{j_i} + T. The gap G_i between a_{j_i} + T and a_{j_{i+1}} holds no arrival; let g_i be its length. If neither j_i
   nor j_{i+1} is exempt, one of two holds. Either a replica is there during all of G_i, which costs g_i, of which no
   more is work than can run in it; or at some time of G_i there is none, and then the replica that starts j_{i+1}
   spends S in starting up after that time and before a_{j_{i+1}} + T. These stretches do not overlap for different i,
   so the waste adds up: R >= W / slots + S + sum of min(S, max(0, g_i - b_i / slots)) - E / slots. (The S alone is the
   first start.) Here b_i is the work that jobs which are not exempt can do in G_i: such a job has started by a_j + T,
   so it reaches into G_i only if a_j + s_j > a_{j_i}, and then with no more than min(s_j, g_i). E is the work of the m
   longest jobs: all that exempt jobs can do in gaps. An exempt j_i spoils two terms, so the 2m largest terms are left
   out.

That no policy gets below it is also tested, against all of them under random loads. It is not tight: no schedule
need exist that costs as little, least of all where a few slots have to meet a short target.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from workerpool_operator.simulate.drain import Drain, Pick
from workerpool_operator.simulate.load import Load
from workerpool_operator.simulate.score import GOAL
from workerpool_operator.simulate.world import World

STRETCHES = (0.5, 1.0, 2.0, 5.0, 20.0)
"""Lengths of stretches of arrivals that are looked at, in targets."""
REACHES = (0.5, 1.0, 4.0)
"""The L that are tried, in mean job seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """The bound in replica-seconds, the parts it is the largest of, and how many replicas are needed at some time."""

    floor_s: float
    peak_s: float
    gaps_s: float
    peak: int

    @property
    def replica_s(self) -> float:
        """The bound."""
        return max(self.floor_s, self.peak_s, self.gaps_s)


def bound(load: Load, *, slots: int, startup_s: float, target_s: float, least: int) -> Bound:
    """The least replica-seconds of any schedule that meets the target. ``startup_s`` is the least start-up time."""
    exempt = exempt_of(len(load.arrivals_s))
    work_s = load.work_s / slots
    peak = peak_replicas(load, slots=slots, target_s=target_s, exempt=exempt)
    gaps_s = 0.0
    if least == 0:
        longest_s = sum(sorted(load.services_s)[len(load.services_s) - exempt :]) if exempt else 0.0
        waste_s = gap_waste_s(load, slots=slots, startup_s=startup_s, target_s=target_s, exempt=exempt)
        gaps_s = work_s + startup_s + max(0.0, waste_s - longest_s / slots)
    return Bound(
        floor_s=least * load.duration_s,
        peak_s=work_s + startup_s * max(0, peak - least),
        gaps_s=gaps_s,
        peak=peak,
    )


def exempt_of(jobs: int) -> int:
    """How many jobs may be late."""
    return math.floor(jobs * (1 - GOAL) + 1e-9)


def peak_replicas(load: Load, *, slots: int, target_s: float, exempt: int) -> int:
    """Part 2: how many replicas must be there at some time, at least 1."""
    arrivals_s, peak = load.arrivals_s, 1
    mean_s = load.work_s / len(arrivals_s)
    for reach in REACHES:
        reach_s = reach * mean_s
        sums = [0.0, *accumulate(min(service_s, reach_s) for service_s in load.services_s)]
        for stretch in STRETCHES:
            length_s = stretch * target_s
            capacity_s = slots * (length_s + target_s + reach_s)
            step = max(1, len(arrivals_s) // 20_000)
            for first in range(0, len(arrivals_s), step):
                last = bisect_right(arrivals_s, arrivals_s[first] + length_s, first)
                must_s = sums[last] - sums[first] - exempt * reach_s
                if must_s > peak * capacity_s:
                    peak = math.ceil(must_s / capacity_s - 1e-9)
    return peak


def gap_waste_s(load: Load, *, slots: int, startup_s: float, target_s: float, exempt: int) -> float:
    """Part 3: the sum over the gaps, without the terms that exempt jobs may spoil."""
    arrivals_s = load.arrivals_s
    picked = [0]
    while (following := bisect_right(arrivals_s, arrivals_s[picked[-1]] + target_s, picked[-1])) < len(arrivals_s):
        picked.append(following)
    begins_s = [arrivals_s[job] for job in picked]
    gaps_s = [max(0.0, later - begin - target_s) for begin, later in pairwise(begins_s)]
    own_s, over = [0.0] * len(picked), [0] * (len(picked) + 1)
    for number, first in enumerate(picked):
        last = picked[number + 1] if number + 1 < len(picked) else len(arrivals_s)
        for job in range(first, last):
            service_s = load.services_s[job]
            own_s[number] += service_s
            # a job so long that it may reach into later gaps as well
            reached = bisect_left(begins_s, arrivals_s[job] + service_s, number + 1)
            over[number + 1] += 1
            over[reached] -= 1
    long_jobs = list(accumulate(over))
    terms = sorted(
        min(startup_s, max(0.0, gap_s - (own_s[number] + long_jobs[number] * gap_s) / slots))
        for number, gap_s in enumerate(gaps_s)
    )
    return sum(terms[: max(0, len(terms) - 2 * exempt)])


@dataclass(kw_only=True, slots=True)
class EagerPolicy:
    """As many replicas as allowed, from the first moment on: what it cannot meet, hardly anything can."""

    most: int
    least: int
    name: str = "eager"
    next_s: float = 0.0
    drain: Drain = field(default=Drain(pick=Pick.BY_TRUTH))

    @property
    def initial(self) -> int:
        """What is there before the first job."""
        return self.least

    def ask(self, now_s: float, world: World) -> int:
        """All, once."""
        del now_s, world
        self.next_s = math.inf
        return self.most

    def rest(self, until_s: float) -> None:
        """Nothing to leave out."""
