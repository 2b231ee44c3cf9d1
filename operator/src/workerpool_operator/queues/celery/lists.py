"""The priority lists of a queue, and what is remembered of each list's next job.

Each poll asks ``LLEN`` and ``LINDEX -1`` (the tail is next) of every list. What they do not tell costs one bounded
``LRANGE`` when it changed: how many of the jobs at the tail are not due yet (a worker that stopped put them back).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hiredis import ReplyError

from workerpool_operator.core.observation import Unavailable
from workerpool_operator.queues.celery.message import LARGE_BYTES, Message, parse_listed
from workerpool_operator.queues.replies import pack

PRIORITY_SEPARATOR = "\x06\x16"
LARGE_TAIL_POLLS = 10
"""A large message at the tail is fetched again at every tenth poll only: Redis needs 18 ms to send 6.7 MB."""
WINDOW_JOBS = 1024
WINDOW_JOBS_MIN = 64
WINDOW_BYTES = 1 << 20
"""How many jobs at the tail are looked at for their time: as many as fit, by the size of the next one."""

Explain = Callable[[ReplyError, str, str, str], Unavailable]
"""``(reply, command, key, expected type)``: an error reply as a cause."""


class ListView(NamedTuple):
    """What one list says: jobs a worker would start, the age of the oldest of them, when the others come due."""

    ready: int
    oldest_job_s: float | None
    due_in_s: tuple[float, ...]


class PriorityList:
    """One list and the memory of its tail."""

    __slots__ = ("_digest", "_etas", "_next", "_seen_since_s", "_skip", "_tail_bytes", "_window_of", "key", "length")

    def __init__(self, key: str) -> None:
        self.key = key
        self.forget()

    def forget(self) -> None:
        """Forget everything: the list is empty."""
        self.length = 0
        self._digest: int | None = None
        self._next: Message | None = None
        self._seen_since_s = 0.0
        self._skip = 0
        self._tail_bytes = 0
        self._window_of: tuple[int, int | None] | None = None
        self._etas: tuple[Message | None, ...] = ()

    @property
    def commands(self) -> bytes:
        """Its two commands; the second asks for nothing new while a large tail is not to be fetched."""
        length = pack("LLEN", self.key)
        return length + (length if self._skip else pack("LINDEX", self.key, -1))

    def see(self, length: int, tail: bytes | int | None, now_s: float) -> bool:
        """Take in both replies; says whether :attr:`commands` changed by it."""
        skipped = self._skip > 0
        if length == 0 or tail is None:
            self.forget()
            return skipped
        self.length = length
        if isinstance(tail, int):
            self._skip -= 1
            return self._skip == 0
        self._see_tail(tail, now_s)
        return self._skip > 0

    def _see_tail(self, tail: bytes, now_s: float) -> None:
        self._tail_bytes = len(tail)
        self._skip = LARGE_TAIL_POLLS - 1 if self._tail_bytes > LARGE_BYTES else 0
        digest = hash(tail)
        if digest == self._digest:
            return
        before, self._next = self._next, parse_listed(tail)
        # A job that was taken and given back is another text, but the same job.
        same = before is not None and before.id is not None and self._next is not None and before.id == self._next.id
        if not same:
            self._seen_since_s = now_s
        if self._digest is None or not same:
            self._etas = (self._next,)
        self._digest = digest

    def question(self, now_s: float) -> bytes | None:
        """The LRANGE that is needed to know how many jobs are not due, None when nothing new has to be known."""
        if self._next is None or self._next.is_due(now_s) or self.length == 1:
            return None
        if self._window_of == (self.length, self._digest) or self._skip:
            return None
        return pack("LRANGE", self.key, -self.window, -1)

    @property
    def window(self) -> int:
        """How many jobs at the tail are looked at."""
        fitting = WINDOW_BYTES // max(1, self._tail_bytes)
        return min(self.length, WINDOW_JOBS, max(WINDOW_JOBS_MIN, fitting))

    def answer(self, values: list[bytes]) -> None:
        """Take in the reply to :meth:`question`."""
        self._window_of = (self.length, self._digest)
        self._etas = tuple(parse_listed(value) for value in values)

    def view(self, now_s: float) -> ListView:
        """What the list says at this time."""
        if self._next is None:
            return ListView(ready=self.length, oldest_job_s=None, due_in_s=())
        if self._next.is_due(now_s):
            age_s = self._next.age_s(now_s, seen_since_s=self._seen_since_s)
            return ListView(ready=self.length, oldest_job_s=age_s, due_in_s=())
        known = [message for message in self._etas if message is not None]
        due_in_s = sorted(message.eta_s - now_s for message in known if message.eta_s and message.eta_s > now_s)
        ages = [m.age_s(now_s, seen_since_s=now_s) for m in known if m.is_due(now_s) and m.enqueued_at_s is not None]
        ready = max(0, self.length - len(due_in_s))
        return ListView(ready=ready, oldest_job_s=max(ages, default=None), due_in_s=tuple(due_in_s))
