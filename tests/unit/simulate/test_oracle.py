"""No schedule that meets the target costs less than the bound: by hand, and against all there are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerpool_operator.core.spec import PoolSpec, ScaleDown
from workerpool_operator.simulate.contenders import AGAINST, compare
from workerpool_operator.simulate.drain import Drain, Pick
from workerpool_operator.simulate.load import Load
from workerpool_operator.simulate.policies.keda import FREE_DRAIN, KedaPolicy, KedaSetting
from workerpool_operator.simulate.policies.oracle import bound, gap_waste_s, peak_replicas
from workerpool_operator.simulate.policies.static import StaticPolicy
from workerpool_operator.simulate.policies.workerpool import WorkerPoolPolicy
from workerpool_operator.simulate.scenario import Scenario
from workerpool_operator.simulate.services import lengths
from workerpool_operator.simulate.world import Policy, World

pytestmark = pytest.mark.unit


def load_of(*jobs: tuple[float, float], duration_s: float = 100.0) -> Load:
    ordered = sorted(jobs)
    return Load(
        arrivals_s=[at for at, _ in ordered], services_s=[service for _, service in ordered], duration_s=duration_s
    )


def test_one_job_costs_its_work_and_a_start() -> None:
    found = bound(load_of((10.0, 7.0)), slots=1, startup_s=5.0, target_s=30.0, least=0)
    assert found.replica_s == 12.0


def test_minimum_is_a_floor() -> None:
    assert bound(load_of((10.0, 7.0)), slots=1, startup_s=5.0, target_s=30.0, least=2).replica_s == 200.0


def test_far_apart_jobs_cost_a_start_each_and_near_ones_the_gap() -> None:
    # 50 s apart with a target of 10: a gap of 40 s, a start of 5 s is cheaper
    far = load_of(*((50.0 * n, 1.0) for n in range(3)), duration_s=200.0)
    assert gap_waste_s(far, slots=1, startup_s=5.0, target_s=10.0, exempt=0) == 10.0
    # 13 s apart: a gap of 3 s, of which 1 s may be work of the job before: staying wastes 2 s
    near = load_of(*((13.0 * n, 1.0) for n in range(3)))
    assert gap_waste_s(near, slots=1, startup_s=5.0, target_s=10.0, exempt=0) == 4.0
    # one exempt job spoils two gaps
    assert gap_waste_s(near, slots=1, startup_s=5.0, target_s=10.0, exempt=1) == 0.0


def test_job_that_reaches_over_later_gaps_takes_their_waste() -> None:
    jobs = load_of((0.0, 200.0), (50.0, 1.0), (100.0, 1.0), duration_s=200.0)
    assert gap_waste_s(jobs, slots=1, startup_s=5.0, target_s=10.0, exempt=0) == 0.0


def test_crowd_needs_its_peak() -> None:
    # 100 jobs of 10 s at once, in time within 5 s: with L = 40 s all 1,000 s of work lie within 5 / 2 + 5 + 40 s
    crowd = load_of(*((0.0, 10.0) for _ in range(100)))
    assert peak_replicas(crowd, slots=1, target_s=5.0, exempt=0) >= 57
    assert peak_replicas(crowd, slots=4, target_s=5.0, exempt=0) >= 15


@dataclass(kw_only=True, slots=True)
class Foresight:
    """Knows when jobs arrive: starts replicas so late that the oldest job is just in time, and drops them at once."""

    load: Load
    startup_s: float
    target_s: float
    size: int
    name: str = "foresight"
    next_s: float = 0.0
    initial: int = 0
    drain: Drain = field(default=Drain(pick=Pick.BY_TRUTH))

    def ask(self, now_s: float, world: World) -> int:
        if world.waiting or world.fleet.held:
            age_s = world.oldest_s(now_s) or 0.0
            up = world.fleet.current > 0 or age_s >= self.target_s - self.startup_s - 0.011
            self.next_s = now_s + 0.01
            return self.size if up and world.waiting else (1 if world.fleet.held and up else 0)
        following = self.load.arrivals_s[world.arrived] if world.arrived < len(self.load.arrivals_s) else math.inf
        self.next_s = max(now_s + 0.01, following + max(0.0, self.target_s - self.startup_s - 0.01))
        return 0

    def rest(self, until_s: float) -> None:
        pass


JOBS = st.lists(st.tuples(st.floats(0, 400), st.floats(0.05, 40)), min_size=1, max_size=130)


@settings(max_examples=120, deadline=None)
@given(
    jobs=JOBS,
    slots=st.integers(1, 3),
    startup_s=st.floats(0.1, 30),
    target_s=st.floats(1, 60),
    least=st.sampled_from([0, 0, 0, 1, 2]),
    size=st.integers(1, 12),
    length=st.integers(1, 20),
)
def test_no_policy_that_meets_the_target_is_below_the_bound(
    jobs: list[tuple[float, float]],
    slots: int,
    startup_s: float,
    target_s: float,
    least: int,
    size: int,
    length: int,
) -> None:
    load = load_of(*jobs, duration_s=400.0)
    spec = PoolSpec(
        min_replicas=least,
        max_replicas=40,
        backlog_per_replica=None,
        queue_latency_s=max(1, int(target_s)),
        slots_per_replica=slots,
        scale_down=ScaleDown(stabilization_s=0),
    )
    startup = lengths(f"{startup_s}", "startup")
    scenario = Scenario(spec=spec, load=load, startup=startup, slots=slots, target_s=target_s)
    setting = KedaSetting(list_length=length, poll_s=1.0, cooldown_s=0.0, window_s=0.0, limited=False)
    policies: list[Policy] = [
        WorkerPoolPolicy(spec=spec, grace_s=60.0, seed=1),
        KedaPolicy(least=least, most=40, seed=1, setting=setting, drain=FREE_DRAIN),
        StaticPolicy(size=max(size, least)),
    ]
    if least == 0:
        policies.append(Foresight(load=load, startup_s=startup_s, target_s=target_s, size=size))
    limit = bound(load, slots=slots, startup_s=startup.least_s, target_s=target_s, least=least)
    for policy in policies:
        found = scenario.score(policy, scenario.run(policy))
        if found.meets:
            assert found.replica_s >= limit.replica_s - 1e-6, policy.name


def test_foresight_comes_near_the_bound() -> None:
    load = load_of(*((60.0 * n, 2.0) for n in range(50)), duration_s=3_000.0)
    policy = Foresight(load=load, startup_s=5.0, target_s=30.0, size=1)
    scenario = Scenario(spec=PoolSpec(), load=load, startup=lengths("5", "startup"), slots=1, target_s=30.0)
    found = scenario.score(policy, scenario.run(policy))
    limit = bound(load, slots=1, startup_s=5.0, target_s=30.0, least=0)
    assert found.meets
    assert limit.replica_s <= found.replica_s <= limit.replica_s * 1.03


def test_all_contenders_answer_and_the_oracle_is_cheapest() -> None:
    load = load_of(*((4.0 * n, 3.0) for n in range(300)), duration_s=1_200.0)
    spec = PoolSpec(max_replicas=20, backlog_per_replica=None, queue_latency_s=20, slots_per_replica=1)
    scenario = Scenario(spec=spec, load=load, startup=lengths("5", "startup"), slots=1, target_s=20.0)
    found = compare(scenario, tuple(AGAINST))
    assert list(found) == ["workerpool", *AGAINST]
    least = found["oracle"].score.replica_s
    assert all(result.score.replica_s >= least for result in found.values() if result.score.meets)
    assert found["keda-tuned"].score.meets
    assert found["keda-tuned"].score.cost <= found["keda"].score.cost
    assert found["static"].score.setting == "1 replicas"
