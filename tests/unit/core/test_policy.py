"""The rule chain by example: one row a rule, with the numbers a person can check by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from workerpool_operator.core.decision import Decision, History, Reason
from workerpool_operator.core.observation import (
    ActiveSchedule,
    Cause,
    InFlight,
    Observation,
    QueueDepth,
    Replicas,
    Unavailable,
)
from workerpool_operator.core.policy import decide
from workerpool_operator.core.spec import Fallback, PoolSpec, ScaleDown, ScaleUp, WhenBusy

pytestmark = pytest.mark.unit

AWAY = Unavailable(cause=Cause.UNREACHABLE, message="redis:6379 refused the connection; is Redis running there?")


def seen(
    *,
    at: float = 1_000.0,
    ready: int = 0,
    running: int = 0,
    current: int = 0,
    busy: int | None = None,
    oldest_job_s: float | None = None,
    schedules: tuple[ActiveSchedule, ...] = (),
    **held: object,
) -> Observation:
    return Observation(
        time_s=at,
        replicas=Replicas(current=current, ready=current, busy=busy),
        queues={"email": QueueDepth(ready=ready, oldest_job_s=oldest_job_s)},
        in_flight=InFlight(running=running, **held),  # type: ignore[arg-type]
        schedules=schedules,
    )


def blind(*, at: float = 1_000.0, current: int = 0) -> Observation:
    return Observation(
        time_s=at, replicas=Replicas(current=current, ready=current, busy=None), queues={"email": AWAY}, in_flight=AWAY
    )


def settled(observation: Observation, spec: PoolSpec, *, for_s: int = 100) -> Decision:
    """The decision after the same was seen each second for a while."""
    history = History()
    for n in range(for_s):
        history = decide(replace(observation, time_s=observation.time_s - for_s + n), spec, history).history
    return decide(observation, spec, history)


SPEC = PoolSpec(backlog_per_replica=10, max_replicas=20)


@pytest.mark.parametrize(
    ("observation", "spec", "target", "reason"),
    [
        (seen(), SPEC, 0, Reason.IDLE),
        (seen(ready=1), SPEC, 1, Reason.WORK_WAITING),
        (seen(ready=38, running=2, current=1, busy=1), SPEC, 4, Reason.WORK_WAITING),
        (seen(ready=41), SPEC, 5, Reason.WORK_WAITING),
        (seen(ready=1_000), SPEC, 20, Reason.AT_MAXIMUM),
        (seen(stranded=1), SPEC, 1, Reason.STRANDED_WORK),
        (seen(scheduled=1, due_in_s=(4.0,)), SPEC, 1, Reason.DUE_WORK),
        (seen(scheduled=1, due_in_s=(3_600.0,)), SPEC, 0, Reason.IDLE),
        (seen(running=2, running_on_leaving=2), SPEC, 0, Reason.IDLE),
        (seen(), replace(SPEC, min_replicas=2), 2, Reason.AT_MINIMUM),
        (seen(schedules=(ActiveSchedule(name="black-friday", min_replicas=5),)), SPEC, 5, Reason.SCHEDULED_MINIMUM),
        (seen(schedules=(ActiveSchedule(name="all", min_replicas=50),)), SPEC, 20, Reason.SCHEDULED_MINIMUM),
        (seen(ready=500), replace(SPEC, pinned_replicas=3), 3, Reason.PINNED),
        (seen(current=2), replace(SPEC, pinned_replicas=0), 0, Reason.PINNED),
        (seen(ready=500, current=2), replace(SPEC, paused=True), 2, Reason.PAUSED),
        (seen(ready=500, current=1), replace(SPEC, scale_up=ScaleUp(max_replicas_per_step=3)), 4, Reason.STEP_LIMITED),
        (seen(ready=500, current=1), replace(SPEC, scale_up=ScaleUp(stabilization_s=30)), 1, Reason.STABILIZING),
        (seen(current=5), SPEC, 5, Reason.STABILIZING),
        (blind(current=4), SPEC, 4, Reason.BROKER_UNREADABLE),
        (blind(current=4), replace(SPEC, pinned_replicas=1), 4, Reason.BROKER_UNREADABLE),
        (blind(), replace(SPEC, min_replicas=2), 2, Reason.AT_MINIMUM),
        (blind(current=1), replace(SPEC, fallback=Fallback(replicas=4, after_s=0)), 4, Reason.FALLBACK),
        (blind(current=4), replace(SPEC, fallback=Fallback(replicas=4, after_s=0)), 4, Reason.FALLBACK),
        (blind(current=6), replace(SPEC, fallback=Fallback(replicas=4, after_s=0)), 6, Reason.BROKER_UNREADABLE),
    ],
)
def test_a_first_look(observation: Observation, spec: PoolSpec, target: int, reason: Reason) -> None:
    decision = decide(observation, spec, History())
    assert (decision.target, decision.reason) == (target, reason), decision.message


@pytest.mark.parametrize(
    ("observation", "spec", "target", "reason"),
    [
        (seen(current=5), SPEC, 0, Reason.IDLE),
        (seen(running=5, current=5, busy=5), SPEC, 5, Reason.KEEPING_UP),
        (seen(running=8, current=5, busy=5), replace(SPEC, slots_per_replica=4), 5, Reason.BUSY_WORKERS),
        (seen(running=1, current=5, busy=1), SPEC, 1, Reason.WORK_WAITING),
        (seen(running=30, current=30, busy=30), SPEC, 30, Reason.BUSY_WORKERS),
        (seen(running=30, current=30, busy=None), SPEC, 30, Reason.BUSY_WORKERS),
        (
            seen(running=30, current=30, busy=30),
            replace(SPEC, scale_down=ScaleDown(when_busy=WhenBusy.ALLOW)),
            20,
            Reason.AT_MAXIMUM,
        ),
        (blind(current=5), SPEC, 5, Reason.BROKER_UNREADABLE),
        (blind(current=1), replace(SPEC, fallback=Fallback(replicas=4, after_s=60)), 4, Reason.FALLBACK),
    ],
)
def test_once_settled(observation: Observation, spec: PoolSpec, target: int, reason: Reason) -> None:
    decision = settled(observation, spec)
    assert (decision.target, decision.reason) == (target, reason), decision.message


def run(spec: PoolSpec, timeline: Sequence[Observation]) -> list[int]:
    """The targets along a timeline, each look with the size the last one decided."""
    history, size, targets = History(), timeline[0].replicas.current, []
    for observation in timeline:
        size_now = replace(observation.replicas, current=size, ready=size)
        decision = decide(replace(observation, replicas=size_now), spec, history)
        history, size = decision.history, decision.target
        targets.append(size)
    return targets


def test_a_burst_is_met_in_one_step_and_left_after_the_window() -> None:
    spec = replace(SPEC, scale_down=ScaleDown(stabilization_s=10))
    burst = [seen(at=1_000.0 + n, ready=max(0, 60 - 20 * n)) for n in range(20)]
    # 60 waiting: 6 at once; gone at second 3; 4 and 2 were wished at seconds 1 and 2, each leaves the window 10 s later
    assert run(spec, burst) == [6] * 10 + [4, 2] + [0] * 8


def test_the_fallback_waits_for_its_time_and_a_recovered_broker_gets_a_whole_window() -> None:
    spec = replace(SPEC, scale_down=ScaleDown(stabilization_s=5), fallback=Fallback(replicas=4, after_s=3))
    away = [blind(at=1_000.0 + n, current=1) for n in range(5)]
    back = [seen(at=1_005.0 + n) for n in range(7)]
    assert run(spec, [*away, *back]) == [1, 1, 1, 4, 4, 4, 4, 4, 4, 0, 0, 0]


def test_a_clock_set_back_does_not_shrink_the_pool() -> None:
    spec = replace(SPEC, scale_down=ScaleDown(stabilization_s=60))
    history = decide(seen(at=10_000.0, ready=50, current=5), spec, History()).history
    earlier = decide(seen(at=100.0, current=5), spec, history)
    assert earlier.target == 5
    assert decide(seen(at=161.0, current=5), spec, earlier.history).target == 0


def test_an_outage_during_which_the_clock_is_set_back_is_not_prolonged() -> None:
    spec = replace(SPEC, fallback=Fallback(replicas=4, after_s=60))
    history = decide(blind(at=10_000.0, current=1), spec, History()).history
    decision = decide(blind(at=100.0, current=1), spec, history)
    assert decision.target == 1
    assert decide(blind(at=161.0, current=1), spec, decision.history).target == 4


LATENCY = PoolSpec(backlog_per_replica=None, queue_latency_s=30, max_replicas=100, slots_per_replica=1)


def test_both_targets_set_the_larger_wins_and_says_so() -> None:
    both = replace(LATENCY, backlog_per_replica=10)
    assert decide(seen(ready=100), both, History()).reason is Reason.WORK_WAITING
    tight = replace(both, queue_latency_s=8)
    assert decide(seen(ready=100, oldest_job_s=6.0), tight, History()).reason is Reason.LATENCY_TARGET


def test_a_partly_readable_pool_may_grow_but_not_shrink() -> None:
    half = Observation(
        time_s=1_000.0,
        replicas=Replicas(current=2, ready=2, busy=None),
        queues={"email": QueueDepth(ready=80), "sms": AWAY},
        in_flight=InFlight(),
    )
    assert decide(half, SPEC, History()).target == 8
    empty = replace(half, queues={"email": QueueDepth(ready=0), "sms": AWAY})
    decision = settled(empty, SPEC)
    assert (decision.target, decision.reason) == (2, Reason.BROKER_UNREADABLE)
    assert AWAY.message in decision.message


def test_the_trace_tells_each_rule_that_spoke() -> None:
    spec = replace(SPEC, max_replicas=5, scale_up=ScaleUp(max_replicas_per_step=30))
    decision = decide(seen(ready=500, current=1), spec, History())
    assert [(o.rule, o.before, o.after) for o in decision.trace] == [
        ("demand", 1, 50),
        ("limit step", 50, 31),
        ("at most", 31, 5),
    ]
    assert decision.limits == (Reason.STEP_LIMITED, Reason.AT_MAXIMUM)
