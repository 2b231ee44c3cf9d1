"""Fetching a job so that it is in Redis at every moment.

kombu pops a job with BRPOP and records it as unacknowledged with a second command. A worker killed between the two
has lost the job, and under load that moment comes with every job. Three changes to the consumer's channel:

- While jobs wait, one script pops and records in one step. Only an idle worker waits in BRPOP, so the moment is left to
  a job that arrives at an idle worker.
- A BRPOP still pending when a job's time comes (a retry, a countdown) may pop a job that no slot is free for. kombu
  leaves it in the socket until a slot is; here it goes back at once, for another worker to take.
- What is no message of kombu's, or larger than a message may be, goes to the dead letters; kombu would end the worker.
"""

# ruff: noqa: SLF001 - kombu has no public way to change how a channel fetches

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from queue import Empty
from typing import Any

from celery import bootsteps
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads
from redis.exceptions import ResponseError

from workerpool_worker.messages import scripts
from workerpool_worker.messages.ending import Endings
from workerpool_worker.messages.settle import Settlement, keep_of
from workerpool_worker.messages.unreadable import UnreadableError, read_message, unreadable_letter

_log = logging.getLogger("workerpool_worker.fetch")
_SECONDS_BETWEEN_LINES = 10.0

# KEYS: index, unacked, then the lists in order; ARGV[1]: now. The recorded value is kombu's: [message, exchange,
# routing key], with the message's own bytes, because decoding and encoding would change numbers and empty lists.
# The pop comes last: a Redis that is out of memory refuses the first two and the job stays where it is.
# A message that is large or cannot be read is only shown: decoding it would block Redis. The worker decides about it.
FETCH = """
for i = 3, #KEYS do
  local raw = redis.call('LINDEX', KEYS[i], -1)
  if raw then
    if #raw > 262144 then return {KEYS[i], raw, 1} end
    local ok, message = pcall(cjson.decode, raw)
    local properties = ok and type(message) == 'table' and message['properties']
    if type(properties) ~= 'table' then return {KEYS[i], raw, 1} end
    local tag, info = properties['delivery_tag'], properties['delivery_info']
    if type(tag) ~= 'string' or type(info) ~= 'table' then return {KEYS[i], raw, 1} end
    local exchange, key = info['exchange'], info['routing_key']
    if type(exchange) ~= 'string' or type(key) ~= 'string' then return {KEYS[i], raw, 1} end
    redis.call('ZADD', KEYS[1], ARGV[1], tag)
    redis.call('HSET', KEYS[2], tag, '[' .. raw .. ', ' .. cjson.encode(exchange) .. ', ' .. cjson.encode(key) .. ']')
    redis.call('RPOP', KEYS[i])
    return {KEYS[i], raw}
  end
end
return false
"""


# The same for a message that the worker has read. KEYS: index, unacked, list. ARGV: now, tag, record, message.
TAKE = """
if redis.call('LINDEX', KEYS[3], -1) ~= ARGV[4] then return 0 end
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('RPOP', KEYS[3])
return 1
"""


