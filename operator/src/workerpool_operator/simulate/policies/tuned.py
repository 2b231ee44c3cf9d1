"""KEDA tuned for one scenario by somebody who may try it as often as needed, on the very load that counts.

No tuning in real life is as good: it knows the future load, and :data:`~.keda.FREE_DRAIN` protects its busy workers by
what cannot be known. List length, polling interval, cooldown and the HPA's window are swept one after the other, each
by its whole list, then the list length again more finely; steps up are not limited. The HPA's sync stays at 15 s: that
is a flag of the cluster's controller manager, not of a ScaledObject.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from workerpool_operator.simulate.outcome import Outcome
from workerpool_operator.simulate.policies.keda import FREE_DRAIN, KedaPolicy, KedaSetting
from workerpool_operator.simulate.scenario import Scenario
from workerpool_operator.simulate.score import Score

COARSE = (0.02, 0.05, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 1.0, 1.25)
"""List lengths tried first, in units of target x slots / mean job seconds: the jobs one replica does in a target."""
FINE = (0.7, 0.8, 0.9, 1.1, 1.2, 1.35)
"""Those tried at the end, in units of the best so far."""
WINDOWS_S = (0.0, 15.0, 60.0, 120.0, 300.0)
COOLDOWNS_S = (0.0, 15.0, 60.0, 300.0)
POLLS_S = (1.0, 5.0, 15.0, 30.0)
ROUNDS = 3
"""So often all are swept in turn; most scenarios settle after two."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting and what came of it."""

    setting: KedaSetting
    score: Score
    outcome: Outcome

    @property
    def rank(self) -> tuple[bool, float]:
        """Smaller is better: the cheapest of those that meet the target; else the one nearest to meeting it."""
        return (False, self.score.cost) if self.score.meets else (True, -self.score.within_target)


def tuned(scenario: Scenario) -> Trial:
    """The best setting of the sweep."""
    sweep = _Sweep(scenario)
    unit = scenario.target_s * scenario.slots * len(scenario.load.services_s) / scenario.load.work_s
    begin = KedaSetting(poll_s=1.0, cooldown_s=60.0, window_s=60.0, limited=False)
    best = sweep.best(replace(begin, list_length=_length(unit * share)) for share in COARSE)
    for _ in range(ROUNDS):
        before = best.setting
        best = sweep.best([replace(best.setting, window_s=value) for value in WINDOWS_S])
        best = sweep.best([replace(best.setting, cooldown_s=value) for value in COOLDOWNS_S])
        best = sweep.best([replace(best.setting, poll_s=value) for value in POLLS_S])
        best = sweep.best([replace(best.setting, list_length=length) for length in _finer(best.setting.list_length)])
        if best.setting == before:
            break
    return best


def _length(jobs: float) -> int:
    return max(1, round(jobs))


def _finer(length: int) -> Iterator[int]:
    yield length
    yield from {_length(length * factor) for factor in FINE} | {max(1, length - 1), length + 1}


class _Sweep:
    """Runs each setting once."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario, self._known = scenario, dict[KedaSetting, Trial]()

    def best(self, settings: Iterable[KedaSetting]) -> Trial:
        return min((self._try(setting) for setting in settings), key=lambda trial: trial.rank)

    def _try(self, setting: KedaSetting) -> Trial:
        known = self._known.get(setting)
        if known is None:
            scenario, spec = self._scenario, self._scenario.spec
            policy = KedaPolicy(
                least=spec.min_replicas,
                most=spec.max_replicas,
                seed=scenario.seed,
                setting=setting,
                drain=FREE_DRAIN,
                name="keda-tuned",
            )
            outcome = scenario.run(policy, label=f"keda-tuned, setting {len(self._known) + 1}")
            score = scenario.score(policy, outcome, setting=str(setting))
            known = self._known[setting] = Trial(setting, score, outcome)
        return known
