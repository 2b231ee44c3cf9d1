"""What to ask for a set of pools, packed once, and how the replies fall back to the pools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from workerpool_operator.core.observation import QueueDepth, Unavailable
from workerpool_operator.ports import PoolKey, PoolReading, QueueSource
from workerpool_operator.queues.celery.delayed import DUE_LIMIT, DelayedSet, Question
from workerpool_operator.queues.celery.held import HeldKeys, HeldView
from workerpool_operator.queues.celery.lists import Explain
from workerpool_operator.queues.celery.queue import QueueKeys
from workerpool_operator.queues.celery.routes import Routes

DELAYED_A_ROUND = 32 * DUE_LIMIT
"""How many delayed jobs one round asks about at most: about 2 MB, 15 ms."""
FORGET_S = 600.0
"""A pool that was not asked about for so long is forgotten: ten times the longest interval a pool may have."""
_EMPTY = QueueDepth(ready=0)
_IDLE: tuple[QueueDepth, int, tuple[float, ...]] = (_EMPTY, 0, ())
_NO_VIEW = HeldView()
SharedViews = dict[int, dict[str, HeldView] | Unavailable]
"""By the identity of the shared keys: their held jobs by queue, or why they are not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolPlan:
    """Where the parts of one pool are. ``resting`` is its reading while nothing waits, is delayed or is held."""

    key: PoolKey
    queues: tuple[QueueKeys, ...]
    own: HeldKeys
    shared: HeldKeys
    prefix: str
    resting: PoolReading

    def reading(self, now_s: float, shared: SharedViews) -> PoolReading:
        """Put the pool's reading together from what its parts saw."""
        none_held = self.own.idle and self.shared.idle
        if none_held and all(queue.idle for queue in self.queues):
            return self.resting
        depths: dict[str, QueueDepth | Unavailable] = {}
        due_in_s: list[float] = []
        waiting = 0
        for queue in self.queues:
            depths[queue.queue], scheduled, times = _IDLE if queue.idle else queue.depth(now_s)
            if scheduled:
                waiting += scheduled
                due_in_s.extend(times)
        if none_held:
            return PoolReading(queues=depths, held=0, scheduled=waiting, due_in_s=_soonest(due_in_s))
        views = self._views(now_s, shared)
        if isinstance(views, Unavailable):
            return PoolReading(queues=depths, held=views, scheduled=waiting, due_in_s=_soonest(due_in_s))
        for view in views:
            due_in_s.extend(view.due_in_s)
        return PoolReading(
            queues=depths,
            held=sum(view.held for view in views),
            scheduled=waiting + sum(view.scheduled for view in views),
            due_in_s=_soonest(due_in_s),
            vanished=sum(view.vanished for view in views),
        )

    def _views(self, now_s: float, shared: SharedViews) -> list[HeldView] | Unavailable:
        by_queue = shared[id(self.shared)]
        if self.own.error is not None:
            return self.own.error
        if isinstance(by_queue, Unavailable):
            return by_queue
        return [self.own.own(now_s), *(by_queue.get(queue.queue, _NO_VIEW) for queue in self.queues)]


