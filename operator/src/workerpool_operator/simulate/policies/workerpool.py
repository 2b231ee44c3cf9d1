"""WorkerPool itself: the very ``decide`` of production, fed with what production's loop would have seen.

The loop's timing is kept: a turn an interval after the last one began, a little late each time, as an event loop wakes
up and a read of Redis takes its time. Jobs that workers hold come from the broker, exact; who is busy, and how many
jobs were started, come from heartbeats, up to two seconds old. A pool at rest is left alone as the Kubernetes loop
does, and made up for with the same catch-up decision.

The observation equals what ``queues/inflight.estimate`` makes of late-acknowledging workers; a test compares the two
over whole runs.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from workerpool_operator.core.decision import Decision, History
from workerpool_operator.core.observation import ActiveSchedule, InFlight, JobSeconds, Observation, QueueDepth, Replicas
from workerpool_operator.core.policy import decide
from workerpool_operator.core.spec import PoolSpec, WhenBusy
from workerpool_operator.simulate.drain import Drain, Pick
from workerpool_operator.simulate.world import World

JITTER_S = 0.02
"""A turn begins up to this much late: waking up, and the read of a Redis nearby (see docs/benchmarks-operator.md)."""

REST_S = 10.0
"""For how long a pool at rest is not decided anew: ``kube/loops.py`` has the same."""

Schedules = Callable[[float], tuple[ActiveSchedule, ...]]


@dataclass(kw_only=True, slots=True)
class WorkerPoolPolicy:
    """The policy of a pool. ``begin_s`` is the Unix time of the run's beginning, for schedules and for decisions."""

    spec: PoolSpec
    grace_s: float
    seed: int
    begin_s: float = 0.0
    schedules_at: Schedules | None = None
    observe: Callable[[World, float], Observation] | None = None
    """Stands in for the observation where a test wants another way to make it."""
    on_decision: Callable[[Observation, Decision], None] | None = None
    name: str = "workerpool"
    next_s: float = 0.0
    drain: Drain = field(init=False)
    history: History = field(default_factory=History)
    _rng: random.Random = field(init=False)
    _finished: JobSeconds | None = None

    def __post_init__(self) -> None:
        self.drain = Drain(
            pick=Pick.BY_HEARTBEAT, grace_s=self.grace_s, cordon=self.spec.scale_down.when_busy is WhenBusy.WAIT
        )
        self._rng = random.Random(f"loop {self.seed}")  # noqa: S311 - a simulation, no secrets
        self.next_s = self._rng.random() * self.spec.poll_interval_s

    @property
    def initial(self) -> int:
        """The size before the first job: the least it may have."""
        pinned = self.spec.pinned_replicas
        return self.spec.min_replicas if pinned is None else min(pinned, self.spec.max_replicas)

    def ask(self, now_s: float, world: World) -> int:
        """Observe and decide."""
        self.next_s = now_s + self.spec.poll_interval_s + JITTER_S * self._rng.random()
        seen = (self.observe or self.seen)(world, now_s)
        decision = decide(seen, self.spec, self.history)
        self.history = decision.history
        if self.on_decision is not None:
            self.on_decision(seen, decision)
        return decision.target

    def rest(self, until_s: float) -> None:
        """Pass over turns in which nothing can change, but no more at once than production does."""
        if self.schedules_at is not None:
            return
        pause_s = self.spec.poll_interval_s + JITTER_S / 2
        turns = math.floor((min(until_s, self.next_s + REST_S) - self.next_s) / pause_s)
        if turns > 0:
            self.next_s += turns * pause_s
            at_zero = Replicas(current=0, ready=0, busy=0)
            nothing = InFlight(started_total=self._started, finished=self._finished)
            last = self._observation(self.next_s - pause_s, QueueDepth(ready=0), nothing, at_zero)
            self.history = decide(last, self.spec, self.history).history

    @property
    def _started(self) -> int | None:
        last = self.history.measures.last
        return None if last is None else last.started_total

    def seen(self, world: World, now_s: float) -> Observation:
        """What the loop sees at this moment."""
        fleet = world.fleet
        fleet.hear(now_s)
        self._finished = fleet.finished
        running = max(fleet.held, fleet.heard_active + fleet.heard_leaving)
        nobody = not (fleet.current or fleet.leaving)
        in_flight = InFlight(
            running=0 if nobody else running,
            running_on_leaving=min(fleet.heard_leaving, running),
            started_total=fleet.heard_started,
            finished=fleet.finished,
        )
        depth = QueueDepth(ready=world.waiting, oldest_job_s=world.oldest_s(now_s))
        replicas = Replicas(
            current=fleet.current,
            ready=fleet.ready,
            busy=fleet.heard_busy,
            leaving=fleet.leaving,
            drains=self.drain.cordon,
        )
        return self._observation(now_s, depth, in_flight, replicas)

    def _observation(self, now_s: float, depth: QueueDepth, in_flight: InFlight, replicas: Replicas) -> Observation:
        at_s = self.begin_s + now_s
        return Observation(
            time_s=at_s,
            replicas=replicas,
            queues={"jobs": depth},
            in_flight=in_flight,
            schedules=self.schedules_at(at_s) if self.schedules_at else (),
        )
