"""What the simulated loop sees is what production's own code makes of the same broker and the same heartbeats."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerpool_operator.core.observation import InFlight, JobSeconds, Observation
from workerpool_operator.core.spec import PoolSpec, ScaleDown
from workerpool_operator.ports import PoolReading, ReplicaState, WorkerBeat
from workerpool_operator.queues.inflight import InFlightMemory, estimate
from workerpool_operator.simulate.fleet import HEARTBEAT_S, Phase
from workerpool_operator.simulate.load import make_load
from workerpool_operator.simulate.policies.workerpool import WorkerPoolPolicy
from workerpool_operator.simulate.services import lengths
from workerpool_operator.simulate.synthetic import synthetic
from workerpool_operator.simulate.world import World

pytestmark = pytest.mark.unit


class Production:
    """Keeps what ``estimate`` remembers, and compares its answer with the simulated loop's at each turn."""

    def __init__(self, policy: WorkerPoolPolicy) -> None:
        self.policy, self.memory, self.held, self.compared = policy, InFlightMemory(), frozenset[int](), 0

    def __call__(self, world: World, now_s: float) -> Observation:
        seen = self.policy.seen(world, now_s)
        held = frozenset(job for _, job, _ in world._finishes)
        reading = PoolReading(queues=seen.queues, held=len(held), vanished=len(self.held - held))
        fleet = world.fleet
        state = ReplicaState(
            current=fleet.current,
            ready=fleet.ready,
            leaving=fleet.leaving,
            silent=0,
            beats=self.beats(world, Phase.SERVING, now_s),
            leaving_beats=self.beats(world, Phase.LEAVING, now_s),
        )
        in_flight, busy, self.memory = estimate(reading, state, self.memory, now_s)
        self.held = held
        self.compared += 1
        assert isinstance(seen.in_flight, InFlight)
        assert isinstance(in_flight, InFlight)
        assert replace(seen.in_flight, finished=None) == replace(in_flight, finished=None)
        # each adds up in an order of its own
        assert sums(seen.in_flight.finished) == pytest.approx(sums(in_flight.finished))
        assert seen.replicas.busy == busy
        return seen

    @staticmethod
    def beats(world: World, phase: Phase, now_s: float) -> tuple[WorkerBeat, ...]:
        fleet = world.fleet
        return tuple(
            WorkerBeat(
                hostname=f"celery@pod-{replica}",
                pid=1,
                active=fleet.heard[replica],
                processed=fleet._heard_processed[replica],
                age_s=(now_s - fleet.ready_s[replica]) % HEARTBEAT_S,
                finished=JobSeconds(
                    jobs=fleet._heard_ran[replica][0],
                    seconds=fleet._heard_ran[replica][1],
                    squared=fleet._heard_ran[replica][2],
                ),
            )
            for replica in range(len(fleet.phase))
            if fleet.phase[replica] is phase
        )


def sums(finished: JobSeconds | None) -> tuple[float, float, float] | None:
    return None if finished is None else (finished.jobs, finished.seconds, finished.squared)


@settings(max_examples=40, deadline=None)
@given(
    rate=st.floats(0.05, 4),
    seed=st.integers(0, 1_000),
    job=st.sampled_from(["lognormal(mean=2,cv=1)", "fixed(0.3)", "exponential(mean=20)"]),
    slots=st.integers(1, 4),
    window_s=st.sampled_from([0, 10, 60]),
    poll_s=st.sampled_from([0.25, 1.0, 1.0, 5.0]),
)
def test_observation_is_that_of_production(
    rate: float, seed: int, job: str, slots: int, window_s: int, poll_s: float
) -> None:
    load = make_load(synthetic(f"bursts(rate={rate},on=60,off=90,hours=0.2)"), lengths(job, "jobs"), seed=seed)
    spec = PoolSpec(
        max_replicas=20,
        queue_latency_s=20,
        slots_per_replica=slots,
        poll_interval_s=poll_s,
        scale_down=ScaleDown(stabilization_s=window_s),
    )
    policy = WorkerPoolPolicy(spec=spec, grace_s=30.0, seed=seed)
    policy.observe = production = Production(policy)
    world = World(load=load, policy=policy, slots=slots, startup=lengths("3", "startup").draw, seed=seed)
    world.run()
    assert production.compared > 50
    finished = world.fleet.finished
    if finished is not None and finished.jobs == len(load.arrivals_s):
        assert finished.seconds == pytest.approx(sum(load.services_s))


def test_heartbeats_tell_late() -> None:
    # a job of 0.3 s between two heartbeats is never seen as active, only as started
    load = make_load(synthetic("poisson(rate=0.2,hours=0.5)"), lengths("fixed(0.3)", "jobs"), seed=1)
    policy = WorkerPoolPolicy(spec=PoolSpec(min_replicas=1, slots_per_replica=1), grace_s=30.0, seed=1)
    seen: list[Observation] = []
    policy.on_decision = lambda observation, _decision: seen.append(observation)
    World(load=load, policy=policy, slots=1, startup=lengths("3", "startup").draw, seed=1).run()
    busy = sum(1 for one in seen if one.replicas.busy)
    started = seen[-1].in_flight.started_total if not isinstance(seen[-1].in_flight, str) else None  # type: ignore[union-attr]
    assert started is not None
    assert len(load.arrivals_s) - 2 <= started <= len(load.arrivals_s)
    assert busy < len(seen) * 0.2


def test_a_pool_that_goes_to_zero_and_back_misses_few_jobs() -> None:
    # looked at so rarely that a replica has told of jobs before it is heard for the first time
    load = make_load(synthetic("bursts(rate=0.5,on=20,off=300,hours=2)"), lengths("fixed(0.3)", "jobs"), seed=1)
    spec = PoolSpec(slots_per_replica=1, poll_interval_s=5, scale_down=ScaleDown(stabilization_s=10))
    policy = WorkerPoolPolicy(spec=spec, grace_s=30.0, seed=1)
    world = World(load=load, policy=policy, slots=1, startup=lengths("3", "startup").draw, seed=1)
    assert world.run().pods_started > 20
    jobs, finished = len(load.arrivals_s), world.fleet.finished
    assert 0.95 * jobs <= (world.fleet.heard_started or 0) <= jobs
    assert finished is not None
    assert 0.95 * jobs <= finished.jobs <= jobs
    assert (finished.seconds, finished.squared) == pytest.approx((0.3 * finished.jobs, 0.09 * finished.jobs))