class Parts:
    """The parts of all pools asked about lately, with their memory.

    Pools of one broker may be read at different times (their intervals differ, or one was just added), so what is
    remembered of a pool must outlive the readings it is not in.
    """

    def __init__(self) -> None:
        self.pools: dict[QueueSource, PoolPlan] = {}
        self.queues: dict[tuple[str, str, tuple[int, ...]], QueueKeys] = {}
        self.held: dict[str, HeldKeys] = {}
        self.shared: dict[str, HeldKeys] = {}
        self.routes: dict[str, Routes] = {}
        self._used_s: dict[QueueSource, float] = {}

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The key prefixes in use."""
        return tuple(self.shared)

    def pool(self, source: QueueSource) -> PoolPlan:
        """The parts of a pool, those it had before where it was asked about lately."""
        if source not in self.pools:
            self.pools[source] = self._made(source)
        return self.pools[source]

    def used(self, sources: Iterable[QueueSource], now_s: float) -> None:
        """Take note that these were asked about until now (monotonic seconds); forget those that were not for long."""
        self._used_s.update(dict.fromkeys(sources, now_s))
        gone = [source for source, used_s in self._used_s.items() if now_s - used_s > FORGET_S]
        if not gone:
            return
        for source in gone:
            self.pools.pop(source, None)
            del self._used_s[source]
        queues = {queue for pool in self.pools.values() for queue in pool.queues}
        held = {keys for pool in self.pools.values() for keys in (pool.own, pool.shared)}
        self.queues = {identity: queue for identity, queue in self.queues.items() if queue in queues}
        self.held = {key: keys for key, keys in self.held.items() if keys in held}
        self.shared = {prefix: keys for prefix, keys in self.shared.items() if keys in held}
        self.routes = {prefix: routes for prefix, routes in self.routes.items() if prefix in self.shared}

    def _made(self, source: QueueSource) -> PoolPlan:
        prefix = source.key_prefix
        shared = self.shared[prefix] = self._keys(f"{prefix}unacked")
        self.routes.setdefault(prefix, Routes(prefix))
        return PoolPlan(
            key=source.key,
            queues=tuple(self._queue(name, source) for name in dict.fromkeys(source.queues)),
            own=self._keys(f"{prefix}workerpool:{source.key.namespace}:{source.key.name}:unacked"),
            shared=shared,
            prefix=prefix,
            resting=PoolReading(queues=dict.fromkeys(source.queues, _EMPTY), held=0),
        )

    def _queue(self, name: str, source: QueueSource) -> QueueKeys:
        identity = (source.key_prefix, name, source.priorities)
        if identity not in self.queues:
            self.queues[identity] = QueueKeys(name, source.key_prefix, source.priorities)
        return self.queues[identity]

    def _keys(self, hash_key: str) -> HeldKeys:
        if hash_key not in self.held:
            self.held[hash_key] = HeldKeys(hash_key, f"{hash_key}_index")
        return self.held[hash_key]


class Plan:
    """The parts of the pools of one reading, in the order they are asked."""

    def __init__(self, sources: Sequence[QueueSource], parts: Parts) -> None:
        self.sources = tuple(sources)
        self.routes = parts.routes
        self.pools = tuple(parts.pool(source) for source in self.sources)
        self.queues = tuple(dict.fromkeys(queue for pool in self.pools for queue in pool.queues))
        self.shared = {pool.prefix: pool.shared for pool in self.pools}
        self.names = {queue.queue for queue in parts.queues.values()}
        # The shared keys come last, so that every list is read before them.
        self.held = tuple(dict.fromkeys((*(pool.own for pool in self.pools), *self.shared.values())))
        self.count = self._width()
        self._held_commands = b"".join(held.commands for held in self.held)
        self._packed = b""

    @property
    def commands(self) -> bytes:
        """All commands of a reading, packed; packed again only when a list asks for something else than before."""
        changed = [queue for queue in self.queues if queue.commands_changed]
        if changed or not self._packed:
            for queue in changed:
                queue.commands_changed = False
            self._packed = b"".join(queue.commands for queue in self.queues) + self._held_commands
            self.count = self._width()
        return self._packed

    def see(self, replies: list[Any], now_s: float, explain: Explain) -> None:
        """Give every part its replies."""
        at = 0
        for queue in self.queues:
            # What it says may change its width, from the next reading on.
            end = at + queue.width
            queue.see(replies[at:end], now_s, explain)
            at = end
        for held in self.held:
            held.see(replies[at], replies[at + 1], explain)
            at += 2

    def questions(self, now_s: float, explain: Explain) -> list[Question]:
        """What the replies so far leave open; empty when they say nothing new."""
        questions: list[Question] = []
        for held in self.held:
            if not held.idle and (asked := held.question()):
                command, tags = asked
                questions.append((command, partial(held.answer, tags)))
        for prefix, held in self.shared.items():
            if not held.idle:
                routes = self.routes[prefix]
                asked_for = routes.questions(held.messages, now_s)
                questions.extend((command, partial(routes.answer, exchange)) for exchange, command in asked_for)
        awake = [queue for queue in self.queues if not queue.idle]
        for queue in awake:
            questions.extend(queue.questions(now_s))
        questions.extend(_about_delayed((queue.delayed for queue in awake if queue.delayed.size), now_s, explain))
        return questions

    def _width(self) -> int:
        return sum(queue.width for queue in self.queues) + 2 * len(self.held)

    def readings(self, now_s: float) -> dict[PoolKey, PoolReading | Unavailable]:
        """Every pool's reading."""
        shared: SharedViews = {
            id(held): held.error or held.by_queue(now_s, self.names, self.routes[prefix])
            for prefix, held in self.shared.items()
        }
        return {pool.key: pool.reading(now_s, shared) for pool in self.pools}


def _about_delayed(sets: Iterable[DelayedSet], now_s: float, explain: Explain) -> Iterator[Question]:
    """As much as fits into one round. Those that waited longest come first: the others have their turn in the next."""
    entries = 0
    for one in sorted(sets, key=attrgetter("asked_s")):
        for question in one.questions(now_s, explain):
            yield question
            entries += min(one.size, DUE_LIMIT)
        if entries >= DELAYED_A_ROUND:
            return


def _soonest(due_in_s: list[float]) -> tuple[float, ...]:
    return tuple(sorted(due_in_s)[:DUE_LIMIT]) if due_in_s else ()
