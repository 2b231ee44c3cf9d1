"""Gives the jobs of a dead worker to a live one within seconds.

kombu restores an unacknowledged job only after the visibility timeout, which must outlast the longest job. Here every
worker holds a lease in the hash `workerpool:{namespace}:{pool}:holders`: field = its id, value = JSON
`{"expires": unix seconds, "tags": [delivery tags it holds]}`. A tag in the pool's `unacked_index` that no live
lease claims belongs to nobody and goes back to its queue:

- at once, when a lease that ran out names it, or when no other worker of the pool is alive at start;
- else after it has been seen unclaimed for as long as a lease lives. Its worker may have fetched it after it
  last wrote its lease, and the time of the fetch is another host's clock, so only our own clock counts here.

Times in leases are Redis's. The move is one script that removes the tag and puts the message into its next place, so
of two workers that recover the same tag one moves it and the other finds nothing.

A job that loses its worker again and again goes to the dead letters: `messages.ending`.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from celery import bootsteps
from redis.exceptions import RedisError

from workerpool_worker.messages import wire
from workerpool_worker.messages.ending import Cause, Endings, Loss
from workerpool_worker.monitoring import outcomes
from workerpool_worker.parent.drain import held_tags

LEASE_S = 6.0
TICK_S = 2.0

_log = logging.getLogger("workerpool_worker.recovery")


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What one worker said it holds, and until when that counts (unix seconds of Redis's clock)."""

    expires: float
    tags: frozenset[str]

    def encode(self) -> str:
        """The hash value."""
        return json.dumps({"expires": self.expires, "tags": sorted(self.tags)})

    @classmethod
    def decode(cls, raw: bytes | str) -> Lease:
        """Read a hash value; one that cannot be read is a lease long expired that holds nothing."""
        try:
            data = json.loads(raw)
            return cls(expires=float(data["expires"]), tags=frozenset(map(str, data["tags"])))
        except (ValueError, KeyError, TypeError):
            return cls(expires=0.0, tags=frozenset())


@dataclass(frozen=True, kw_only=True)
class Orphans:
    """The decision: tags to restore now, tags to watch (with the time first seen), leases to remove."""

    restore: tuple[str, ...]
    watch: dict[str, float]
    expired: tuple[str, ...]


def find_orphans(
    *,
    me: str,
    leases: dict[str, Lease],
    indexed: Iterable[str],
    seen: dict[str, float],
    now_redis_s: float,
    now_s: float,
    starting: bool,
    stalled: bool = False,
) -> Orphans:
    """Which tags belong to nobody. Pure.

    Args:
        me: The id of the worker that asks.
        leases: All leases of the pool, the worker's own included.
        indexed: Every tag of the pool's index.
        seen: For tags found unclaimed before, when that was first (`now_s` of that time).
        now_redis_s: Redis's clock, unix seconds.
        now_s: This worker's own monotonic clock.
        starting: Whether this worker has fetched nothing yet.
        stalled: Whether it comes back from a time without Redis. Then the others may only be a moment behind: their
            leases have run out, but nobody is to be taken for dead on that.
    """
    live = {name for name, lease in leases.items() if lease.expires > now_redis_s or name == me}
    claimed = frozenset[str]().union(*(leases[name].tags for name in live if name in leases))
    abandoned = frozenset[str]().union(*(lease.tags for name, lease in leases.items() if name not in live))
    alone = starting and not live - {me}
    restore, watch = [], {}
    for tag in indexed:
        if tag in claimed:
            continue
        first = seen.get(tag, now_s)
        dead = (alone or tag in abandoned) and not stalled
        if dead or now_s - first >= LEASE_S:
            restore.append(tag)
        else:
            watch[tag] = first
    expired = () if stalled else tuple(sorted(leases.keys() - live))
    return Orphans(restore=tuple(restore), watch=watch, expired=expired)


