"""KEDA with its Redis list scaler: a poll wakes and puts to sleep, an HPA does all sizes from 1 up.

Source: KEDA 2.20, ``pkg/scaling/executor/scale_scaledobjects.go`` (``RequestScale``, ``scaleToZeroOrIdle``) and
https://keda.sh/docs/latest/reference/scaledobject-spec/. The HPA asks KEDA's metrics server at each of its syncs, and
that reads Redis anew (``useCachedMetrics: false``), so the polling interval decides about 0 and 1 only. What KEDA
counts is the list's length: jobs that wait, not those that run.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from workerpool_operator.simulate.drain import Drain, Pick
from workerpool_operator.simulate.policies.hpa import DOWN_WINDOW_S, GRACE_S, LIST_LENGTH, SYNC_S, Hpa
from workerpool_operator.simulate.world import World

POLL_S = 30.0
"""``pollingInterval``, default 30 s."""

COOLDOWN_S = 300.0
"""``cooldownPeriod``, default 300 s: so long after the last time the list was found not empty, the pool goes to 0."""

FREE_DRAIN = Drain(pick=Pick.BY_TRUTH)
"""Idle replicas go first, by what nobody can know, and busy ones may take for ever: more than KEDA can do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KedaSetting:
    """What of a ScaledObject matters here. ``limited`` is the HPA's default limit on steps up."""

    list_length: int = LIST_LENGTH
    poll_s: float = POLL_S
    cooldown_s: float = COOLDOWN_S
    window_s: float = DOWN_WINDOW_S
    limited: bool = True
    sync_s: float = SYNC_S

    def __str__(self) -> str:
        return (
            f"listLength {self.list_length}, poll {self.poll_s:g} s, cooldown {self.cooldown_s:g} s, "
            f"window {self.window_s:g} s{'' if self.limited else ', steps not limited'}"
        )


@dataclass(kw_only=True, slots=True)
class KedaPolicy:
    """A ScaledObject with one Redis list."""

    least: int
    most: int
    seed: int
    setting: KedaSetting = field(default=KedaSetting())
    drain: Drain = field(default=Drain(pick=Pick.RANDOM, grace_s=GRACE_S))
    name: str = "keda"
    next_s: float = 0.0
    _hpa: Hpa = field(init=False)
    _poll_s: float = field(init=False)
    _sync_s: float = field(init=False)
    _active_s: float = 0.0

    def __post_init__(self) -> None:
        setting = self.setting
        self._hpa = Hpa(
            target=float(setting.list_length),
            least=max(1, self.least),
            most=max(self.most, 1),
            window_s=setting.window_s,
            limited=setting.limited,
        )
        phases = random.Random(f"keda {self.seed}")  # noqa: S311 - a simulation, no secrets
        self._poll_s, self._sync_s = phases.random() * setting.poll_s, phases.random() * setting.sync_s
        self.next_s = min(self._poll_s, self._sync_s)

    @property
    def initial(self) -> int:
        """The size before the first job."""
        return self.least

    def ask(self, now_s: float, world: World) -> int:
        """Poll, or sync, whichever is due."""
        size, waiting = world.fleet.current, world.waiting
        if now_s >= self._poll_s:
            size = self._polled(now_s, size, waiting)
            self._poll_s += self.setting.poll_s
        if now_s >= self._sync_s:
            size = self._hpa.size(now_s, size, float(waiting))
            self._sync_s += self.setting.sync_s
        self.next_s = min(self._poll_s, self._sync_s)
        return size

    def rest(self, until_s: float) -> None:
        """At zero with an empty list neither poll nor sync does anything."""
        for name, step_s in (("_poll_s", self.setting.poll_s), ("_sync_s", self.setting.sync_s)):
            at_s = getattr(self, name)
            setattr(self, name, at_s + max(0, int((until_s - at_s) // step_s)) * step_s)
        self.next_s = min(self._poll_s, self._sync_s)

    def _polled(self, now_s: float, size: int, waiting: int) -> int:
        if waiting:
            self._active_s = now_s
            return size or max(1, self.least)
        if self.least == 0 and now_s - self._active_s > self.setting.cooldown_s:
            return 0
        return size