class SafeFetch:
    """Changes one consumer channel of kombu's Redis transport.

    Args:
        channel: The channel, one of `messages.transport`.
        hand_over: Has the pool write to the children what it was just given.
        max_bytes: What is larger is no message for us.
    """

    def __init__(self, channel: Any, hand_over: Callable[[], None], *, max_bytes: int) -> None:
        self._channel = channel
        self._hand_over = hand_over
        self._max_bytes = max_bytes
        self._wait = channel._brpop_start
        self._has_room = channel.qos.can_consume
        self._complained_at = float("-inf")

    def install(self) -> None:
        """Take the place of the channel's own methods."""
        self._channel._brpop_start = self._start
        self._channel.handlers["BRPOP"] = self._on_reply
        # A pending BRPOP must be read even without room, or a job it popped would be nowhere but in the socket.
        self._channel.qos.can_consume = lambda: bool(self._channel._in_poll) or self._has_room()

    def _start(self, timeout: float | None = None) -> None:
        fetched = False
        try:
            while self._has_room():
                if not self._fetch():
                    self._wait(timeout)
                    break
                fetched = True
        except ResponseError as error:
            # Out of memory, or read-only for a moment: BRPOP would pop a job that then cannot be recorded.
            self._complain(error)
        if fetched:
            self._hand_over()

    def _fetch(self) -> bool:
        channel = self._channel
        queues = channel._queue_cycle.consume(len(channel.active_queues))
        if not queues:
            return False
        lists = [channel._q_for_pri(queue, step) for step in channel.priority_steps for queue in queues]
        found = self._run(FETCH, lists, repr(time.time()))
        if not found:
            return False
        queue = self._queue_of(found[0])
        channel._queue_cycle.rotate(queue)
        if len(found) > 2:  # noqa: PLR2004 - the third says that it was only shown
            self._decide(queue, bytes_to_str(found[0]), found[1])
        else:
            self._deliver(queue, loads(bytes_to_str(found[1])))
        return True

    def _decide(self, queue: str, place: str, raw: bytes) -> None:
        """Take a message that the script would not, or bury what is none."""
        try:
            message = read_message(raw, self._max_bytes)
        except UnreadableError as error:
            self._bury(queue, raw, error, place=place)
            return
        properties = message["properties"]
        info, tag = properties["delivery_info"], properties["delivery_tag"]
        record = b"[%b, %b, %b]" % (raw, dumps(info["exchange"]).encode(), dumps(info["routing_key"]).encode())
        if self._run(TAKE, [place], repr(time.time()), tag, record, raw):
            self._deliver(queue, message)

    def _deliver(self, queue: str, message: dict[str, Any]) -> None:
        message["properties"]["delivery_info"]["queue"] = queue
        with self._channel.qos.recorded(message["properties"]["delivery_tag"]):
            self._channel.connection._deliver(message, queue)

    def _bury(self, queue: str, raw: bytes, error: UnreadableError, *, place: str | None) -> None:
        list_key = place if place is not None else queue
        self._channel.settlement.bury_unfetched(unreadable_letter(queue, list_key, raw, error), raw, in_list=place)
        _log.error("a message of the queue %s went to the dead letters: %s", queue, error)

    def _run(self, script: str, lists: list[str], *arguments: object) -> Any:
        channel = self._channel
        keys = [channel.unacked_index_key, channel.unacked_key, *lists]
        with channel.conn_or_acquire() as client:
            return scripts.run(client, script, keys, arguments)

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._complained_at >= _SECONDS_BETWEEN_LINES:
            self._complained_at = now
            _log.warning("cannot fetch: %s; trying again", error)

    def _on_reply(self) -> Any:
        channel = self._channel
        try:
            reply = channel.client.parse_response(channel.client.connection, "BRPOP")
        except channel.connection_errors:
            channel.client.connection.disconnect()
            raise
        finally:
            channel._in_poll = None
            channel._flush_brpop_reauth()
        if not reply:
            raise Empty
        if not self._has_room():
            with channel.conn_or_acquire() as client:
                client.rpush(*reply)
            return None
        queue = self._queue_of(reply[0])
        channel._queue_cycle.rotate(queue)
        try:
            message = read_message(reply[1], self._max_bytes)
        except UnreadableError as error:
            self._bury(queue, reply[1], error, place=None)
            return None
        message["properties"]["delivery_info"]["queue"] = queue
        channel.connection._deliver(message, queue)
        return True

    def _queue_of(self, key: bytes | str) -> str:
        name: str = bytes_to_str(key).rsplit(self._channel.sep, 1)[0]
        return name


class FetchStep(bootsteps.StartStopStep):
    """Installs the safe fetch on every new connection."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, c: Any) -> None:
        """Change the channel before its first fetch."""
        settings = c.app.workerpool_settings
        channel = c.task_consumer.channel
        channel.settlement = Settlement(channel, keep_of(settings))
        channel.endings = Endings(channel, channel.settlement, settings, on_buried=c.app.workerpool_on_buried)
        fetch = SafeFetch(channel, lambda: _write_to_children(c.pool), max_bytes=settings.max_message_bytes)
        fetch.install()


def _write_to_children(pool: Any) -> None:
    """Have the pool write what it was just given.

    kombu's event loop keeps its tick callbacks in a set. Where the pool's came before the fetch, the job would not be
    written to a child before the loop wakes for its next timer: up to a second later, after every job.
    """
    write = getattr(getattr(pool, "_pool", None), "on_poll_start", None)  # only a prefork pool has one, once it runs
    if write is not None:
        write()
