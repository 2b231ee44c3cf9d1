"""What the work alone asks for: how many replicas would face the backlog, meet the latency target, keep up.

No bounds, windows or overrides here: those are rules of :mod:`~workerpool_operator.core.policy`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

from workerpool_operator.core.decision import Answer, Measures, Reason
from workerpool_operator.core.observation import InFlight, Observation
from workerpool_operator.core.spec import PoolSpec

ASSUMED_SERVICE_TIME_S = 1.0
"""How long a job is taken to run before one was measured; the message says so when it is used."""

LATE_BUDGET_SHARE = 0.25
"""A pool whose oldest job already waits longer than the target clears its backlog within this share of the target."""

_NOTHING_HELD = InFlight()


class Work(NamedTuple):
    """The jobs a pool has to face, as far as they could be read.

    ``running`` leaves out what finishes on replicas that are going away; ``due`` are scheduled jobs whose time comes
    within the lead time.
    """

    ready: int
    running: int
    due: int
    stranded: int

    @property
    def outstanding(self) -> int:
        """All of them."""
        return self.ready + self.running + self.due + self.stranded

    def __str__(self) -> str:
        rest = (f" + {self.due} due" if self.due else "") + (f" + {self.stranded} stranded" if self.stranded else "")
        return f"{self.ready} waiting + {self.running} running{rest}"


def work_of(observation: Observation, spec: PoolSpec) -> Work:
    """Count the jobs a pool has to face now or within its lead time."""
    held = observation.in_flight
    if not isinstance(held, InFlight):
        held = _NOTHING_HELD
    return Work(
        ready=observation.ready,
        running=max(0, held.running - held.running_on_leaving),
        due=bisect_right(held.due_in_s, spec.lead_s) if held.due_in_s else 0,
        stranded=held.stranded,
    )


def demand(observation: Observation, spec: PoolSpec, measures: Measures, work: Work) -> Answer:
    """The replicas that the work asks for: the largest of what backlog, latency target and arrival rate each ask.

    Zero only when nothing is outstanding. ``measures`` must already hold this observation (see
    :func:`~workerpool_operator.core.measure.measured`).
    """
    if work.outstanding == 0:
        return Answer(replicas=0, reason=Reason.IDLE, message="nothing waits, runs or comes due")
    answer = _by_backlog(spec, work)
    if spec.queue_latency_s is not None:
        answer = max(answer, _by_latency(observation, spec, measures, work), key=lambda d: d.replicas)
    floor = _keeping_up(observation, spec, measures)
    if floor > answer.replicas:
        return Answer(
            replicas=floor,
            reason=Reason.KEEPING_UP,
            message=f"{measures.mean_running:.1f} jobs ran on average: fewer than {floor} would fall behind",
        )
    return answer


def _by_backlog(spec: PoolSpec, work: Work) -> Answer:
    if spec.backlog_per_replica is None:
        replicas, rate = 1, "at least 1"
    else:
        replicas = -(-work.outstanding // spec.backlog_per_replica)
        rate = f"at {spec.backlog_per_replica} per replica"
    reason = Reason.WORK_WAITING
    if work.ready == 0 and work.running == 0:
        reason = Reason.STRANDED_WORK if work.stranded else Reason.DUE_WORK
    return Answer(replicas=replicas, reason=reason, message=f"{work} {rate}: {replicas}")


def _by_latency(observation: Observation, spec: PoolSpec, measures: Measures, work: Work) -> Answer:
    """Enough slots to clear what waits within what is left of the target.

    ``slots = waiting * service time / budget`` with ``budget = target - age of the oldest job - start-up time``: the
    work in seconds divided by the seconds there are (Little's law applied to the draining of a first-in first-out
    queue: the last job in line waits for all work before it). The budget never falls below a share of the target, so
    that a queue that is late already asks for a finite size.
    """
    target_s = float(spec.queue_latency_s or 0)
    age_s = observation.oldest_job_s or 0.0
    budget_s = max(target_s - age_s - spec.lead_s, target_s * LATE_BUDGET_SHARE)
    service_s = measures.service_time_s or ASSUMED_SERVICE_TIME_S
    waiting = work.ready + work.due + work.stranded
    replicas = max(1, math.ceil(waiting * service_s / budget_s / (spec.slots_per_replica or 1)))
    measured = "" if measures.service_time_s else " (assumed)"
    message = (
        f"{waiting} waiting of {service_s:.2g} s each{measured}, {budget_s:.0f} s left of {target_s:.0f}: {replicas}"
    )
    return Answer(replicas=replicas, reason=Reason.LATENCY_TARGET, message=message)


def _keeping_up(observation: Observation, spec: PoolSpec, measures: Measures) -> int:
    """The replicas that were busy on average, never more than there are.

    By Little's law the mean number of running jobs is arrival rate times service time: the least number of slots that
    keeps up with the arrivals. A short backlog says nothing about it, since a pool that keeps up has none.
    """
    mean_slots = measures.mean_running / (spec.slots_per_replica or 1)
    return min(observation.replicas.current, math.ceil(mean_slots - ROUNDING_SLACK))


ROUNDING_SLACK = 0.05
"""A mean this little above a whole number does not hold another replica."""
