"""What is learnt from one observation to the next: mean running jobs, service time, since when nothing can be read."""

from __future__ import annotations

import math
from dataclasses import replace

from workerpool_operator.core.decision import History
from workerpool_operator.core.observation import InFlight, Observation
from workerpool_operator.core.spec import PoolSpec

SERVICE_TIME_WINDOW_S = 120.0
"""Time constant of the service-time estimate: long enough to be steady, short enough to follow a change of jobs."""


def measured(observation: Observation, spec: PoolSpec, history: History) -> History:
    """The history with this observation taken in.

    Time that stands still or runs backwards adds nothing; what could not be read adds nothing.
    """
    now_s = observation.time_s
    if observation.unavailable:
        since_s = history.unreadable_since_s
        # a clock that was set back must not make the outage look longer, nor start in the future
        return replace(history, unreadable_since_s=now_s if since_s is None else min(since_s, now_s), last_time_s=now_s)
    held = observation.in_flight
    if not isinstance(held, InFlight):
        raise TypeError("an observation with nothing unavailable has its jobs in flight")
    elapsed_s = 0.0 if history.last_time_s is None else max(0.0, now_s - history.last_time_s)
    staying = max(0, held.running - held.running_on_leaving)
    return replace(
        history,
        mean_running=_mean_running(history, staying, elapsed_s, spec),
        service_time_s=_service_time_s(history, held, elapsed_s, observation, spec),
        last_time_s=now_s,
        last_started_total=held.started_total,
        unreadable_since_s=None,
    )


def _mean_running(history: History, running: int, elapsed_s: float, spec: PoolSpec) -> float:
    """Exponentially weighted mean over the stabilisation window of scaling down: both forget at the same pace."""
    if history.last_time_s is None:
        return float(running)
    window_s = max(1.0, float(spec.scale_down.stabilization_s))
    weight = -math.expm1(-elapsed_s / window_s)
    return history.mean_running + weight * (running - history.mean_running)


def _service_time_s(
    history: History, held: InFlight, elapsed_s: float, observation: Observation, spec: PoolSpec
) -> float | None:
    """Mean seconds a job runs: slot-seconds spent / jobs started, exponentially weighted.

    Little's law, W = L / arrival rate, over the time since the last observation.
    """
    before, now = history.last_started_total, held.started_total
    if before is None or now is None or now <= before or elapsed_s <= 0:
        return history.service_time_s
    slots = observation.replicas.ready * (spec.slots_per_replica or 1)
    sample_s = min(held.running, slots) * elapsed_s / (now - before)
    if sample_s <= 0:
        return history.service_time_s
    if history.service_time_s is None:
        return sample_s
    weight = -math.expm1(-elapsed_s / SERVICE_TIME_WINDOW_S)
    return history.service_time_s + weight * (sample_s - history.service_time_s)
