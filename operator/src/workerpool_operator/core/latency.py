"""The latency target: as few replicas as let every waiting job begin in time, and no earlier than needed.

A target is a budget. While jobs wait, every slot works and none is paid for in vain, so a queue costs nothing until its
deadlines come near; an empty queue costs idle slots. So the pool

- looks at the deadline of what waits, and asks for a replica when it is needed *all the time* until then, or when it
  must be asked for now to be there in time;
- stays below the load as long as the queue is short, and above it until the queue is gone;
- shrinks when slots are free, down to the load's whole replicas.

Where a replica starts too slowly for that (:attr:`Plan.must_wait_s`), it must be there before the jobs are: the pool is
staffed by queueing theory, and what will have come by the time that a replica serves is looked ahead at.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from workerpool_operator.core.decision import Answer, Reason
from workerpool_operator.core.load import LoadEstimate
from workerpool_operator.core.measure import Measures
from workerpool_operator.core.observation import Observation
from workerpool_operator.core.spec import PoolSpec
from workerpool_operator.core.staffing import staffed
from workerpool_operator.core.startup import STALE_AFTER
from workerpool_operator.core.work import Work

SPREAD = 2.0
"""Head-room in standard deviations: one job in fifty would be late where only chance decides, and there is more room
than that (whole replicas, deadlines of the oldest)."""

WARM_UP_S = 10.0
"""A pool that has been watched for less is not made smaller: heartbeats of its workers may not have come yet."""

FLOOR_SLACK = 0.25
"""A load this little (in slots) below a whole number of replicas counts as that number."""

CALM_S, CALM_COST, CALM_FROM_S = 600.0, 0.07, 64.0
"""Under a load that has been steady for the last of these seconds, a pool that costs no more than this share above its
load shrinks once in the first of them."""


class Plan(NamedTuple):
    """What a decision for a latency target goes by. Seconds and slots, except ``current``: replicas.

    ``target_s`` is the target less a poll and less caution; ``budget_s`` what of it is planned with, less head-room.
    ``lead_s`` is how long a replica takes to start, ``tick_s`` a poll. ``short_s`` and ``job_s`` are the seconds a job,
    at the lower end of what is sure and at the mean. ``begun_by`` of :class:`Capacity` says what the slots can begin.
    """

    target_s: float
    budget_s: float
    patient_s: float
    lead_s: float
    tick_s: float
    job_s: float
    short_s: float
    slots: int
    current: int
    load: LoadEstimate

    @property
    def must_wait_s(self) -> float:
        """By how much a start takes longer than a job may wait: above 0, replicas must be there before the jobs."""
        return self.lead_s + self.tick_s - self.budget_s

    @property
    def can_react(self) -> bool:
        """Whether a replica that is asked for when a job comes is there in time for it."""
        return self.must_wait_s <= 0.0

    @property
    def is_draining(self) -> bool:
        """Whether there are more slots than the load keeps busy: the queue gets shorter."""
        return self.can_react and self.current * self.slots > self.load.slots + self.load.deviation


class Capacity(NamedTuple):
    """The slots that are there, and when more come: ``coming`` are pairs of seconds from now and slots."""

    serving: int
    free: int
    coming: tuple[tuple[float, int], ...]

    def begun_by(self, at_s: float, job_s: float) -> float:
        """How many jobs they begin within ``at_s`` seconds, each slot one every ``job_s`` on average."""
        return self.serving * at_s / job_s + self.free + self._by_coming(at_s, job_s)

    def surely_begun_by(self, at_s: float, job_s: float) -> float:
        """The same less the head-room for the randomness of it: that many ends are a Poisson number at the most."""
        ends = self.serving * at_s / job_s
        return max(0.0, ends - SPREAD * math.sqrt(ends)) + self.free + self._by_coming(at_s, job_s)

    def _by_coming(self, at_s: float, job_s: float) -> float:
        return sum([slots * (1.0 + (at_s - in_s) / job_s) for in_s, slots in self.coming if in_s <= at_s])


def by_latency(observation: Observation, spec: PoolSpec, measures: Measures, work: Work) -> Answer:
    """The replicas that the latency target asks for: more, fewer, or as many as there are.

    A pool that is at zero stays there while what waits can wait; one that is not goes there only when nothing is
    outstanding.
    """
    plan = plan_of(observation, spec, measures)
    capacity = _capacity(observation, plan, measures, work)
    more = _more(observation, plan, capacity, measures, work)
    if more:
        return _grown(observation, plan, measures, work, plan.current + more)
    wanted = _fewer(observation, plan, capacity, measures, work)
    load = f"{plan.load.slots:.1f} slots are busy on average"
    if not work.outstanding and not wanted:
        return Answer(replicas=0, reason=Reason.IDLE, message="nothing waits, runs or comes due")
    if wanted < plan.current or not work.outstanding:
        return Answer(replicas=wanted, reason=Reason.KEEPING_UP, message=f"{work}; {load}: {wanted}")
    age_s = observation.oldest_job_s or 0.0
    text = f"{work}, the oldest {age_s:.0f} s: in time with {wanted}; {load}"
    return Answer(replicas=wanted, reason=Reason.LATENCY_TARGET, message=text)


def _grown(observation: Observation, plan: Plan, measures: Measures, work: Work, wanted: int) -> Answer:
    if not (work.ready or work.running):
        reason = Reason.STRANDED_WORK if work.stranded else Reason.DUE_WORK
        if work.stranded or work.due:
            return Answer(replicas=wanted, reason=reason, message=f"{work}: {wanted}")
    job = f"{plan.job_s:.2g} s each" + ("" if measures.service.is_measured else " (assumed)")
    age_s = observation.oldest_job_s or 0.0
    text = (
        f"{work.ready} waiting of {job}, the oldest {age_s:.0f} s, a start takes {plan.lead_s:.0f} s: "
        f"{wanted} keep each below {plan.target_s:.0f} s"
    )
    return Answer(replicas=wanted, reason=Reason.LATENCY_TARGET, message=text)


def plan_of(observation: Observation, spec: PoolSpec, measures: Measures) -> Plan:
    """How much of the target can be planned with.

    Head-room is for two errors that add up as independent ones do. What comes and goes while a replica starts varies:
    work of rate ``a`` busy slots has the variance ``a s (1 + v)`` a second, over lead time and poll, which waits for
    ``1 / slots`` of it (the heavy-traffic limit of queues; Whitt, *Stochastic-Process Limits*, 2002, 9.6). And the
    seconds a job are known no better than their measurement, so a whole target's worth of queue is off by that share.
    """
    target_s, tick_s, slots = float(spec.queue_latency_s or 0), spec.poll_interval_s, spec.slots_per_replica or 1
    service, load, current = measures.service, measures.load_now, observation.replicas.current
    lead_s, job_s = measures.startup.lead_s(spec.lead_s, observation.time_s), service.job_s
    there = max(current * slots, slots, load.slots)
    varies_s = math.sqrt(load.slots * job_s * (1.0 + service.variation) * (lead_s + tick_s)) / there
    unsure_s = target_s * service.certainty
    used = 1.0 - measures.caution
    return Plan(
        target_s=max(0.0, target_s - tick_s) * used,
        budget_s=(target_s - min(target_s / 2.0, tick_s + SPREAD * math.hypot(varies_s, unsure_s))) * used,
        patient_s=(target_s - min(target_s / 2.0, tick_s + SPREAD * unsure_s)) * used,
        lead_s=lead_s,
        tick_s=tick_s,
        job_s=job_s,
        short_s=job_s / (1.0 + SPREAD * service.certainty),
        slots=slots,
        current=current,
        load=load,
    )


def _capacity(observation: Observation, plan: Plan, measures: Measures, work: Work) -> Capacity:
    now_s = observation.time_s
    ready = min(observation.replicas.ready, plan.current) * plan.slots
    coming = []
    for one in measures.startup.under_way:
        waited_s = max(0.0, now_s - one.asked_s)
        if waited_s < STALE_AFTER * plan.lead_s + plan.tick_s:
            coming.append((max(0.0, plan.lead_s - waited_s), one.replicas * plan.slots))
    return Capacity(serving=ready, free=max(0, ready - work.running), coming=tuple(coming))


def _more(observation: Observation, plan: Plan, capacity: Capacity, measures: Measures, work: Work) -> int:
    """How many replicas more are needed."""
    if not (work.ready or work.stranded) and plan.can_react:
        return 0
    needed, now = _needed(observation, plan, capacity, measures, work)
    whole = math.floor(needed / plan.slots + 1e-9)
    keeps_up = math.floor((plan.load.slots + min(plan.load.deviation, FLOOR_SLACK)) / plan.slots) + 1
    if whole and not plan.is_draining and keeps_up == plan.current + whole + 1:
        whole += 1  # one less would let the queue grow on, and be asked for again soon
    more = max(whole, math.ceil(now / plan.slots - 1e-9))
    if more or plan.current:
        return more
    # nothing was measured yet, nobody else brings stranded jobs back, or what comes due could not wait for a start
    learns = not (measures.startup.starts and measures.service.is_measured)
    return 1 if (learns and work.ready) or work.stranded or (work.due and not plan.can_react) else 0


def _needed(
    observation: Observation, plan: Plan, capacity: Capacity, measures: Measures, work: Work
) -> tuple[float, float]:
    """Slots that would be busy all the time until a deadline, and slots that must be asked for now.

    For each deadline: the jobs that are to begin by then, less those that the slots that are there begin, are left to
    new slots, which begin one job at once and another every ``job_s`` (the processor demand criterion of deadline
    scheduling; Baruah, Rosier and Howell 1990). A new slot that is asked for a poll from now serves after
    ``tick_s + lead_s``: what can wait until then waits.
    """
    needed = now = 0.0
    soonest_s = plan.lead_s + plan.tick_s
    budget_s = max(plan.budget_s, plan.patient_s) if plan.is_draining else plan.budget_s
    for jobs, age_s in _deadlines(observation, plan, measures, work):
        left_s = budget_s - age_s
        if left_s >= plan.lead_s:
            # what waits may turn out to be shorter, and then needs nobody; what will come has no time to find out
            job_s = plan.short_s if age_s >= 0.0 else plan.job_s
            lacking = jobs - capacity.begun_by(left_s, job_s)
            lacking /= 1.0 + max(0.0, left_s - soonest_s) / job_s
            needed = max(needed, lacking)
            if age_s >= 0.0 and left_s <= soonest_s and not plan.current:
                now = max(now, lacking)
        last_s = plan.target_s - age_s
        if age_s >= 0.0 and plan.lead_s <= last_s <= soonest_s:
            now = max(now, jobs - capacity.surely_begun_by(last_s, plan.job_s))
    oldest_s = observation.oldest_job_s or 0.0
    if work.ready and plan.target_s - oldest_s < plan.lead_s:
        # too late for the oldest: clear the queue soon, and with one replica more at least if none is coming
        within_s = max(plan.budget_s, plan.lead_s + plan.target_s / 4.0)
        lacking = work.ready - capacity.begun_by(within_s, plan.job_s)
        lacking /= 1.0 + (within_s - plan.lead_s) / plan.job_s
        needed = max(needed, lacking)
        now = max(now, 0.0 if capacity.coming else min(plan.slots, lacking))
    return needed, now


def _deadlines(observation: Observation, plan: Plan, measures: Measures, work: Work) -> list[tuple[float, float]]:
    """Pairs of a number of jobs and how long they have waited; a negative wait is one that has not begun yet."""
    found = measures.ages.waiting(observation.ready, observation.oldest_job_s, observation.time_s)
    if not plan.can_react and measures.startup.starts:
        # the jobs that will have come by the time for which a replica asked for at the next poll would be too late
        rate = max(plan.load.slots + plan.load.deviation, plan.load.peak) / plan.job_s
        found.append((work.ready + work.due + rate * plan.must_wait_s, -plan.must_wait_s))
    return found


def _fewer(observation: Observation, plan: Plan, capacity: Capacity, measures: Measures, work: Work) -> int:
    """The replicas to shrink to when slots are free; ``plan.current`` to stay."""
    current, slots, load = plan.current, plan.slots, plan.load
    if measures.service.watched_s < WARM_UP_S or (capacity.coming and work.outstanding):
        return current
    if work.ready + work.running >= current * slots:
        return current
    if plan.can_react:
        floor = math.floor((load.slots + min(load.deviation, FLOOR_SLACK)) / slots)
        steady = load.window_s >= CALM_FROM_S and floor
        spare = current * slots - load.slots
        if steady and spare <= CALM_COST * load.slots and observation.time_s - measures.shrank_s < CALM_S:
            return current
    elif observation.time_s - measures.full_s < plan.lead_s:
        return current  # it would take as long to have them back
    else:
        service = measures.service
        most = max(load.slots + load.deviation, load.lasting)
        floor = math.ceil(staffed(most, plan.job_s, service.variation, plan.target_s) / slots)
        if load.lasting < IDLE_LOAD and not work.outstanding:
            floor = 0
    if work.outstanding:
        floor = max(floor, math.floor((work.ready + work.running) / slots), 1)
    return min(floor, current)


IDLE_LOAD = 0.05
"""A pool whose target is too short to react goes to zero below this mean load (in slots): a job every twenty times its
length finds it cold."""
