"""The replicas of a simulated pool: which there are, what they hold, and what their heartbeats have told so far.

Nothing here keeps an object a replica: one is a number, and what is known of it lies in lists at that place. Heartbeats
cost nothing while nothing changes. A change is told by the replica's next heartbeat, as it is then: see :meth:`hear`.
"""

from __future__ import annotations

import enum
from collections import deque
from math import inf

from workerpool_operator.core.observation import JobSeconds

HEARTBEAT_S = 2.0
"""Celery's default: ``worker.heartbeat`` is sent every 2 seconds (celery/worker/heartbeat.py, ``interval or 2.0``)."""

SETTLED_S = 3 * HEARTBEAT_S
"""So long after the first look everybody was heard who was there, as in ``queues/inflight.py``: others are younger."""

Ran = tuple[int, float, float]
"""Jobs that ended, their seconds, their squared seconds."""


class Phase(enum.IntEnum):
    """Where a replica is in its life."""

    STARTING = 0
    SERVING = 1
    LEAVING = 2
    """It finishes what it runs and takes nothing more."""
    GONE = 3


STARTING, SERVING, LEAVING, GONE = Phase
NOTHING: Ran = 0, 0.0, 0.0


class Fleet:
    """All replicas that ever were. Methods are told the time; times never go back."""

    def __init__(self, slots: int) -> None:
        """No replica; each will run ``slots`` jobs at a time."""
        self.slots = slots
        self.phase: list[Phase] = []
        self.active: list[int] = []
        self.born_s: list[float] = []
        self.ready_s: list[float] = []
        self.processed: list[int] = []
        self.idle: deque[int] = deque()
        """Replicas with a free slot, the one that waits longest first: Redis serves blocked clients in that order."""
        self.current = self.ready = self.leaving = self.held = 0
        """Size asked for; those of it that serve; those that leave; jobs held by all of them."""
        self.heard: list[int] = []
        self.heard_active = self.heard_leaving = self.heard_busy = 0
        """Jobs of staying and of leaving replicas, and busy staying replicas, by their last heartbeats."""
        self.heard_started: int | None = None
        """Jobs started, by the heartbeats that were listened to; None before the first. What a replica had started by
        then is not among them where it may be older than the one who listens."""
        self.finished: JobSeconds | None = None
        """How long jobs ran, by the same heartbeats."""
        self.replica_s = 0.0
        self._counted_s = 0.0
        self._heard_processed: list[int] = []
        self._next_beat_s: list[float] = []
        self._changed: list[int] = []
        self._is_changed: list[bool] = []
        self._listened: list[int] = []
        self._new: list[int] = []
        self._told_of: list[int] = []
        self._first_look_s: float | None = None
        self._settled = False
        self._ended: list[int] = []
        self._ran_s: list[float] = []
        self._ran_squared: list[float] = []
        self._heard_ran: list[Ran] = []
        self._listened_ran: list[Ran] = []

    @property
    def started(self) -> int:
        """How many replicas there ever were."""
        return len(self.phase)

    def count_until(self, now_s: float) -> None:
        """Add up replica-seconds: every replica costs from when it is asked for until it is gone."""
        self.replica_s += (self.current + self.leaving) * (now_s - self._counted_s)
        self._counted_s = now_s

    def add(self, now_s: float) -> int:
        """One more replica, starting."""
        self.count_until(now_s)
        self.current += 1
        for column in (self.active, self.processed, self.heard, self._heard_processed, self._listened, self._ended):
            column.append(0)
        for sums in (self._ran_s, self._ran_squared):
            sums.append(0.0)
        for ran in (self._heard_ran, self._listened_ran):
            ran.append(NOTHING)
        self.phase.append(STARTING)
        self.born_s.append(now_s)
        self.ready_s.append(inf)
        self._next_beat_s.append(inf)
        self._is_changed.append(False)
        return len(self.phase) - 1

    def serve(self, replica: int, now_s: float) -> None:
        """It has started, and says so."""
        self.phase[replica] = SERVING
        self.ready_s[replica] = now_s
        self.ready += 1
        self._new.append(replica)

    def begin(self, replica: int, now_s: float) -> None:
        """It takes a job."""
        self._change(replica, now_s)
        self.active[replica] += 1
        self.processed[replica] += 1
        self.held += 1

    def end(self, replica: int, now_s: float, ran_s: float) -> None:
        """A job of it is done, which ran so long."""
        self._change(replica, now_s)
        self._ended[replica] += 1
        self._ran_s[replica] += ran_s
        self._ran_squared[replica] += ran_s * ran_s
        self.active[replica] -= 1
        self.held -= 1

    def leave(self, replica: int, now_s: float, *, waits: bool = False) -> None:
        """It is to go: at once when it holds no job, else when it has finished what it holds.

        One that ``waits`` takes nothing more, and stays until it is removed.
        """
        if self.phase[replica] is SERVING and (waits or self.active[replica]):
            self.phase[replica] = LEAVING
            self.current, self.ready, self.leaving = self.current - 1, self.ready - 1, self.leaving + 1
            heard = self.heard[replica]
            self.heard_active, self.heard_leaving = self.heard_active - heard, self.heard_leaving + heard
            self.heard_busy -= heard > 0
        else:
            self.remove(replica, now_s)

    def give_back(self, replica: int) -> None:
        """One that was leaving stays and takes jobs again."""
        self.phase[replica] = SERVING
        self.current, self.ready, self.leaving = self.current + 1, self.ready + 1, self.leaving - 1
        heard = self.heard[replica]
        self.heard_active, self.heard_leaving = self.heard_active + heard, self.heard_leaving - heard
        self.heard_busy += heard > 0
        if self.active[replica] < self.slots:
            self.idle.append(replica)

    def remove(self, replica: int, now_s: float) -> None:
        """It is gone; what it held is its owner's business. Its last heartbeats may never be sent."""
        self.count_until(now_s)
        if self.phase[replica] is LEAVING:
            self.leaving -= 1
            self.heard_leaving -= self.heard[replica]
        else:
            self.current -= 1
            self.ready -= self.phase[replica] is SERVING
            self.heard_active -= self.heard[replica]
            self.heard_busy -= self.heard[replica] > 0
        self.held -= self.active[replica]
        self.active[replica] = 0
        self.phase[replica] = GONE

    def hear(self, now_s: float) -> None:
        """Take in the heartbeats sent until now."""
        waiting = []
        for replica in self._changed:
            if self.phase[replica] is GONE:
                continue
            if self._next_beat_s[replica] <= now_s:
                self._is_changed[replica] = False
                self._told(replica)
            else:
                waiting.append(replica)
        self._changed = waiting
        self._listen(now_s)

    def _listen(self, now_s: float) -> None:
        """Add up what was told since the last look."""
        for replica in self._new:
            if self.phase[replica] is not GONE and self.finished is None:
                self.heard_started, self.finished = 0, JobSeconds(jobs=0, seconds=0.0, squared=0.0)
            if not self._settled:
                self._listened[replica] = self._heard_processed[replica]
                self._listened_ran[replica] = self._heard_ran[replica]
        started, ended = 0, 0
        seconds = squared = 0.0
        for replica in self._told_of:
            if self.phase[replica] is not GONE:
                started += self._heard_processed[replica] - self._listened[replica]
                now, before = self._heard_ran[replica], self._listened_ran[replica]
                ended, seconds, squared = (
                    ended + now[0] - before[0],
                    seconds + now[1] - before[1],
                    squared + now[2] - before[2],
                )
                self._listened[replica], self._listened_ran[replica] = self._heard_processed[replica], now
        self._new, self._told_of = [], []
        if self.heard_started is not None and started:
            self.heard_started += started
        if self.finished is not None and ended:
            self.finished = JobSeconds(
                jobs=self.finished.jobs + ended,
                seconds=self.finished.seconds + seconds,
                squared=self.finished.squared + squared,
            )
        if self._first_look_s is None:
            self._first_look_s = now_s
        self._settled = self._settled or now_s - self._first_look_s > SETTLED_S

    def staying(self) -> list[int]:
        """The replicas that are not going away, the youngest first."""
        found: list[int] = []
        replica = len(self.phase)
        while len(found) < self.current:
            replica -= 1
            if self.phase[replica] <= SERVING:
                found.append(replica)
        return found

    def _change(self, replica: int, now_s: float) -> None:
        """Before a change: a heartbeat that came since the last one has told how it was until now."""
        if self._next_beat_s[replica] <= now_s:
            self._told(replica)
        if self._next_beat_s[replica] == inf:
            since_s = self.ready_s[replica]
            beats = (now_s - since_s) // HEARTBEAT_S + 1
            self._next_beat_s[replica] = since_s + beats * HEARTBEAT_S
            if not self._is_changed[replica]:
                self._is_changed[replica] = True
                self._changed.append(replica)

    def _told(self, replica: int) -> None:
        self._next_beat_s[replica] = inf
        active, before = self.active[replica], self.heard[replica]
        self.heard[replica] = active
        if self.phase[replica] is LEAVING:
            self.heard_leaving += active - before
        else:
            self.heard_active += active - before
            self.heard_busy += (active > 0) - (before > 0)
        self._heard_processed[replica] = self.processed[replica]
        self._heard_ran[replica] = self._ended[replica], self._ran_s[replica], self._ran_squared[replica]
        self._told_of.append(replica)