@dataclass(kw_only=True)
class Recovery:
    """Keeps this worker's lease and restores what dead workers held. Two Redis round trips a tick when all is well."""

    holders_key: str
    held: Callable[[], frozenset[str]]
    qos: Any
    endings: Endings
    before: frozenset[str] = frozenset()
    stalled: bool = False
    worker_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    _seen: dict[str, float] = field(default_factory=dict)
    _ticked_s: float | None = None

    def tick(self, *, starting: bool = False) -> None:
        """Renew the lease, then restore what belongs to nobody."""
        mine = self.held()
        now_s = time.monotonic()
        stalled = self.stalled or (self._ticked_s is not None and now_s - self._ticked_s > LEASE_S / 2)
        self.stalled = False
        index_key = self.qos.unacked_index_key
        with self.qos.channel.conn_or_acquire() as client:
            seconds, micros = client.time()
            now = seconds + micros / 1e6
            pipe = client.pipeline(transaction=False)
            pipe.hset(self.holders_key, self.worker_id, Lease(expires=now + LEASE_S, tags=mine).encode())
            pipe.hgetall(self.holders_key)
            pipe.zrange(index_key, 0, -1)
            _, raw_leases, raw_tags = pipe.execute()
        found = find_orphans(
            me=self.worker_id,
            leases={_text(name): Lease.decode(raw) for name, raw in raw_leases.items()},
            # A tag fetched since `held()` was asked cannot be: this runs between two events of one loop.
            indexed=[_text(tag) for tag in raw_tags],
            seen=self._seen,
            now_redis_s=now,
            now_s=now_s,
            starting=starting,
            stalled=stalled,
        )
        self._ticked_s = time.monotonic()
        # What this worker itself held when it lost the connection: its children were ended, and that is no job's fault.
        mine_before = self.before.intersection(map(_text, raw_tags)) - mine
        self.before = frozenset()
        self._seen = {tag: first for tag, first in found.watch.items() if tag not in mine_before}
        for tag in mine_before:
            self._restored(tag, counts=False)
        for tag in found.restore:
            if tag not in mine_before:
                self._restored(tag, counts=True)
        # Only now: had we died before the restore, the lease would still have told the next worker what to do.
        if found.expired:
            with self.qos.channel.conn_or_acquire() as client:
                client.hdel(self.holders_key, *found.expired)

    def _restored(self, tag: str, *, counts: bool) -> None:
        """Restore one; a message that cannot be must not keep the others from it."""
        try:
            self._restore(tag, counts=counts)
        except (RedisError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it
            _log.exception("a held message cannot be restored")
            self.endings.bury_unreadable(tag, self._raw(tag), f"it cannot be restored: {error!r}", queue="unknown")

    def _raw(self, tag: str) -> bytes:
        with self.qos.channel.conn_or_acquire() as client:
            return bytes(client.hget(self.qos.unacked_key, tag) or b"")

    def _restore(self, tag: str, *, counts: bool) -> None:
        payload = self._read(tag)
        if payload is None:
            return
        cause = Cause(error="WorkerLost", text="the worker died while it had the job")
        if not counts:
            again = self.endings.give_back(payload)
        else:
            loss = self.endings.lost(payload, cause)
            again = loss is Loss.AGAIN
            outcomes.orphan_found(payload["headers"], wire.queue_of(payload), loss.value)
        if again:
            fields = {"tag": tag, "job_id": payload["headers"].get("id")}
            _log.warning("restored a job whose worker is gone", extra={"fields": fields})

    def _read(self, tag: str) -> wire.Payload | None:
        """The message of a tag that nobody claims; None where it is gone, or none, which buries it."""
        with self.qos.channel.conn_or_acquire() as client:
            raw = client.hget(self.qos.unacked_key, tag)
            if raw is None:
                # An index entry without a message: a worker was killed between kombu's two commands.
                client.zrem(self.qos.unacked_index_key, tag)
                return None
        queue = "unknown"
        try:
            payload, exchange, routing_key = json.loads(raw)
            queue = self.qos.channel.queue_of(exchange, routing_key)
            payload["properties"].setdefault("delivery_info", {})["queue"] = queue
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self.endings.bury_unreadable(tag, raw, f"a held message cannot be read: {error}", queue=queue)
            return None
        if not isinstance(payload.get("headers"), dict):
            text = "it is JSON, but no message of Celery's"
            self.endings.bury_unreadable(tag, json.dumps(payload), text, queue=queue)
            return None
        return dict(payload)

    def release(self) -> None:
        """Drop the lease at a graceful stop, when nothing is held any more."""
        with self.qos.channel.conn_or_acquire() as client:
            client.hdel(self.holders_key, self.worker_id)


class RecoveryStep(bootsteps.StartStopStep):
    """Runs the recovery from the consumer's event loop. Set `holders_key` on the app to turn it on."""

    requires = ("workerpool_worker.parent.fetch:FetchStep",)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        self.holders_key: str | None = getattr(c.app, "workerpool_holders_key", None)
        self.enabled = self.holders_key is not None
        self._id = uuid.uuid4().hex
        self._recovery: Recovery | None = None
        self._started = False
        self._before: frozenset[str] = frozenset()
        self._timer: Any = None

    def start(self, c: Any) -> None:
        """Take the lease and recover before the first job is fetched; again after every reconnect."""
        if self.holders_key is None:
            return
        qos = c.task_consumer.channel.qos
        self._recovery = Recovery(
            holders_key=self.holders_key,
            held=lambda: held_tags(qos),
            qos=qos,
            endings=c.task_consumer.channel.endings,
            before=self._before,
            stalled=self._started,
            worker_id=self._id,
        )
        self._started = True
        self._guarded(self._recovery.tick, starting=True)
        self._timer = c.timer.call_repeatedly(TICK_S, self._guarded, (self._recovery.tick,))

    def stop(self, c: Any) -> None:
        """Stop renewing; the lease stays until the channel has given back what it held."""
        if self._timer is not None:
            c.timer.cancel(self._timer)
            self._timer = None
        if self._recovery is not None:
            self._before = self._recovery.held()

    def shutdown(self, c: Any) -> None:
        """At the end of a graceful stop: what is left unacknowledged is restored by the channel's own close."""
        self.stop(c)
        if self._recovery is not None:
            self._guarded(self._recovery.release)
            self._recovery = None

    @staticmethod
    def _guarded(action: Callable[..., None], **kwargs: Any) -> None:
        # The consumer notices a lost connection itself; an error here must never end it.
        try:
            action(**kwargs)
        except Exception as error:  # noqa: BLE001  # pragma: no cover - depends on when Redis goes away
            _log.warning("recovery: %s: %s; next try in %g s", type(error).__name__, error, TICK_S)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
