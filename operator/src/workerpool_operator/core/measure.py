"""What is learnt from one observation to the next: mean running jobs, service time, since when nothing can be read."""

from __future__ import annotations

import math

from workerpool_operator.core.decision import Measures
from workerpool_operator.core.observation import InFlight, Observation
from workerpool_operator.core.spec import PoolSpec

SERVICE_TIME_WINDOW_S = 120.0
"""Time constant of the service-time estimate: long enough to be steady, short enough to follow a change of jobs."""


def measured(observation: Observation, spec: PoolSpec, before: Measures, *, known: bool) -> Measures:
    """The measures with this observation taken in; ``known`` says that all of it could be read.

    Time that stands still or runs backwards adds nothing; what could not be read adds nothing.
    """
    now_s, held = observation.time_s, observation.in_flight
    if not known or not isinstance(held, InFlight):
        since_s = before.unreadable_since_s
        return Measures(
            mean_running=before.mean_running,
            service_time_s=before.service_time_s,
            time_s=now_s,
            started_total=before.started_total,
            # a clock that was set back must not make the outage look longer, nor start in the future
            unreadable_since_s=now_s if since_s is None else min(since_s, now_s),
        )
    elapsed_s = 0.0 if before.time_s is None else max(0.0, now_s - before.time_s)
    staying = max(0, held.running - held.running_on_leaving)
    return Measures(
        mean_running=_mean_running(before, staying, elapsed_s, spec),
        service_time_s=_service_time_s(before, held, elapsed_s, observation, spec),
        time_s=now_s,
        started_total=held.started_total,
    )


def _mean_running(before: Measures, running: int, elapsed_s: float, spec: PoolSpec) -> float:
    """Exponentially weighted mean over the stabilisation window of scaling down: both forget at the same pace."""
    if before.time_s is None:
        return float(running)
    window_s = max(1.0, float(spec.scale_down.stabilization_s))
    weight = -math.expm1(-elapsed_s / window_s)
    return before.mean_running + weight * (running - before.mean_running)


def _service_time_s(
    before: Measures, held: InFlight, elapsed_s: float, observation: Observation, spec: PoolSpec
) -> float | None:
    """Mean seconds a job runs: slot-seconds spent / jobs started, exponentially weighted.

    Little's law, W = L / arrival rate, over the time since the last observation.
    """
    then, now = before.started_total, held.started_total
    if then is None or now is None or now <= then or elapsed_s <= 0:
        return before.service_time_s
    slots = observation.replicas.ready * (spec.slots_per_replica or 1)
    sample_s = min(held.running, slots) * elapsed_s / (now - then)
    if sample_s <= 0:
        return before.service_time_s
    if before.service_time_s is None:
        return sample_s
    weight = -math.expm1(-elapsed_s / SERVICE_TIME_WINDOW_S)
    return before.service_time_s + weight * (sample_s - before.service_time_s)
