"""The HorizontalPodAutoscaler, from its published algorithm.

Source: Kubernetes, ``pkg/controller/podautoscaler/horizontal.go`` and ``replica_calculator.go``; the same in words at
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field

from workerpool_operator.simulate.drain import Drain, Pick
from workerpool_operator.simulate.world import World

SYNC_S = 15.0
"""``--horizontal-pod-autoscaler-sync-period``, default 15 s."""

TOLERANCE = 0.1
"""``--horizontal-pod-autoscaler-tolerance``, default 0.1."""

DOWN_WINDOW_S = 300.0
"""``--horizontal-pod-autoscaler-downscale-stabilization``, default 5 minutes."""

UP_FACTOR, UP_LEAST = 2, 4
"""``scaleUpLimitFactor`` and ``scaleUpLimitMinimum``: one sync goes to at most max(2 x size, 4). Where ``behavior`` is
given instead, its defaults (100% or 4 pods each 15 s) differ from that by at most 3 pods at the start."""

GRACE_S = 30.0
"""``terminationGracePeriodSeconds`` of a pod, default 30 s: what a worker that is told to go may take to finish."""

SCRAPE_S = 15.0
"""How old a metric from Prometheus may be: the ``scrape_interval`` of its getting-started guide, 15 s."""

LIST_LENGTH = 5
"""``listLength`` of KEDA's Redis scalers, default 5 (https://keda.sh/docs/latest/scalers/redis-lists/)."""


@dataclass(kw_only=True, slots=True)
class Hpa:
    """Its arithmetic for one external metric with an average value, such as a queue's length.

    ``limited`` says whether the step up is limited as by default. The window is that of scaling down.
    """

    target: float
    least: int
    most: int
    window_s: float = DOWN_WINDOW_S
    limited: bool = True
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)

    def size(self, now_s: float, current: int, metric: float) -> int:
        """The size after one sync. At 0 it is switched off and stays there (``ScalingDisabled``).

        ``GetExternalPerPodMetricReplicas``: ceil(metric / target), or the size as it is while the metric is within the
        tolerance of target x size. ``stabilizeRecommendation``: the highest recommendation of the window.
        ``convertDesiredReplicasWithRules``: the limit on the step up, then the bounds.
        """
        if current == 0:
            return 0
        if not self._recommended:
            self._recommended.append((now_s, current))
        ratio = metric / (self.target * current)
        wanted = current if abs(1.0 - ratio) <= TOLERANCE else math.ceil(metric / self.target)
        while self._recommended and self._recommended[0][0] <= now_s - self.window_s:
            self._recommended.popleft()
        while self._recommended and self._recommended[-1][1] <= wanted:
            self._recommended.pop()  # what is older and not higher can never win
        self._recommended.append((now_s, wanted))
        stable = self._recommended[0][1]
        if self.limited:
            stable = min(stable, max(UP_FACTOR * current, UP_LEAST))
        elif wanted < current:
            stable = min(stable, current)  # with ``behavior``, the window of scaling down never scales up
        else:
            stable = wanted
        return min(max(stable, self.least), self.most)


@dataclass(kw_only=True, slots=True)
class HpaPolicy:
    """An HPA on the queue's length through Prometheus and an adapter: never below 1, its metric some seconds old.

    ``HPAScaleToZero`` is a feature gate that is off by default.
    """

    least: int
    most: int
    seed: int
    list_length: int = LIST_LENGTH
    name: str = "hpa"
    next_s: float = 0.0
    drain: Drain = field(default=Drain(pick=Pick.RANDOM, grace_s=GRACE_S))
    _hpa: Hpa = field(init=False)
    _scraped: int = 0
    _sync_s: float = field(init=False)
    _scrape_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._hpa = Hpa(target=float(self.list_length), least=self.initial, most=max(self.most, 1))
        phases = random.Random(f"hpa {self.seed}")  # noqa: S311 - a simulation, no secrets
        self._sync_s, self._scrape_s = phases.random() * SYNC_S, phases.random() * SCRAPE_S
        self.next_s = min(self._sync_s, self._scrape_s)

    @property
    def initial(self) -> int:
        """Never below 1."""
        return max(1, self.least)

    def ask(self, now_s: float, world: World) -> int:
        """Scrape, or sync, whichever is due."""
        size = world.fleet.current
        if now_s >= self._scrape_s:
            self._scraped = world.waiting
            self._scrape_s += SCRAPE_S
        if now_s >= self._sync_s:
            size = self._hpa.size(now_s, size, float(self._scraped))
            self._sync_s += SYNC_S
        self.next_s = min(self._sync_s, self._scrape_s)
        return size

    def rest(self, until_s: float) -> None:
        """It is never at zero."""
