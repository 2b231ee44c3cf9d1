"""The load of a run: when each job arrives and how long it runs, drawn once and the same for every policy."""

from __future__ import annotations

import random
from dataclasses import dataclass

from workerpool_operator.simulate.errors import SimulateError
from workerpool_operator.simulate.services import SHORTEST_S, Lengths
from workerpool_operator.simulate.traces import Trace

JOBS_MAX = 20_000_000
"""More would not fit into the memory of an ordinary machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """Jobs in the order of their arrival. All times are seconds since the beginning of the run.

    ``services_s[n]`` is how long job ``n`` runs, ``duration_s`` how long jobs may arrive; ``begin_s`` is the Unix time
    at which the run begins, which only schedules care about.
    """

    arrivals_s: list[float]
    services_s: list[float]
    duration_s: float
    begin_s: float = 0.0

    @property
    def work_s(self) -> float:
        """The seconds of all jobs together."""
        return sum(self.services_s)


def make_load(trace: Trace, job_s: Lengths, *, seed: int) -> Load:
    """Draw the jobs of a trace.

    Within a window arrivals are a Poisson process. A number that was counted is kept as it is, its jobs placed at
    random (a Poisson process given its count); any other is taken as a mean.

    Raises:
        SimulateError: there are no jobs, or far too many.
    """
    if trace.jobs > JOBS_MAX:
        raise SimulateError(f"{trace.name}: {trace.jobs:,.0f} jobs are too many; make them fewer with --scale")
    arrivals = _arrivals(trace, random.Random(f"arrivals {seed}"))  # noqa: S311 - a simulation, no secrets
    if not arrivals:
        raise SimulateError(f"{trace.name}: no job arrives; give more with --scale, or another trace")
    rng, duration_s = random.Random(f"services {seed}"), trace.duration_s  # noqa: S311
    draw = job_s.draw
    services = [max(SHORTEST_S, draw(rng, at_s / duration_s)) for at_s in arrivals]
    return Load(arrivals_s=arrivals, services_s=services, duration_s=duration_s, begin_s=trace.begin_s)


def _arrivals(trace: Trace, rng: random.Random) -> list[float]:
    if trace.moments is not None:
        return sorted(trace.moments)
    arrivals: list[float] = []
    for begin_s, length_s, mean in trace.windows:
        count = int(mean) if trace.exact else poisson(rng, mean)
        arrivals += sorted([begin_s + length_s * rng.random() for _ in range(count)])
    return arrivals


def poisson(rng: random.Random, mean: float) -> int:
    """A Poisson-distributed number: unit-rate exponential gaps are counted until they fill ``mean``."""
    count, left = 0, mean - rng.expovariate(1.0)
    while left > 0:
        count += 1
        left -= rng.expovariate(1.0)
    return count
