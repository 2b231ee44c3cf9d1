"""Since when the waiting jobs wait: a few marks of how many had arrived by when."""

from __future__ import annotations

from typing import NamedTuple

MARKS = 24
"""A latency target is divided into so many parts; one mark is kept for each."""


class Mark(NamedTuple):
    """By ``time_s``, ``jobs`` had arrived, counted from an arbitrary beginning."""

    time_s: float
    jobs: float


class Ages(NamedTuple):
    """The ages of the jobs in a first-in first-out queue.

    ``begun`` counts the jobs taken from the queue since the same arbitrary beginning: a mark that stands above it tells
    how many of the jobs that had arrived by then still wait.
    """

    begun: float = 0.0
    marks: tuple[Mark, ...] = ()

    def seen(self, ready: int, begun: float, now_s: float, target_s: float) -> Ages:
        """With ``ready`` jobs waiting now and ``begun`` more jobs taken since the last look."""
        total = self.begun + begun
        if not ready:
            return Ages(total)
        marks = self.marks
        if not marks or now_s - marks[-1].time_s >= target_s / MARKS or now_s < marks[-1].time_s:
            kept = [mark for mark in marks if mark.jobs > total and mark.time_s <= now_s]
            marks = (*kept, Mark(now_s, ready + total))
        return Ages(total, marks)

    def waiting(self, ready: int, oldest_s: float | None, now_s: float) -> list[tuple[float, float]]:
        """How many jobs have waited at least how long: pairs of a number and seconds, the longest wait first.

        The oldest is the first one, and all of them have waited 0 s. Where the age of the oldest is not known, the
        oldest mark tells how long it has been seen.
        """
        if not ready:
            return []
        still = [(mark.jobs - self.begun, now_s - mark.time_s) for mark in self.marks if mark.jobs > self.begun]
        if oldest_s is None:
            oldest_s = max([age_s for _, age_s in still], default=0.0)
        between = [(min(count, ready), age_s) for count, age_s in still if count > 1 and 0.0 < age_s < oldest_s]
        return [(1.0, oldest_s), *between, (float(ready), 0.0)]
