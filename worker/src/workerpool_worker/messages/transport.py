"""kombu's Redis transport, with four things changed.

- A message with an ETA in the future goes to the delayed set, not into a list from which a worker would fetch it to
  hold it in its memory.
- A message that is restored becomes a delivery of its own, with a tag of its own: the late acknowledgement of a worker
  that was taken for dead must not remove what another one holds now.
- One client a channel: kombu makes a new one for every command, which costs more than the command.
- A message that `fetch` has recorded as unacknowledged is not recorded again: one round trip less for each job.
"""

from __future__ import annotations

import logging
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from workerpool_worker.broker.channel import BrokerChannel, BrokerTransport
from workerpool_worker.messages import delayed, scripts, wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workerpool_worker.messages.ending import Endings
    from workerpool_worker.messages.settle import Settlement

_log = logging.getLogger("workerpool_worker.messages")

SOON_S = 0.01
"""What comes due within it is not worth the way through the delayed set."""


# KEYS: index, unacked. ARGV: tag.
ACK = """
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
"""


class PoolQoS(kombu_redis.QoS):
    """Which messages this channel holds."""

    channel: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._recorded: str | None = None

    @contextmanager
    def recorded(self, tag: str) -> Iterator[None]:
        """Within the block, this tag is in Redis already."""
        self._recorded = tag
        try:
            yield
        finally:
            self._recorded = None

    def append(self, message: Any, delivery_tag: str) -> None:
        """Hold a message, and record it as unacknowledged unless it is."""
        if delivery_tag == self._recorded:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget a message that is done, in one command.

        Where just this connection broke it is done again. Celery would log the error and forget the job, which this
        worker would then hold for as long as it lives.
        """
        try:
            with self.channel.conn_or_acquire() as client:
                scripts.run(client, ACK, [self.unacked_index_key, self.unacked_key], [delivery_tag])
        except RedisError as error:
            if self.channel.settlement is None:
                raise
            _log.warning("cannot acknowledge a job: %s; trying again", error)
            self.channel.settlement.later(lambda: self.ack(delivery_tag))
        else:
            virtual.QoS.ack(self, delivery_tag)

    def let_go(self, tag: str) -> None:
        """The message was moved: nothing is left to acknowledge."""
        virtual.QoS.ack(self, tag)


_Base: Any = BrokerChannel  # celery-types knows few of its methods


class Channel(_Base):  # type: ignore[misc]
    """A channel of a worker or producer. A consumer's has its settlement and endings, set when it starts."""

    QoS = PoolQoS
    settlement: Settlement | None = None
    endings: Endings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.ahead_s = 0.0  # how much Redis's clock is ahead of ours, as far as somebody has asked
        self._kept: Any = None
        super().__init__(*args, **kwargs)

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """A client; it takes its connection from the channel's pool for each command and gives it back.

        Raises:
            redis.exceptions.ConnectionError: the channel's connection was closed for good. kombu and Celery know what
                to do with that; a pool cannot be made any more, and the error of trying would end the worker.
        """
        if client is None and getattr(self.connection, "client", None) is None:
            raise RedisConnectionError("the connection is closed")
        if client is None and (self._kept is None or self._kept.connection_pool is not self._pool):
            # The pool is made anew after a connection was lost.
            self._kept = self._create_client()
        yield self._kept if client is None else client

    def now_s(self) -> float:
        """The time by Redis's clock, Unix seconds: by it delayed jobs come due."""
        return time.time() + self.ahead_s

    def list_key(self, queue: str, message: wire.Payload) -> str:
        """The list a message goes to: the queue's for its priority."""
        try:
            priority = self._get_message_priority(message, reverse=False)
        except (ArithmeticError, TypeError, ValueError):
            priority = 0  # such as 1e999
        return str(self._q_for_pri(queue, priority))

    def queue_of(self, exchange: str, routing_key: str) -> str:
        """The queue that a message so addressed goes to."""
        found = () if not exchange else self._lookup(exchange, routing_key)
        return str(next(iter(found), routing_key))

    def _put(self, queue: str, message: wire.Payload, **kwargs: Any) -> None:
        due_s = wire.due_s_of(message.get("headers") or {})
        if due_s is None or due_s <= time.time() + SOON_S:
            super()._put(queue, message, **kwargs)
            return
        entry = {
            "tag": message["properties"]["delivery_tag"],
            "list_key": self.list_key(queue, message),
            "message": wire.encode(message),
            "due_s": due_s,
        }
        batch = kwargs.get("_publish_batch")
        if batch is not None:
            delayed.add(_Batched(batch), queue, **entry)
            return
        with self.conn_or_acquire() as client, client.pipeline(transaction=True) as pipe:
            delayed.add(pipe, queue, **entry)
            pipe.execute()

    def _do_restore_message(
        self, payload: wire.Payload, exchange: str, routing_key: str, pipe: Any, leftmost: bool = False
    ) -> None:
        """Put a message back. kombu's own swallows what goes wrong, and the message is removed all the same."""
        properties = payload["properties"]
        properties["delivery_tag"] = str(uuid.uuid4())
        properties.setdefault("delivery_info", {})["redelivered"] = True
        if isinstance(payload.get("headers"), dict):
            payload["headers"]["redelivered"] = True
        place = self.list_key(self.queue_of(exchange, routing_key), payload)
        (pipe.lpush if leftmost else pipe.rpush)(place, wire.encode(payload))


class _Batched:
    """Commands as kombu's publish batch takes them."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def hset(self, *args: Any) -> None:
        self._batch.add("hset", *args)

    def zadd(self, *args: Any) -> None:
        self._batch.add("zadd", *args)


class Transport(BrokerTransport):
    """The transport of workers and producers."""

    Channel = Channel
