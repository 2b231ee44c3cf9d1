"""One replica that takes no more jobs: what is known of it, and when it is idle for sure. Pure.

A heartbeat without a job is no proof by itself. It may have been made before the cordon took effect, or between two of
the jobs that the worker had fetched already. So the worker is asked: one that takes from no queue, and then says that
it has no job in hand, begun or about to begin, has nothing left that could make it busy. What it had fetched and does
not start while it is idle (jobs whose time has not come) goes back to the queue when it stops.

Of a worker that does not answer that question two heartbeats are proof, without a job and with the same count of
started jobs, the later one made after it had said that it takes from no queue: it ran nothing at the first, and started
nothing since.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from workerpool_operator.ports import WorkerBeat

FRESH_S = 6.0
"""A worker last heard of longer ago than this may be busy or not: three of Celery's heartbeats."""

SETTLE_S = 0.5
"""A heartbeat proves nothing until this long after the answer: a job on its way to a child is not counted as active."""

PROVEN_S = 3.0
"""For how long an answer is proof: a worker that makes its connection anew takes from all its queues again."""

_SAME_HEARTBEAT_S = 0.1
"""Several polls see one heartbeat, and measure its age anew."""

Queues = Mapping[str, frozenset[str]]
"""What each worker of a replica took jobs from, by its host name."""


class Stage(enum.StrEnum):
    """How far a cordon is."""

    CORDONED = "Cordoned"
    RETURNING = "Returning"
    """It was told to take jobs again, and has not said yet that it does."""
    RETURNED = "Returned"


@dataclass(slots=True)
class _Heard:
    processed: int
    active: int
    at_s: float
    calm: bool
    """Whether it had no job at this heartbeat and at the one before, and started none between them."""


@dataclass(kw_only=True, slots=True)
class Cordon:
    """A replica's cordon. Times are monotonic seconds.

    ``queues`` is what its workers took jobs from, to be given back; ``confirmed_s`` since when they say that they take
    from none, None before; ``told_s`` when its owner had them told something else than before.
    """

    queues: Queues
    stage: Stage = Stage.CORDONED
    confirmed_s: float | None = None
    told_s: float = float("-inf")
    _heard: dict[tuple[str, int], _Heard] = field(default_factory=dict)
    _jobless: dict[str, float] = field(default_factory=dict)
    """Workers that said they have no job in hand, and when."""

    def hear(self, beats: Iterable[WorkerBeat], now_s: float) -> None:
        """Take in its workers' last heartbeats."""
        for beat in beats:
            who, at_s = (beat.hostname, beat.pid), now_s - beat.age_s
            last = self._heard.get(who)
            if last is not None and at_s <= last.at_s + _SAME_HEARTBEAT_S:
                continue
            calm = last is not None and last.active == beat.active == 0 and last.processed == beat.processed
            self._heard[who] = _Heard(processed=beat.processed, active=beat.active, at_s=at_s, calm=calm)
            if beat.active:
                self._jobless.pop(beat.hostname, None)

    def said(self, active: Queues, now_s: float) -> Queues:
        """Take in what its workers say that they take jobs from; returns what has to be told to those that must change.

        A worker that made its connection anew, or was started anew, may take jobs again: then nothing is proven.
        """
        if self.stage is Stage.CORDONED:
            wrong = {worker: queues for worker, queues in active.items() if queues and worker in self.queues}
            self.queues = {worker: queues | wrong.get(worker, frozenset()) for worker, queues in self.queues.items()}
            if wrong:
                self._unproven()
            elif self.confirmed_s is None and active.keys() >= self.queues.keys():
                self.confirmed_s = now_s
            return wrong
        lacking = {
            worker: queues - active[worker]
            for worker, queues in self.queues.items()
            if worker in active and queues - active[worker]
        }
        if not lacking and active.keys() >= self.queues.keys():
            self.stage = Stage.RETURNED
        return lacking

    def again(self, queues: Queues, now_s: float) -> None:
        """Cordon it, for the first time or while it is being given back; ``queues`` is what it takes jobs from now."""
        self.queues = {worker: self.queues.get(worker, frozenset()) | queues[worker] for worker in queues}
        self.stage, self.told_s = Stage.CORDONED, now_s
        self._unproven()

    def give_back(self, now_s: float) -> None:
        """Have it take jobs again."""
        self.stage, self.told_s = Stage.RETURNING, now_s
        self._unproven()

    def has(self, jobs: Mapping[str, int], now_s: float) -> None:
        """Take in how many jobs its workers say that they have in hand, asked after they said that they take none."""
        if self.stage is Stage.CORDONED and self.confirmed_s is not None:
            self._jobless |= {worker: now_s for worker in self.queues if jobs.get(worker) == 0}

    def busy(self, now_s: float) -> bool:
        """Whether a worker of it has a job by its last heartbeat."""
        return any(one.active > 0 for _, one in self._living(now_s))

    def looks_idle(self, now_s: float) -> bool:
        """Whether no worker of it has a job by its last heartbeat: it is worth asking."""
        return (
            self.stage is Stage.CORDONED
            and self._fresh(now_s) >= self.queues.keys()
            and not any(one.active for _, one in self._living(now_s))
        )

    def idle(self, now_s: float) -> bool:
        """Whether all its workers are idle for sure."""
        confirmed_s = self.confirmed_s
        if self.stage is not Stage.CORDONED or confirmed_s is None:
            return False
        jobless = {worker for worker, at_s in self._jobless.items() if now_s - at_s <= PROVEN_S}
        return jobless | self._fresh(now_s) >= self.queues.keys() and all(
            worker in jobless or (one.calm and one.at_s >= confirmed_s + SETTLE_S and now_s - one.at_s <= FRESH_S)
            for worker, one in self._living(now_s)
        )

    def _unproven(self) -> None:
        self.confirmed_s = None
        self._jobless.clear()

    def _fresh(self, now_s: float) -> set[str]:
        return {worker for (worker, _), one in self._heard.items() if now_s - one.at_s <= FRESH_S}

    def _living(self, now_s: float) -> list[tuple[str, _Heard]]:
        """What was heard of its workers, without those that were followed by another process of the same name."""
        fresh = self._fresh(now_s)
        return [
            (worker, one)
            for (worker, _), one in self._heard.items()
            if now_s - one.at_s <= FRESH_S or worker not in fresh
        ]
