"""The delayed jobs of one queue: the sorted set in which the bundled worker keeps jobs whose time has not come.

The score is the time a job comes due (Unix seconds). Workers of the queue move a due job to its list. Where there are
none, nobody does, and it stays here past its time: it is demand then, as if it lay in the list.

An empty set costs one ``ZCARD`` a poll, another one also its first entry. What those leave open is asked once, in the
second round of the same reading: the soonest entries when something changed, and how many are past due where all of
those are. The messages lie in a hash beside the set and are not read. Stock Celery has neither.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from hiredis import ReplyError

from workerpool_operator.core.observation import Cause, Unavailable
from workerpool_operator.queues.celery.lists import Explain
from workerpool_operator.queues.replies import pack

DUE_LIMIT = 1024
"""How many of the soonest are known one by one."""
REFRESH_S = 10.0
"""The soonest are asked for again after so long, even where neither the size nor the first entry changed: one in the
middle may have been replaced by another."""

Question = tuple[bytes, Callable[[Any], None]]
"""A command, and what takes in its reply, whatever that is."""


class DelayedView(NamedTuple):
    """Jobs past due and the age of the oldest; jobs not due yet, and when the soonest of them come due."""

    ready: int = 0
    oldest_job_s: float | None = None
    scheduled: int = 0
    due_in_s: tuple[float, ...] = ()


class DelayedSet:
    """One sorted set and the memory of its soonest entries. ``width`` is how many commands a poll takes."""

    __slots__ = (
        "_asked_of", "_counted", "_first", "_first_s", "_limit", "_scores", "asked_s", "commands", "error", "key",
        "size", "width",
    )  # fmt: skip

    def __init__(self, key: str, *, limit: int = DUE_LIMIT) -> None:
        self.key = key
        self._limit = limit
        self.forget()

    def forget(self) -> None:
        """Forget everything: the set is empty."""
        self.error: Unavailable | None = None
        self.size = 0
        self.width = 1
        self.commands = pack("ZCARD", self.key)
        self.asked_s = -math.inf
        self._asked_of: tuple[int, list[bytes]] | None = None
        self._first: list[bytes] = []
        self._first_s: float | None = None
        self._scores: list[float] = []
        self._counted: int | None = None

    @property
    def blank(self) -> bool:
        """Whether there is nothing to be remembered: the set is empty."""
        return self.width == 1 and self.error is None

    def see(self, replies: list[Any], explain: Explain) -> None:
        """Take in the replies to :attr:`commands`, which may be others from the next poll on."""
        size, first = replies[0], replies[1] if len(replies) > 1 else None
        if error := self._error(size, first, explain):
            self.forget()
            self.error = error
            return
        if first is not None:
            # Between the two commands its only job may have gone to the list (read after this), or one have come.
            size = max(1, size) if first else 0
        if not size:
            self.forget()
            return
        if self.width == 1:
            self.width = 2
            self.commands += pack("ZRANGE", self.key, 0, 0, "WITHSCORES")
        self.error, self.size, self._counted = None, size, None
        if first:
            self._first, self._first_s = first, float(first[1])
            # Whatever came before the first entry is gone.
            known = self._scores[bisect_left(self._scores, self._first_s) :]
            self._scores = known if known and known[0] == self._first_s else [self._first_s, *known][: self._limit]
        if self._asked_of != (size, self._first):
            self._asked_of = None

    def questions(self, now_s: float, explain: Explain) -> list[Question]:
        """What has to be asked to know more; empty when all is known."""
        if not self.size or self.error is not None:
            return []
        stale = abs(now_s - self.asked_s) >= REFRESH_S
        if stale or self._asked_of is None:
            soonest = pack("ZRANGE", self.key, 0, self._limit - 1, "WITHSCORES")
            return [(soonest, partial(self._see_soonest, now_s, explain))]
        if self._counted is None and self._crowded(now_s):
            return [(pack("ZCOUNT", self.key, "-inf", repr(now_s)), partial(self._see_count, explain))]
        return []

    def view(self, now_s: float) -> DelayedView:
        """What the set says at this time. What nothing is known of yet counts as not due: the next poll tells."""
        due = bisect_right(self._scores, now_s)
        due_in_s = tuple([score_s - now_s for score_s in self._scores[due:] if score_s != math.inf])
        soonest_s = self._scores[0] if self._scores else math.inf
        if self._crowded(now_s):
            due = max(due, self._counted or 0)
        due = min(due, self.size)
        ready = due
        if self._first_s is not None and self._first_s <= now_s:
            # It may have left the set since, after its list was read: counted twice then for one poll, not missed.
            ready, soonest_s = max(1, due), min(soonest_s, self._first_s)
        return DelayedView(
            ready=ready,
            oldest_job_s=now_s - soonest_s if ready and math.isfinite(soonest_s) else None,
            scheduled=self.size - due,
            due_in_s=due_in_s[: self.size - due],
        )

    def _crowded(self, now_s: float) -> bool:
        """Whether all that is known one by one is past due, and there are more."""
        scores = self._scores
        return len(scores) >= self._limit and self.size > len(scores) and scores[-1] <= now_s

    def _see_soonest(self, now_s: float, explain: Explain, entries: Any) -> None:
        scores = _scores(entries)
        if scores is None:
            self.error = self._explained(entries, "ZRANGE", explain)
            return
        if len(scores) < self._limit:
            self.size = len(scores)
        self._scores, self._first = scores, entries[:2]
        self._asked_of, self.asked_s = (self.size, self._first), now_s

    def _see_count(self, explain: Explain, count: Any) -> None:
        if isinstance(count, int):
            self._counted = count
        else:
            self.error = self._explained(count, "ZCOUNT", explain)

    def _error(self, size: Any, first: Any, explain: Explain) -> Unavailable | None:
        if not isinstance(size, int):
            return self._explained(size, "ZCARD", explain)
        if first is not None and _scores(first) is None:
            return self._explained(first, "ZRANGE", explain)
        return None

    def _explained(self, reply: Any, command: str, explain: Explain) -> Unavailable:
        if isinstance(reply, ReplyError):
            return explain(reply, command, self.key, "sorted set")
        return Unavailable(cause=Cause.BAD_REPLY, message=f"the size of {self.key} is not a number")


def _scores(entries: Any) -> list[float] | None:
    """The scores of a reply of entries with scores, None where it is none."""
    if not isinstance(entries, list) or len(entries) % 2:
        return None
    try:
        scores = [float(score) for score in entries[1::2]]
    except (ValueError, TypeError):
        return None
    return None if any(map(math.isnan, scores)) else scores
