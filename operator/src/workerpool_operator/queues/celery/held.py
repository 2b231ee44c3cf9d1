"""The fetched and not yet acknowledged jobs under one pair of keys, a hash and its index.

Each poll asks ``HLEN`` and the oldest tags of the index. The messages of tags not seen before are fetched once, in a
bounded second round trip of the same reading: on the keys that all pools of a database share, a job that left its list
and whose queue is not known yet would otherwise be missing from every pool for one poll, and a pool might be put to
sleep on top of it. A reading that finds nothing new stays one round trip.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from hiredis import ReplyError

from workerpool_operator.core.observation import Cause, Unavailable
from workerpool_operator.queues.celery.lists import Explain
from workerpool_operator.queues.celery.message import Message, parse_held
from workerpool_operator.queues.celery.routes import Routes
from workerpool_operator.queues.replies import pack

TAG_LIMIT = 1000
"""How many tags are known one by one; what is beyond them is taken to be like them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldView:
    """Jobs held: ``held`` whose time has come, ``scheduled`` whose time has not, ``vanished`` since the last poll."""

    held: int = 0
    scheduled: int = 0
    due_in_s: tuple[float, ...] = ()
    vanished: int = 0


_NOTHING = HeldView()


class HeldKeys:
    """A hash of held messages and its index, with a bounded memory of what each tag is.

    ``idle`` says that nothing is held and nothing vanished.
    """

    __slots__ = ("_gone", "_known", "_tag_limit", "_tags", "commands", "error", "hash_key", "idle", "index_key", "size")

    def __init__(self, hash_key: str, index_key: str, *, tag_limit: int = TAG_LIMIT) -> None:
        self.hash_key = hash_key
        self.index_key = index_key
        self.commands = pack("HLEN", hash_key) + pack("ZRANGE", index_key, 0, tag_limit - 1)
        self.idle = True
        self.error: Unavailable | None = None
        self.size = 0
        self._tag_limit = tag_limit
        self._tags: list[bytes] = []
        self._known: dict[bytes, Message | None] = {}
        self._gone: list[Message | None] = []

    def see(self, size: Any, tags: Any, explain: Explain) -> None:
        """Take in both replies."""
        if size == 0 and tags == [] and not self._known:
            self.idle, self.error, self.size, self._tags, self._gone = True, None, 0, tags, []
            return
        self.idle = False
        self.error = self._error(size, tags, explain)
        if self.error is not None:
            return
        self.size, self._tags = size, tags
        present = set(tags)
        gone = [tag for tag in self._known if tag not in present]
        # With more held than are known one by one, a tag may also drop out of sight: that is not the end of its job.
        whole = size <= self._tag_limit
        self._gone = [message for tag in gone if (message := self._known.pop(tag)) is not None and whole]

    def question(self) -> tuple[bytes, list[bytes]] | None:
        """The HMGET for the tags not known yet, and those tags; None when all are known."""
        unknown = [tag for tag in self._tags if tag not in self._known] if self.error is None else []
        return (pack("HMGET", self.hash_key, *unknown), unknown) if unknown else None

    def answer(self, tags: list[bytes], values: Any) -> None:
        """Take in the reply to :meth:`question`; a tag acknowledged meanwhile will be gone from the index as well."""
        if not isinstance(values, list):
            # Refused, or of another type meanwhile: the first numbers stand, only less finely split.
            return
        for tag, value in zip(tags, values, strict=True):
            self._known[tag] = None if value is None else parse_held(value)

    @property
    def messages(self) -> Collection[Message | None]:
        """The messages known, None for what is no Celery message."""
        return self._known.values()

    def own(self, now_s: float) -> HeldView:
        """All of them: these keys belong to one pool. What is not known yet counts as held, which wakes a worker."""
        if self.idle:
            return _NOTHING
        messages = self._known.values()
        due_in_s = _due_in_s(messages, now_s)
        known = len(self._known)
        unseen = max(0, self.size - len(self._tags))
        scheduled = len(due_in_s) + (math.floor(unseen * len(due_in_s) / known) if known else 0)
        return HeldView(
            held=max(0, self.size - scheduled),
            scheduled=scheduled,
            due_in_s=due_in_s,
            vanished=sum(message is not None and message.is_due(now_s) for message in self._gone),
        )

    def by_queue(self, now_s: float, queues: Collection[str], routes: Routes) -> dict[str, HeldView]:
        """Split by queue: these keys are shared. Beyond the known tags every queue has the share it has of those."""
        if self.idle:
            return {}
        split: dict[str, list[Message]] = {}
        for message in self._known.values():
            if message is not None:
                split.setdefault(routes.queue(message, queues), []).append(message)
        vanished = Counter(
            routes.queue(message, queues) for message in self._gone if message is not None and message.is_due(now_s)
        )
        known = len(self._known)
        factor = max(1.0, self.size / known) if known else 1.0
        return {queue: _view(split.get(queue, []), vanished[queue], factor, now_s) for queue in {*split, *vanished}}

    def _error(self, size: Any, tags: Any, explain: Explain) -> Unavailable | None:
        asked = ((size, "HLEN", self.hash_key, "hash"), (tags, "ZRANGE", self.index_key, "sorted set"))
        for reply, command, key, type_ in asked:
            if isinstance(reply, ReplyError):
                return explain(reply, command, key, type_)
        if not isinstance(size, int) or not isinstance(tags, list):
            return Unavailable(cause=Cause.BAD_REPLY, message=f"the size of {self.hash_key} is not a number")
        return None


def _due_in_s(messages: Collection[Message | None], now_s: float) -> tuple[float, ...]:
    times = (message.eta_s for message in messages if message is not None and message.eta_s is not None)
    return tuple(sorted(eta_s - now_s for eta_s in times if eta_s > now_s))


def _view(messages: list[Message], vanished: int, factor: float, now_s: float) -> HeldView:
    due_in_s = _due_in_s(messages, now_s)
    return HeldView(
        held=math.ceil((len(messages) - len(due_in_s)) * factor),
        scheduled=math.floor(len(due_in_s) * factor),
        due_in_s=due_in_s,
        vanished=vanished,
    )
