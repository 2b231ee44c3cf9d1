"""The policies by the names they have on the command line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from workerpool_operator.simulate.outcome import Outcome
from workerpool_operator.simulate.policies.hpa import HpaPolicy
from workerpool_operator.simulate.policies.keda import KedaPolicy
from workerpool_operator.simulate.policies.oracle import EagerPolicy, bound
from workerpool_operator.simulate.policies.static import StaticPolicy
from workerpool_operator.simulate.policies.tuned import tuned
from workerpool_operator.simulate.policies.workerpool import WorkerPoolPolicy
from workerpool_operator.simulate.scenario import Scenario
from workerpool_operator.simulate.score import Score
from workerpool_operator.simulate.world import Policy

OWN = "workerpool"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A policy's score; ``outcome`` is None where nothing was run (the oracle)."""

    score: Score
    outcome: Outcome | None = None


def own(scenario: Scenario) -> Result:
    """WorkerPool's policy."""
    policy = WorkerPoolPolicy(
        spec=scenario.spec,
        grace_s=scenario.grace_s,
        seed=scenario.seed,
        begin_s=scenario.load.begin_s,
        schedules_at=scenario.schedules_at,
    )
    return _run(scenario, policy)


def _keda(scenario: Scenario) -> Result:
    spec = scenario.spec
    policy = KedaPolicy(least=spec.min_replicas, most=spec.max_replicas, seed=scenario.seed)
    return _run(scenario, policy, setting=str(policy.setting))


def _tuned(scenario: Scenario) -> Result:
    best = tuned(scenario)
    return Result(score=best.score, outcome=best.outcome)


def _hpa(scenario: Scenario) -> Result:
    spec = scenario.spec
    policy = HpaPolicy(least=spec.min_replicas, most=spec.max_replicas, seed=scenario.seed)
    return _run(scenario, policy, setting=f"average value {policy.list_length}")


def _static(scenario: Scenario) -> Result:
    """The smallest constant size that meets the target, found by bisection; the largest allowed where none does."""
    spec, load = scenario.spec, scenario.load
    low = max(1, spec.min_replicas, math.floor(load.work_s / scenario.slots / (load.duration_s + scenario.target_s)))
    high = spec.max_replicas
    best = _sized(scenario, high)
    if best.score.meets:
        low = min(low, high)
        while low < high:
            middle = (low + high) // 2
            found = _sized(scenario, middle)
            if found.score.meets:
                best, high = found, middle
            else:
                low = middle + 1
    return best


def _sized(scenario: Scenario, size: int) -> Result:
    return _run(scenario, StaticPolicy(size=size), setting=f"{size} replicas")


def _oracle(scenario: Scenario) -> Result:
    """The bound; in time is what the largest pool allowed reaches when it is asked for at the first moment."""
    spec, load, slots = scenario.spec, scenario.load, scenario.slots
    least = bound(
        load,
        slots=slots,
        startup_s=scenario.startup.least_s,
        target_s=scenario.target_s,
        least=spec.min_replicas,
    )
    eager = EagerPolicy(most=spec.max_replicas, least=spec.min_replicas)
    reached = scenario.score(eager, scenario.run(eager, label="oracle"))
    work_s = load.work_s
    return Result(
        score=Score(
            name="oracle",
            replica_s=least.replica_s,
            work_s=work_s,
            cost=least.replica_s * slots / work_s,
            wait_p50_s=None,
            wait_p95_s=None,
            wait_p99_s=None,
            wait_max_s=None,
            within_target=reached.within_target,
            scale_events=None,
            pods_started=None,
            busy_kills=0,
            setting="a bound, not a schedule" if reached.meets else "cannot be met with maxReplicas",
        )
    )


def _run(scenario: Scenario, policy: Policy, *, setting: str = "") -> Result:
    outcome = scenario.run(policy)
    return Result(score=scenario.score(policy, outcome, setting=setting), outcome=outcome)


AGAINST: dict[str, Callable[[Scenario], Result]] = {
    "keda": _keda,
    "keda-tuned": _tuned,
    "hpa": _hpa,
    "static": _static,
    "oracle": _oracle,
}


def compare(scenario: Scenario, against: tuple[str, ...]) -> dict[str, Result]:
    """Run WorkerPool and the others, in this order; names are those of :data:`AGAINST`."""
    return {OWN: own(scenario)} | {name: AGAINST[name](scenario) for name in against}
