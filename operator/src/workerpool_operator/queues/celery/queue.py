"""What waits in one queue: its delayed jobs and its priority lists.

The delayed set is read before the lists, so that a job on its way from the one to the other is counted twice for one
poll, not missed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from hiredis import ReplyError

from workerpool_operator.core.observation import Cause, QueueDepth, Unavailable
from workerpool_operator.queues.celery.delayed import DelayedSet, DelayedView, Question
from workerpool_operator.queues.celery.lists import PRIORITY_SEPARATOR, Explain, PriorityList

_NO_DELAYED = DelayedView()


def delayed_key(queue: str) -> str:
    """The bundled worker's name for a queue's delayed jobs."""
    return f"workerpool:delayed:{queue}"


class QueueKeys:
    """The delayed set and all priority lists of one queue. ``idle``: every one of them was empty at the last poll."""

    __slots__ = ("_empty", "_error", "commands", "commands_changed", "delayed", "idle", "lists", "queue", "width")

    def __init__(self, queue: str, key_prefix: str, priorities: tuple[int, ...]) -> None:
        self.queue = queue
        self.delayed = DelayedSet(f"{key_prefix}{delayed_key(queue)}")
        suffixes = [f"{PRIORITY_SEPARATOR}{step}" if step else "" for step in priorities or (0,)]
        self.lists = tuple(PriorityList(f"{key_prefix}{queue}{suffix}") for suffix in suffixes)
        self._empty = [0, *([0, None] * len(self.lists))]
        self._error: Unavailable | None = None
        self.idle = True
        self.commands = b""
        self._repack()
        self.commands_changed = False

    def see(self, replies: list[Any], now_s: float, explain: Explain) -> None:
        """Take in this queue's part of the replies."""
        if replies == self._empty:
            if not self.idle:
                self._rest()
            return
        self.idle, self._error = False, None
        delayed, width = self.delayed, self.delayed.width
        if not (delayed.blank and replies[0] == 0):
            delayed.see(replies[:width], explain)
        changed = width != delayed.width
        for index, one in enumerate(self.lists):
            length, tail = replies[width + 2 * index], replies[width + 2 * index + 1]
            if length == 0 and tail is None and not one.length:
                continue
            if error := self._unreadable(length, tail, one.key, explain):
                one.forget()
                self._error, changed = self._error or error, True
                continue
            changed |= one.see(length, tail, now_s)
        if changed:
            self._repack()

    def questions(self, now_s: float) -> list[Question]:
        """What is needed to know how many of the jobs in its lists are not due."""
        return [
            (command, partial(_answer, one)) for one in self.lists if one.length and (command := one.question(now_s))
        ]

    def depth(self, now_s: float) -> tuple[QueueDepth | Unavailable, int, tuple[float, ...]]:
        """The queue's depth; how many of its jobs are not due now, and in how many seconds the soonest of them are."""
        error = self._error or self.delayed.error
        if error is not None:
            return error, 0, ()
        ready, oldest_job_s, scheduled, due_in_s = _NO_DELAYED if self.delayed.blank else self.delayed.view(now_s)
        for one in self.lists:
            if not one.length:
                continue
            view = one.view(now_s)
            ready += view.ready
            scheduled += len(view.due_in_s)
            due_in_s += view.due_in_s
            if view.oldest_job_s is not None and (oldest_job_s is None or view.oldest_job_s > oldest_job_s):
                oldest_job_s = view.oldest_job_s
        return QueueDepth(ready=ready, oldest_job_s=oldest_job_s), scheduled, due_in_s

    def _rest(self) -> None:
        self.idle, self._error = True, None
        self.delayed.forget()
        for one in self.lists:
            one.forget()
        self._repack()

    def _repack(self) -> None:
        commands = self.delayed.commands + b"".join(one.commands for one in self.lists)
        self.width = self.delayed.width + 2 * len(self.lists)
        self.commands_changed = commands != self.commands
        self.commands = commands

    @staticmethod
    def _unreadable(length: Any, tail: Any, key: str, explain: Explain) -> Unavailable | None:
        for reply, command in ((length, "LLEN"), (tail, "LINDEX")):
            if isinstance(reply, ReplyError):
                return explain(reply, command, key, "list")
        if not isinstance(length, int) or not isinstance(tail, (bytes, int, type(None))):
            return Unavailable(cause=Cause.BAD_REPLY, message=f"the length of {key} is not a number")
        return None


def _answer(one: PriorityList, values: Any) -> None:
    # Refused, or of another type meanwhile: the first numbers stand, only less finely split.
    if isinstance(values, list):
        one.answer(values)
