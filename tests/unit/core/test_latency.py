"""The latency target, decision by decision: numbers that can be redone by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workerpool_operator.core.decision import Decision, History, Reason
from workerpool_operator.core.load import Load
from workerpool_operator.core.measure import Last, Measures
from workerpool_operator.core.observation import InFlight, Observation, QueueDepth, Replicas
from workerpool_operator.core.policy import decide
from workerpool_operator.core.service import Finished, Service
from workerpool_operator.core.spec import PoolSpec
from workerpool_operator.core.startup import Startup

pytestmark = pytest.mark.unit

NOW_S = 10_000.0
SPEC = PoolSpec(backlog_per_replica=None, queue_latency_s=30, max_replicas=100, slots_per_replica=1)


def learnt(*, slots: float = 0.0, job_s: float = 2.0, start_s: float = 5.0, current: int = 0) -> History:
    """A pool that was watched for long: jobs of exactly ``job_s``, starts of ``start_s``, ``slots`` busy."""
    jobs = 10_000.0
    service = Service(
        slot_s=jobs * job_s,
        jobs=jobs,
        watched_s=1_000.0,
        told=Finished(jobs, jobs * job_s, jobs * job_s**2),
        lasting_sum=job_s,
        lasting_weight=1.0,
    )
    load = Load(sums=(slots,) * 6, weights=(1.0,) * 6)
    last = Last(NOW_S - 1.0, None, round(slots), 0, current, service.told)
    startup = Startup(starts=10, mean_s=start_s, deviation_s=0.0)
    return History(measures=Measures(load=load, service=service, startup=startup, last=last))


def look(
    history: History,
    spec: PoolSpec = SPEC,
    *,
    ready: int = 0,
    oldest_s: float | None = None,
    running: int = 0,
    current: int = 0,
    **more: object,
) -> Decision:
    held = InFlight(running=running, **more)  # type: ignore[arg-type]
    # as the last look saw it: nothing arrived since, so that the load stays what was learnt
    last = history.measures.last
    assert last is not None
    history = history._replace(measures=history.measures._replace(last=last._replace(ready=ready, running=running)))
    seen = Observation(
        time_s=NOW_S,
        replicas=Replicas(current=current, ready=current, busy=min(running, current), drains=True),
        queues={"jobs": QueueDepth(ready=ready, oldest_job_s=oldest_s)},
        in_flight=held,
    )
    return decide(seen, spec, history)


def test_a_pool_at_zero_gathers_work_until_a_start_is_due() -> None:
    # 30 s less a poll: 29 s; a start takes 5 s, and one poll more may pass before it is asked for
    assert look(learnt(), ready=3, oldest_s=10.0).target == 0
    assert look(learnt(), ready=3, oldest_s=20.0).target == 0
    assert look(learnt(), ready=3, oldest_s=24.0).target == 1


def test_work_that_fills_replicas_until_its_deadline_gets_them_at_once() -> None:
    # 200 jobs of 2 s that have just come, due in 29 s; a replica that is asked for next serves from the 6th second on:
    # one job at once and (29 - 6) / 2 after it: 12.5 jobs. 200 / 12.5 = 16 replicas
    assert look(learnt(), ready=200, oldest_s=0.0).target == 16
    assert look(learnt(), replace(SPEC, queue_latency_s=60), ready=200, oldest_s=0.0).target == 7
    assert look(learnt(), replace(SPEC, slots_per_replica=4), ready=200, oldest_s=0.0).target == 4


def test_slots_that_are_there_are_counted_first() -> None:
    # 10 slots begin 145 jobs in 29 s: 200 - 145 = 55 jobs are left to new replicas of 12.5 each: 4
    decision = look(learnt(slots=20.0, current=10), ready=200, oldest_s=0.0, running=10, current=10)
    assert decision.target - 10 in (4, 5)
    assert decision.reason is Reason.LATENCY_TARGET


def test_long_jobs_each_need_a_slot() -> None:
    hours = learnt(slots=5.0, job_s=3_600.0, current=5)
    spec = replace(SPEC, queue_latency_s=600)
    # within ten minutes 5 slots end 0.8 jobs of an hour on average: one job may find a slot, and can wait and see
    assert look(hours, spec, ready=1, oldest_s=100.0, running=5, current=5).target == 5
    assert look(hours, spec, ready=1, oldest_s=594.0, running=5, current=5).target == 6
    # of three, two will not
    assert look(hours, spec, ready=3, oldest_s=100.0, running=5, current=5).target == 7


def test_a_late_queue_asks_for_a_finite_size_that_clears_it_soon() -> None:
    decision = look(learnt(slots=2.0, current=1), ready=100, oldest_s=3_000.0, running=1, current=1)
    assert 8 <= decision.target <= 25


def test_free_slots_go_down_to_the_whole_replicas_of_the_load() -> None:
    busy = learnt(slots=10.4, current=14)
    decision = look(busy, running=9, current=14)
    assert (decision.target, decision.reason) == (10, Reason.KEEPING_UP)
    # while something waits for each slot, none is given up
    assert look(busy, ready=20, oldest_s=3.0, running=14, current=14).target == 14


def test_a_pool_below_one_slot_goes_when_nothing_is_left() -> None:
    assert look(learnt(slots=0.3, current=1), running=1, current=1).target == 1
    assert look(learnt(slots=0.3, current=1), current=1).target == 0


def test_a_target_shorter_than_a_start_keeps_replicas_for_what_may_come() -> None:
    tight = replace(SPEC, queue_latency_s=5)
    decision = look(learnt(slots=10.0, current=20), tight, running=10, current=20)
    assert 11 <= decision.target <= 14
    assert look(learnt(slots=10.0, current=12), tight, current=12).target >= 11


def test_nothing_measured_yet_one_replica_goes_ahead_to_learn() -> None:
    seen = Observation(
        time_s=NOW_S,
        replicas=Replicas(current=0, ready=0, busy=0),
        queues={"jobs": QueueDepth(ready=3, oldest_job_s=0.5)},
        in_flight=InFlight(),
    )
    decision = decide(seen, SPEC, History())
    assert decision.target == 1
    assert "assumed" in decision.message


def test_a_pool_that_was_just_met_is_not_made_smaller() -> None:
    seen = Observation(
        time_s=NOW_S,
        replicas=Replicas(current=8, ready=8, busy=0, drains=True),
        queues={"jobs": QueueDepth(ready=0)},
        in_flight=InFlight(),
    )
    first = decide(seen, SPEC, History())
    assert first.target == 8
    again = decide(replace(seen, time_s=NOW_S + 5.0), SPEC, first.history)
    assert again.target == 8
    later = decide(replace(seen, time_s=NOW_S + 11.0), SPEC, again.history)
    assert later.target == 0


def test_jobs_of_workers_that_are_gone_wake_it_at_once() -> None:
    decision = look(learnt(), stranded=2)
    assert (decision.target, decision.reason) == (1, Reason.STRANDED_WORK)


def test_due_jobs_may_wait_too_unless_the_target_is_shorter_than_a_start() -> None:
    assert look(learnt(), due_in_s=(2.0,), scheduled=1).target == 0
    decision = look(learnt(), replace(SPEC, queue_latency_s=3), due_in_s=(2.0,), scheduled=1)
    assert decision.target == 1


def test_lateness_makes_it_careful_for_a_while() -> None:
    history = learnt(slots=2.0, current=2)
    late = look(history, ready=30, oldest_s=29.5, running=2, current=2)
    assert late.history.measures.caution > 0
    plain = look(history, ready=26, oldest_s=14.0, running=2, current=2)
    careful = history._replace(measures=history.measures._replace(caution=0.4))
    assert look(careful, ready=26, oldest_s=14.0, running=2, current=2).target > plain.target


def test_a_clock_that_jumps_moves_nothing_out_of_bounds() -> None:
    history = learnt(slots=5.0, current=5)
    for jump_s in (-1e6, 1e6, -5.0, 0.0):
        seen = Observation(
            time_s=NOW_S + jump_s,
            replicas=Replicas(current=5, ready=4, busy=3, drains=True),
            queues={"jobs": QueueDepth(ready=10, oldest_job_s=4.0)},
            in_flight=InFlight(running=3, started_total=7),
        )
        decision = decide(seen, SPEC, history)
        assert 1 <= decision.target <= 100
        history = decision.history
