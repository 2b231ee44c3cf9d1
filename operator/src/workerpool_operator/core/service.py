"""How long a job runs: mean and spread, sensible before anything was measured, quick when jobs change."""

from __future__ import annotations

import math
from typing import NamedTuple

from workerpool_operator.core.observation import JobSeconds

FIRST_JOB_S = 1.0
"""What a job is taken to run before one was measured. It weighs as much as a single measured job."""

FIRST_VARIATION, FIRST_VARIATION_JOBS = 1.0, 10.0
"""The squared coefficient of variation that is assumed, that of an exponential distribution, and its weight in jobs."""

VARIATION_MAX = 25.0
"""Heavy tails have no variance to be measured: beyond this it is not believed."""

MEMORY_S, MEMORY_JOBS, MEMORY_MAX_S = 300.0, 60.0, 7 * 86_400.0
"""Measurements are forgotten over this time, or over so many jobs where that takes longer."""

QUICK_S, QUICK_JOBS_MIN = 20.0, 5.0
"""A second, quick memory, which is believed when it is sure that jobs have become longer."""

LAG_STEP_S, LAG_STEPS = 1.0, 4
"""Slot-seconds count once the heartbeats about them must have been heard: two of Celery's, in steps of a second."""


class Finished(NamedTuple):
    """Jobs that ended: how many, and the sums of their seconds and of the squares of these."""

    jobs: float = 0.0
    seconds: float = 0.0
    squared: float = 0.0

    @classmethod
    def of(cls, told: JobSeconds | None) -> Finished:
        """What the workers told so far; nothing where they do not tell."""
        return cls() if told is None else cls(float(told.jobs), told.seconds, told.squared)

    def since(self, before: Finished) -> Finished:
        """What came after ``before``; sums that shrank begin anew and count nothing."""
        if self.jobs < before.jobs or self.seconds < before.seconds or self.squared < before.squared:
            return Finished()
        return Finished(self.jobs - before.jobs, self.seconds - before.seconds, self.squared - before.squared)


class Worked(NamedTuple):
    """What was done since the last look.

    ``slot_s`` are the seconds of all busy slots together, ``ended`` the jobs that ended in them as far as counted from
    outside, ``told`` what the workers themselves told, ``running`` the jobs that run now.
    """

    elapsed_s: float
    slot_s: float
    ended: float
    told: Finished
    running: int


class Service(NamedTuple):
    """Decayed sums of what was worked.

    ``slot_s``, ``jobs`` and ``watched_s`` are the slot-seconds, jobs and seconds seen from outside; ``lagging`` the
    latest parts of ``slot_s``. ``told`` are the finished jobs that the workers told of, ``quick`` the same with the
    quick memory. ``lasting_sum`` and ``lasting_weight`` make a mean over time, which a rush of jobs that have only
    just begun cannot push down.
    """

    slot_s: float = 0.0
    jobs: float = 0.0
    watched_s: float = 0.0
    lagging: tuple[float, ...] = (0.0,) * LAG_STEPS
    lag_step_s: float = 0.0
    running: int = 0
    told: Finished = Finished()
    quick: Finished = Finished()
    lasting_sum: float = 0.0
    lasting_weight: float = 0.0

    @property
    def is_measured(self) -> bool:
        """Whether a job was seen to end."""
        return self.jobs >= 1.0

    @property
    def certainty(self) -> float:
        """Relative standard deviation of the mean: that of as many jobs as were measured, the assumed one included."""
        return math.sqrt(self.variation / (self.jobs + 1.0))

    @property
    def variation(self) -> float:
        """Squared coefficient of variation of the seconds a job."""
        told = self.told
        if told.jobs <= 0.0 or told.seconds <= 0.0:
            return FIRST_VARIATION
        measured = max(0.0, told.jobs * told.squared / told.seconds**2 - 1.0)
        share = told.jobs / (told.jobs + FIRST_VARIATION_JOBS)
        return min(VARIATION_MAX, share * measured + (1.0 - share) * FIRST_VARIATION)

    @property
    def job_s(self) -> float:
        """Mean seconds a job.

        The larger of what the last minutes and what the last jobs say: too long costs little, too short makes jobs
        late. When the quick memory is sure of more (by two standard deviations), that.
        """
        lasting = self.lasting_sum / self.lasting_weight if self.lasting_weight > 0.0 else 0.0
        mean = max(self.recent_s, lasting)
        if self.quick.jobs > QUICK_JOBS_MIN:
            quick = self.quick.seconds / self.quick.jobs
            if quick * (1.0 - 2.0 * math.sqrt(self.variation / self.quick.jobs)) > mean:
                return quick
        return mean

    @property
    def recent_s(self) -> float:
        """Mean seconds of the last jobs: the larger of two estimates.

        From outside: slot-seconds / jobs ended, the maximum likelihood estimate of a mean when some jobs still run
        (they add to the seconds and not to the number), so it grows while a first long job goes on. From the workers:
        the mean of the finished, with those that still run counted as ``1 + variation`` times as long, as a job met at
        a random moment is (the inspection paradox; Kleinrock, *Queueing Systems* I, 5.2).
        """
        outside = (self.slot_s - sum(self.lagging) + FIRST_JOB_S) / (self.jobs + 1.0)
        jobs = self.told.jobs
        if jobs <= 0.0:
            return outside
        unfinished = self.running / (self.running + jobs)
        return max(outside, (self.told.seconds + FIRST_JOB_S) / (jobs + 1.0) * (1.0 + self.variation * unfinished))

    def added(self, worked: Worked) -> Service:
        """With what was done since the last look."""
        elapsed_s, told = worked.elapsed_s, worked.told
        pace_s = MEMORY_JOBS * (self.watched_s + elapsed_s) / (self.jobs + 1.0)
        keep = math.exp(-elapsed_s / min(MEMORY_MAX_S, max(MEMORY_S, pace_s)))
        gain = -math.expm1(-elapsed_s / MEMORY_S) if self.is_measured else 0.0
        lagging, lag_step_s = self._lagging(worked)
        return Service(
            slot_s=self.slot_s * keep + worked.slot_s,
            jobs=max(0.0, self.jobs * keep + worked.ended),
            watched_s=self.watched_s * keep + elapsed_s,
            lagging=tuple([part * keep for part in lagging]),
            lag_step_s=lag_step_s,
            running=worked.running,
            told=_decayed(self.told, keep, told),
            quick=_decayed(self.quick, math.exp(-elapsed_s / QUICK_S), told),
            lasting_sum=self.lasting_sum + gain * (self.recent_s - self.lasting_sum),
            lasting_weight=self.lasting_weight + gain * (1.0 - self.lasting_weight),
        )

    def _lagging(self, worked: Worked) -> tuple[tuple[float, ...], float]:
        lag_step_s = self.lag_step_s + worked.elapsed_s
        if lag_step_s < LAG_STEP_S:
            return (*self.lagging[:-1], self.lagging[-1] + worked.slot_s), lag_step_s
        steps = int(lag_step_s / LAG_STEP_S)
        if steps >= LAG_STEPS:
            return (0.0,) * LAG_STEPS, 0.0
        return (*self.lagging[steps:], *((0.0,) * (steps - 1)), worked.slot_s), 0.0


def _decayed(before: Finished, keep: float, new: Finished) -> Finished:
    return Finished(
        before.jobs * keep + new.jobs, before.seconds * keep + new.seconds, before.squared * keep + new.squared
    )
