"""Virtual time: jobs arrive, replicas take them, a policy is asked for sizes when it wants to be.

What is modelled: one first-in-first-out queue; a replica takes ``startup`` seconds until it serves, runs ``slots`` jobs
at a time and fetches no more than it runs (late acknowledgement, prefetch 1: the bundled worker's way); a replica that
leaves finishes what it runs within its grace period, or is killed, and then the cut-off jobs go back to the head of
the queue and start again. What is not: the time of a read or a write of Redis, of the Kubernetes API, failures.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import inf
from typing import Protocol

from workerpool_operator.simulate.drain import Drain, Pick
from workerpool_operator.simulate.fleet import LEAVING, SERVING, STARTING, Fleet
from workerpool_operator.simulate.load import Load
from workerpool_operator.simulate.outcome import Moment, Outcome
from workerpool_operator.simulate.services import SHORTEST_S, Draw

READY, DEADLINE = 0, 1
PROGRESS_EVERY = 2_000
PATIENCE_S = 3_600.0


class Policy(Protocol):
    """Something that decides sizes."""

    name: str
    drain: Drain
    next_s: float
    """When it wants to be asked next; never earlier than now."""

    @property
    def initial(self) -> int:
        """How many replicas serve before the first job."""
        ...

    def ask(self, now_s: float, world: World) -> int:
        """The size it wants. It must move ``next_s`` on."""
        ...

    def rest(self, until_s: float) -> None:
        """Nothing will change before this time: no replica, no job. It may leave out its turns until then."""
        ...


@dataclass(kw_only=True, slots=True)
class World:
    """One run of one policy under one load."""

    load: Load
    policy: Policy
    slots: int
    startup: Draw
    seed: int
    progress: Callable[[float], None] | None = None
    moments: int = 0
    """How many moments of the course are kept; 0: none."""
    fleet: Fleet = field(init=False)
    redo: deque[int] = field(default_factory=deque)
    head: int = 0
    arrived: int = 0
    _waits_s: list[float] = field(init=False)
    _finishes: list[tuple[float, int, int]] = field(default_factory=list)
    _events: list[tuple[float, int, int]] = field(default_factory=list)
    _rng: random.Random = field(init=False)
    _done: int = 0
    _last_s: float = 0.0
    _scale_events: int = 0
    _busy_kills: int = 0
    _lost_s: float = 0.0
    _course: list[Moment] = field(default_factory=list)
    _next_moment_s: float = 0.0
    _cordoned: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fleet = Fleet(self.slots)
        self._waits_s = [-1.0] * len(self.load.arrivals_s)
        self._rng = random.Random(f"replicas {self.seed}")  # noqa: S311 - a simulation, no secrets
        for _ in range(self.policy.initial):
            self._serve(self.fleet.add(0.0), 0.0)

    # -- what a policy may look at

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return self.arrived - self.head + len(self.redo)

    def oldest_s(self, now_s: float) -> float | None:
        """The age of the job at the head of the queue, None when it is empty."""
        if self.redo:
            return now_s - self.load.arrivals_s[self.redo[0]]
        return now_s - self.load.arrivals_s[self.head] if self.head < self.arrived else None

    # -- the run

    def run(self) -> Outcome:
        """Run until every job is done and no more can arrive, or until that is hopeless."""
        policy, load, turns = self.policy, self.load, 0
        hopeless_s = load.duration_s + load.work_s + PATIENCE_S
        while True:
            now_s = min(policy.next_s, hopeless_s)
            end_s = self._until(now_s)
            if end_s is not None or now_s >= hopeless_s:
                return self._outcome(now_s if end_s is None else end_s)
            target = policy.ask(now_s, self)
            if target != self.fleet.current:
                self._scale(target, now_s)
            elif not (target or self.waiting or self.fleet.leaving):
                policy.rest(load.arrivals_s[self.arrived] if self.arrived < len(load.arrivals_s) else load.duration_s)
            if self._cordoned:
                self._release(now_s)
            if self.moments and now_s >= self._next_moment_s:
                self._note(now_s)
            turns += 1
            if self.progress is not None and turns % PROGRESS_EVERY == 0:
                self.progress(min(1.0, now_s / load.duration_s))

    def _until(self, limit_s: float) -> float | None:
        """Let happen what happens until a time; returns when the run ended, None when it goes on."""
        arrivals_s, finishes, events, jobs = self.load.arrivals_s, self._finishes, self._events, len(self._waits_s)
        while True:
            arrival_s = arrivals_s[self.arrived] if self.arrived < jobs else inf
            finish_s = finishes[0][0] if finishes else inf
            event_s = events[0][0] if events else inf
            if self._done == jobs:
                end_s = max(self.load.duration_s, self._last_s)
                if end_s <= min(limit_s, event_s):
                    return end_s
            if finish_s <= arrival_s and finish_s <= event_s:
                if finish_s > limit_s:
                    return None
                self._finish(*heappop(finishes))
            elif arrival_s <= event_s:
                if arrival_s > limit_s:
                    return None
                self.arrived += 1
                self._dispatch(arrival_s)
            else:
                if event_s > limit_s:
                    return None
                at_s, kind, replica = heappop(events)
                self._serve(replica, at_s) if kind == READY else self._kill(replica, at_s)

    def _dispatch(self, now_s: float) -> None:
        """Give waiting jobs to replicas with a free slot."""
        fleet, idle = self.fleet, self.fleet.idle
        while idle and self.waiting:
            replica = idle.popleft()
            if fleet.phase[replica] is SERVING and fleet.active[replica] < self.slots:
                self._start(replica, now_s)
                if fleet.active[replica] < self.slots:
                    idle.append(replica)

    def _start(self, replica: int, now_s: float) -> None:
        if self.redo:
            job = self.redo.popleft()
        else:
            job = self.head
            self.head += 1
        self._waits_s[job] = now_s - self.load.arrivals_s[job]
        heappush(self._finishes, (now_s + self.load.services_s[job], job, replica))
        self.fleet.begin(replica, now_s)

    def _finish(self, now_s: float, job: int, replica: int) -> None:
        fleet = self.fleet
        fleet.end(replica, now_s, self.load.services_s[job])
        self._done += 1
        self._last_s = now_s
        if fleet.phase[replica] is LEAVING:
            if not (fleet.active[replica] or self.policy.drain.cordon):
                fleet.remove(replica, now_s)
        elif self.redo or self.head < self.arrived:
            self._start(replica, now_s)
        elif fleet.active[replica] == self.slots - 1:
            fleet.idle.append(replica)

    def _serve(self, replica: int, now_s: float) -> None:
        if self.fleet.phase[replica] is STARTING:
            self.fleet.serve(replica, now_s)
            self.fleet.idle.append(replica)
            self._dispatch(now_s)

    def _kill(self, replica: int, now_s: float) -> None:
        """Its grace period is over: what it still runs is cut off and goes back to the head of the queue."""
        if self.fleet.phase[replica] is not LEAVING:
            return
        cut = sorted(entry for entry in self._finishes if entry[2] == replica)
        self._finishes[:] = [entry for entry in self._finishes if entry[2] != replica]
        heapify(self._finishes)
        self.fleet.remove(replica, now_s)
        self._busy_kills += 1
        for finish_s, job, _ in cut:
            self._lost_s += self.load.services_s[job] - (finish_s - now_s)
        self.redo.extendleft(sorted((job for _, job, _ in cut), reverse=True))
        self._dispatch(now_s)

    def _scale(self, target: int, now_s: float) -> None:
        self._scale_events += 1
        fleet, share = self.fleet, min(1.0, now_s / self.load.duration_s)
        if self.policy.drain.cordon and target > fleet.current:
            self._give_back(target - fleet.current, now_s)
        for _ in range(target - fleet.current):
            ready_s = now_s + max(SHORTEST_S, self.startup(self._rng, share))
            heappush(self._events, (ready_s, READY, fleet.add(now_s)))
        if target < fleet.current:
            fleet.hear(now_s)
            for replica in self._victims(fleet.current - target):
                fleet.leave(replica, now_s, waits=self.policy.drain.cordon)
                if self.policy.drain.cordon and fleet.phase[replica] is LEAVING:
                    self._cordoned.append(replica)
                elif fleet.phase[replica] is LEAVING and self.policy.drain.grace_s < inf:
                    heappush(self._events, (now_s + self.policy.drain.grace_s, DEADLINE, replica))

    def _give_back(self, count: int, now_s: float) -> None:
        """Cordoned replicas take jobs again: those that were cordoned last first."""
        for _ in range(min(count, len(self._cordoned))):
            self.fleet.give_back(self._cordoned.pop())
        self._dispatch(now_s)

    def _release(self, now_s: float) -> None:
        """Let the cordoned replicas go that are known to be idle: the idle say so when asked, others by heartbeat."""
        fleet = self.fleet
        fleet.hear(now_s)
        for replica in [one for one in self._cordoned if not (fleet.active[one] or fleet.heard[one])]:
            self._cordoned.remove(replica)
            fleet.remove(replica, now_s)

    def _victims(self, count: int) -> list[int]:
        """Those that still start first, then by the policy's way, then the youngest."""
        fleet, pick = self.fleet, self.policy.drain.pick
        staying = fleet.staying()
        if pick is Pick.RANDOM:
            self._rng.shuffle(staying)
            staying.sort(key=lambda replica: fleet.phase[replica])
        else:
            jobs = fleet.heard if pick is Pick.BY_HEARTBEAT else fleet.active
            staying.sort(key=lambda replica: (fleet.phase[replica], jobs[replica]))
        return staying[:count]

    def _note(self, now_s: float) -> None:
        fleet = self.fleet
        self._next_moment_s = now_s + self.load.duration_s / self.moments
        self._course.append(
            Moment(time_s=now_s, current=fleet.current, ready=fleet.ready, waiting=self.waiting),
        )

    def _outcome(self, end_s: float) -> Outcome:
        self.fleet.count_until(end_s)
        waits_s = self._waits_s
        unfinished = len(waits_s) - self._done
        if unfinished:
            for job in (*self.redo, *range(self.head, len(waits_s))):
                waits_s[job] = max(0.0, end_s - self.load.arrivals_s[job])
        return Outcome(
            waits_s=waits_s,
            replica_s=self.fleet.replica_s,
            end_s=end_s,
            scale_events=self._scale_events,
            pods_started=self.fleet.started,
            busy_kills=self._busy_kills,
            lost_s=self._lost_s,
            unfinished=unfinished,
            course=self._course,
        )
