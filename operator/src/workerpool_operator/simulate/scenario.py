"""One question to the simulator: a pool, its load, its replicas. Every policy gets the same one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from workerpool_operator.core.spec import PoolSpec
from workerpool_operator.simulate.load import Load
from workerpool_operator.simulate.outcome import Outcome
from workerpool_operator.simulate.policies.workerpool import Schedules
from workerpool_operator.simulate.score import Score, score
from workerpool_operator.simulate.services import Lengths
from workerpool_operator.simulate.world import Policy, World

Progress = Callable[[str, float], None]
"""Is told what runs, and how far it is (0..1)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """``slots`` is how many jobs a replica runs at a time; ``grace_s`` how long a busy one that is to go may take."""

    spec: PoolSpec
    load: Load
    startup: Lengths
    slots: int
    target_s: float
    grace_s: float = 60.0
    seed: int = 1
    schedules_at: Schedules | None = None
    moments: int = 0
    progress: Progress | None = None

    def run(self, policy: Policy, *, label: str = "") -> Outcome:
        """Run a policy through it.

        Replicas that it has from the first moment on, beyond the pool's minimum, have cost their start as well.
        """
        progress, name = self.progress, label or policy.name
        world = World(
            load=self.load,
            policy=policy,
            slots=self.slots,
            startup=self.startup.draw,
            seed=self.seed,
            progress=None if progress is None else lambda share: progress(name, share),
            moments=self.moments,
        )
        outcome = world.run()
        begun = max(0, policy.initial - self.spec.min_replicas)
        return replace(outcome, replica_s=outcome.replica_s + begun * self.startup.mean_s) if begun else outcome

    def score(self, policy: Policy, outcome: Outcome, *, name: str = "", setting: str = "") -> Score:
        """Count what came of it."""
        name = name or policy.name
        return score(name, outcome, self.load, target_s=self.target_s, slots=self.slots, setting=setting)
