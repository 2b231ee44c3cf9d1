"""What the work alone asks for: how many replicas would face the backlog, meet the latency target, keep up.

No bounds, windows or overrides here: those are rules of :mod:`~workerpool_operator.core.policy`.
"""

from __future__ import annotations

import math

from workerpool_operator.core.decision import Answer, Reason
from workerpool_operator.core.latency import by_latency
from workerpool_operator.core.measure import Measures
from workerpool_operator.core.observation import Observation
from workerpool_operator.core.spec import PoolSpec
from workerpool_operator.core.work import Work


def demand(observation: Observation, spec: PoolSpec, measures: Measures, work: Work) -> Answer:
    """The replicas that the work asks for; with two targets the larger of their answers.

    ``measures`` must already hold this observation (see :func:`~workerpool_operator.core.measure.measured`).
    """
    if spec.queue_latency_s is None:
        return by_backlog(observation, spec, measures, work)
    answer = by_latency(observation, spec, measures, work)
    if spec.backlog_per_replica is None:
        return answer
    backlog = by_backlog(observation, spec, measures, work)
    return backlog if backlog.replicas > answer.replicas else answer


def by_backlog(observation: Observation, spec: PoolSpec, measures: Measures, work: Work) -> Answer:
    """The replicas that the backlog target asks for, and no fewer than keep up with the arrivals.

    Zero only when nothing is outstanding.
    """
    if work.outstanding == 0:
        return Answer(replicas=0, reason=Reason.IDLE, message="nothing waits, runs or comes due")
    answer = _by_backlog(spec, work)
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


def _keeping_up(observation: Observation, spec: PoolSpec, measures: Measures) -> int:
    """The replicas that were busy on average, never more than there are.

    By Little's law the mean number of running jobs is arrival rate times service time: the least number of slots that
    keeps up with the arrivals. A short backlog says nothing about it, since a pool that keeps up has none.
    """
    mean_slots = measures.mean_running / (spec.slots_per_replica or 1)
    return min(observation.replicas.current, math.ceil(mean_slots - ROUNDING_SLACK))


ROUNDING_SLACK = 0.05
"""A mean this little above a whole number does not hold another replica."""
