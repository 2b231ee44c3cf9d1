"""Fetching a job so that it is in Redis at every moment.

kombu pops a job with BRPOP and records it as unacknowledged with a second command. A worker killed between the two
has lost the job, and under load that moment comes with every job. Two changes to the consumer's channel:

- While jobs wait, one script pops and records in one step. Only an idle worker waits in BRPOP, so the moment is left to
  a job that arrives at an idle worker.
- A BRPOP still pending when a job's time comes (a retry, a countdown) may pop a job that no slot is free for. kombu
  leaves it in the socket until a slot is; here it goes back at once, for another worker to take.
"""

# ruff: noqa: SLF001 - kombu has no public way to change how a channel fetches

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.exceptions import ResponseError

_log = logging.getLogger("workerpool_worker.fetch")
_SECONDS_BETWEEN_LINES = 10.0

# KEYS: index, unacked, then the lists in order; ARGV[1]: now. The recorded value is kombu's: [message, exchange,
# routing key], with the message's own bytes, because decoding and encoding would change numbers and empty lists.
# The pop comes last: a Redis that is out of memory refuses the first two and the job stays where it is.
# A message that is large or cannot be read is left to BRPOP: decoding it would block Redis.
FETCH = """
for i = 3, #KEYS do
  local raw = redis.call('LINDEX', KEYS[i], -1)
  if raw then
    if #raw > 262144 then return false end
    local ok, message = pcall(cjson.decode, raw)
    if not ok then return false end
    local properties = message['properties']
    if type(properties) ~= 'table' then return false end
    local tag, info = properties['delivery_tag'], properties['delivery_info']
    if type(tag) ~= 'string' or type(info) ~= 'table' then return false end
    local exchange, key = info['exchange'], info['routing_key']
    if type(exchange) ~= 'string' or type(key) ~= 'string' then return false end
    redis.call('ZADD', KEYS[1], ARGV[1], tag)
    redis.call('HSET', KEYS[2], tag, '[' .. raw .. ', ' .. cjson.encode(exchange) .. ', ' .. cjson.encode(key) .. ']')
    redis.call('RPOP', KEYS[i])
    return {KEYS[i], raw}
  end
end
return false
"""


class SafeFetch:
    """Changes one consumer channel of kombu's Redis transport."""

    def __init__(self, channel: Any, hand_over: Callable[[], None]) -> None:
        self._channel = channel
        self._hand_over = hand_over
        self._wait = channel._brpop_start
        self._read = channel._brpop_read
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
        keys = [channel.unacked_index_key, channel.unacked_key, *lists]
        with channel.conn_or_acquire() as client:
            found = client.register_script(FETCH)(keys=keys, args=[repr(time.time())], client=client)
        if not found:
            return False
        queue = self._queue_of(found[0])
        channel._queue_cycle.rotate(queue)
        channel.connection._deliver(loads(bytes_to_str(found[1])), queue)
        return True

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._complained_at >= _SECONDS_BETWEEN_LINES:
            self._complained_at = now
            _log.warning("cannot fetch: %s; trying again", error)

    def _on_reply(self) -> Any:
        if self._has_room():
            return self._read()
        channel = self._channel
        try:
            reply = channel.client.parse_response(channel.client.connection, "BRPOP")
        except channel.connection_errors:
            channel.client.connection.disconnect()
            raise
        finally:
            channel._in_poll = None
        if reply:
            with channel.conn_or_acquire() as client:
                client.rpush(*reply)
        return None

    def _queue_of(self, key: bytes | str) -> str:
        name: str = bytes_to_str(key).rsplit(self._channel.sep, 1)[0]
        return name


class FetchStep(bootsteps.StartStopStep):
    """Installs the safe fetch on every new connection."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, c: Any) -> None:
        """Change the channel before its first fetch."""
        channel = c.task_consumer.channel
        # A key prefix is applied command by command in kombu, which knows nothing of this script.
        if getattr(channel, "global_keyprefix", ""):
            _log.warning("a key prefix is set: jobs are fetched in kombu's own way")
            return
        SafeFetch(channel, lambda: _write_to_children(c.pool)).install()


def _write_to_children(pool: Any) -> None:
    """Have the pool write what it was just given.

    kombu's event loop keeps its tick callbacks in a set. Where the pool's came before the fetch, the job would not be
    written to a child before the loop wakes for its next timer: up to a second later, after every job.
    """
    write = getattr(getattr(pool, "_pool", None), "on_poll_start", None)  # only a prefork pool has one, once it runs
    if write is not None:
        write()
