"""The rivals' and our own policy in the simulated world: what is passed over, scraped late, never below."""

from __future__ import annotations

import pytest

from workerpool_operator.core.decision import Decision
from workerpool_operator.core.observation import Observation
from workerpool_operator.core.spec import PoolSpec
from workerpool_operator.simulate.load import Load, make_load
from workerpool_operator.simulate.outcome import Outcome
from workerpool_operator.simulate.policies.hpa import SCRAPE_S, SYNC_S, HpaPolicy
from workerpool_operator.simulate.policies.workerpool import WorkerPoolPolicy
from workerpool_operator.simulate.scenario import Scenario
from workerpool_operator.simulate.services import lengths
from workerpool_operator.simulate.synthetic import synthetic

pytestmark = pytest.mark.unit

SPEC = PoolSpec(max_replicas=20, backlog_per_replica=None, queue_latency_s=30, slots_per_replica=1)


def scenario(load: Load, spec: PoolSpec = SPEC, *, moments: int = 0) -> Scenario:
    return Scenario(spec=spec, load=load, startup=lengths("5", "startup"), slots=1, target_s=30.0, moments=moments)


def sparse() -> Load:
    return make_load(synthetic("poisson(rate=0.004,hours=24)"), lengths("exponential(mean=3)", "jobs"), seed=5)


def test_rest_leaves_out_turns_and_changes_nothing_else() -> None:
    def run(*, rests: bool) -> tuple[Outcome, int]:
        turns: list[Observation] = []

        def note(observation: Observation, _decision: Decision) -> None:
            turns.append(observation)

        # a pool with schedules is looked at in each turn, one that is in force or not
        policy = WorkerPoolPolicy(
            spec=SPEC, grace_s=60.0, seed=1, schedules_at=None if rests else lambda _at: (), on_decision=note
        )
        return scenario(sparse()).run(policy), len(turns)

    (resting, few), (restless, many) = run(rests=True), run(rests=False)
    assert few < many / 2
    assert resting.replica_s == pytest.approx(restless.replica_s, rel=0.02)
    # turns fall a little differently: a job may just miss a replica that leaves
    assert resting.pods_started == pytest.approx(restless.pods_started, rel=0.02)
    # however it rests, a job waits no longer than it may
    assert max(resting.waits_s) < 30.0


def test_knows_nothing_of_the_future() -> None:
    # two loads that are equal until the middle: until then so are all decisions
    early = [1.0 * n for n in range(0, 300, 3)]
    targets: list[list[tuple[float, int]]] = []
    for late in ([], [400.0] * 200):
        arrivals = early + late
        load = Load(arrivals_s=arrivals, services_s=[2.0] * len(arrivals), duration_s=600.0)
        seen: list[tuple[float, int]] = []
        policy = WorkerPoolPolicy(spec=SPEC, grace_s=60.0, seed=1)
        policy.on_decision = lambda observation, decision, seen=seen: seen.append((observation.time_s, decision.target))
        scenario(load).run(policy)
        targets.append([one for one in seen if one[0] < 300])
    assert targets[0] == targets[1]


def test_bounds_of_the_spec_hold() -> None:
    load = make_load(synthetic("flash(rate=1,factor=50,lasting=60,hours=0.5)"), lengths("fixed(2)", "jobs"), seed=5)
    spec = PoolSpec(min_replicas=2, max_replicas=7, queue_latency_s=30, slots_per_replica=1)
    policy = WorkerPoolPolicy(spec=spec, grace_s=60.0, seed=1)
    sizes = {moment.current for moment in scenario(load, spec, moments=100_000).run(policy).course}
    assert (min(sizes), max(sizes)) == (2, 7)


def test_hpa_is_never_below_one_and_acts_on_what_was_scraped() -> None:
    load = Load(arrivals_s=[100.0] * 40, services_s=[50.0] * 40, duration_s=900.0)
    for seed in range(8):
        policy = HpaPolicy(least=0, most=20, seed=seed)
        course = scenario(load, moments=100_000).run(policy).course
        assert min(moment.current for moment in course) == 1
        grown_s = next(moment.time_s for moment in course if moment.current > 1)
        assert 100.0 <= grown_s <= 100.0 + SCRAPE_S + SYNC_S
