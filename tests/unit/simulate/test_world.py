"""Virtual time against queueing theory, and what must hold whatever a policy does."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerpool_operator.simulate.drain import Drain, Pick
from workerpool_operator.simulate.load import Load, make_load
from workerpool_operator.simulate.outcome import Outcome
from workerpool_operator.simulate.policies.static import StaticPolicy
from workerpool_operator.simulate.services import lengths
from workerpool_operator.simulate.synthetic import synthetic
from workerpool_operator.simulate.world import World

pytestmark = pytest.mark.unit


@dataclass(kw_only=True, slots=True)
class Restless:
    """Asks for another size at random, and for one at the end so that every job gets done."""

    seed: int
    most: int
    until_s: float
    drain: Drain
    name: str = "restless"
    next_s: float = 0.0
    initial: int = 0
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def ask(self, now_s: float, world: World) -> int:  # noqa: ARG002 - the protocol's
        self.next_s = now_s + self.rng.uniform(0.01, 5.0)
        return self.rng.randint(0, self.most) if now_s < self.until_s else self.most

    def rest(self, until_s: float) -> None:
        pass


def run(load: Load, policy: StaticPolicy | Restless, *, slots: int = 1, startup: str = "5", seed: int = 1) -> Outcome:
    return World(load=load, policy=policy, slots=slots, startup=lengths(startup, "startup").draw, seed=seed).run()


def fixed_load(arrivals: list[float], service_s: float, duration_s: float = 100.0) -> Load:
    return Load(arrivals_s=arrivals, services_s=[service_s] * len(arrivals), duration_s=duration_s)


def mean_wait_s(rate: float, job_s: str, size: int, *, slots: int = 1) -> float:
    load = make_load(synthetic(f"poisson(rate={rate},hours=40)"), lengths(job_s, "jobs"), seed=3)
    waits = run(load, StaticPolicy(size=size), slots=slots).waits_s
    return sum(waits) / len(waits)


def erlang_c_wait_s(rate: float, service_s: float, servers: int) -> float:
    """Mean wait in an M/M/c queue: C(c, a) x s / (c - a) with the Erlang C formula."""
    offered = rate * service_s
    below = sum(offered**k / math.factorial(k) for k in range(servers))
    waiting = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return waiting / (below + waiting) * service_s / (servers - offered)


@pytest.mark.parametrize(("rate", "servers"), [(0.35, 1), (1.6, 4), (4.5, 10)])
def test_mean_wait_is_that_of_mmc(rate: float, servers: int) -> None:
    assert mean_wait_s(rate, "exponential(mean=2)", servers) == pytest.approx(
        erlang_c_wait_s(rate, 2.0, servers), rel=0.08
    )


def test_slots_of_one_replica_serve_like_as_many_replicas() -> None:
    assert mean_wait_s(1.6, "exponential(mean=2)", 1, slots=4) == pytest.approx(erlang_c_wait_s(1.6, 2.0, 4), rel=0.08)


@pytest.mark.parametrize("rate", [0.25, 0.4])
def test_mean_wait_is_that_of_md1(rate: float) -> None:
    load = rate * 2.0  # Pollaczek-Khinchine with no variance: load x service / (2 (1 - load))
    assert mean_wait_s(rate, "fixed(2)", 1) == pytest.approx(load * 2.0 / (2 * (1 - load)), rel=0.05)


def test_first_in_first_out_by_hand() -> None:
    # one replica, 10 s a job: starts at 0, 10, 20, and 50 when it is idle again
    outcome = run(fixed_load([0.0, 1.0, 2.0, 50.0], 10.0), StaticPolicy(size=1))
    assert outcome.waits_s == [0.0, 9.0, 18.0, 0.0]
    assert (outcome.replica_s, outcome.pods_started, outcome.scale_events) == (100.0, 1, 0)


@dataclass(kw_only=True, slots=True)
class Scripted:
    """Asks for given sizes at given times."""

    script: list[tuple[float, int]]
    drain: Drain
    name: str = "scripted"
    next_s: float = 0.0
    initial: int = 0

    def ask(self, now_s: float, world: World) -> int:  # noqa: ARG002 - the protocol's
        size = self.script[0][1]
        if now_s >= self.script[0][0]:
            self.script.pop(0)
            self.next_s = self.script[0][0] if self.script else math.inf
        return size

    def rest(self, until_s: float) -> None:
        pass


def scripted(load: Load, drain: Drain, *script: tuple[float, int]) -> Outcome:
    policy = Scripted(script=list(script), drain=drain, next_s=script[0][0])
    return World(load=load, policy=policy, slots=1, startup=lengths("5", "startup").draw, seed=1).run()


def test_replica_that_leaves_finishes_its_job_and_costs_until_then() -> None:
    load = fixed_load([0.0], 20.0)
    outcome = scripted(load, Drain(pick=Pick.BY_HEARTBEAT), (0.0, 1), (10.0, 0))
    # asked for at 0, ready and started at 5, told to go at 10, done at 25
    assert (outcome.waits_s, outcome.replica_s, outcome.busy_kills) == ([5.0], 25.0, 0)


def test_job_of_a_killed_replica_starts_again_and_its_work_is_lost() -> None:
    load = fixed_load([0.0], 20.0)
    outcome = scripted(load, Drain(pick=Pick.RANDOM, grace_s=3.0), (0.0, 1), (10.0, 0), (30.0, 1))
    # started at 5, killed at 13 after 8 s of work; the next replica serves from 35 on
    assert (outcome.waits_s, outcome.busy_kills, outcome.lost_s) == ([35.0], 1, 8.0)
    assert outcome.replica_s == 13.0 + (100.0 - 30.0)


def test_replica_that_still_starts_goes_first() -> None:
    load = fixed_load([0.0], 20.0)
    outcome = scripted(load, Drain(pick=Pick.RANDOM, grace_s=0.0), (0.0, 1), (10.0, 2), (12.0, 1))
    assert (outcome.busy_kills, outcome.pods_started, outcome.replica_s) == (0, 2, 102.0)


def test_gives_up_on_what_is_never_done() -> None:
    outcome = scripted(fixed_load([0.0, 1.0], 20.0), Drain(pick=Pick.RANDOM), (0.0, 0))
    assert outcome.unfinished == 2
    assert min(outcome.waits_s) > 3_600


LOADS = st.lists(st.tuples(st.floats(0, 60), st.floats(0.01, 30)), min_size=1, max_size=60).map(
    lambda jobs: Load(
        arrivals_s=sorted(at for at, _ in jobs), services_s=[service for _, service in jobs], duration_s=60.0
    )
)


@settings(max_examples=150, deadline=None)
@given(
    load=LOADS,
    seed=st.integers(0, 10_000),
    most=st.integers(1, 6),
    slots=st.integers(1, 3),
    pick=st.sampled_from(list(Pick)),
    grace_s=st.sampled_from([0.0, 1.0, 10.0, math.inf]),
)
def test_jobs_and_work_are_conserved(load: Load, seed: int, most: int, slots: int, pick: Pick, grace_s: float) -> None:
    policy = Restless(seed=seed, most=most, until_s=120.0, drain=Drain(pick=pick, grace_s=grace_s))
    world = World(load=load, policy=policy, slots=slots, startup=lengths("uniform(1,4)", "startup").draw, seed=seed)
    outcome = world.run()
    assert outcome.unfinished == 0
    assert len(outcome.waits_s) == len(load.arrivals_s)
    # no job before its arrival, nor before the first replica can be ready
    assert all(wait >= 0 and at + wait >= 1.0 for at, wait in zip(load.arrivals_s, outcome.waits_s, strict=True))
    assert outcome.replica_s * slots >= load.work_s + outcome.lost_s - 1e-6
    assert outcome.busy_kills <= outcome.pods_started
    assert (outcome.lost_s > 0) <= (outcome.busy_kills > 0)
    assert grace_s < math.inf or outcome.busy_kills == 0
    assert (world.fleet.held, world.fleet.leaving, world.waiting) == (0, 0, 0)


@settings(max_examples=30, deadline=None)
@given(load=LOADS, seed=st.integers(0, 10_000))
def test_one_seed_gives_one_answer(load: Load, seed: int) -> None:
    def once() -> Outcome:
        policy = Restless(seed=seed, most=4, until_s=90.0, drain=Drain(pick=Pick.RANDOM, grace_s=2.0))
        return run(load, policy, startup="lognormal(mean=3,cv=1)", seed=seed)

    assert once() == once()


def test_another_seed_is_another_load() -> None:
    trace, job_s = synthetic("poisson(rate=1,hours=1)"), lengths("exponential(mean=2)", "jobs")
    assert make_load(trace, job_s, seed=1) == make_load(trace, job_s, seed=1)
    assert make_load(trace, job_s, seed=1) != make_load(trace, job_s, seed=2)


def test_a_day_of_a_busy_pool_takes_seconds() -> None:
    load = make_load(synthetic("poisson(rate=5,hours=24)"), lengths("lognormal(mean=2,cv=1)", "jobs"), seed=1)
    begin_s = time.process_time()
    run(load, StaticPolicy(size=12))
    assert time.process_time() - begin_s < 30
