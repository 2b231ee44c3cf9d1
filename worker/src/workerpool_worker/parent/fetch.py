"""Fetching a job so that it is in Redis at every moment.

kombu waits in BRPOP and records what it got as unacknowledged with a second command. A worker killed between the two
has lost the job, and a worker whose network went silent has it popped into a dead connection for as long as the BRPOP
lasts. So here nobody waits in BRPOP: one script pops and records in one step, and an idle worker runs it again and
again, every 10 ms while there are jobs, every 100 ms when there have been none for a while.

What is no message of kombu's, or larger than a message may be, goes to the dead letters; kombu would end the worker.
"""

# ruff: noqa: SLF001 - kombu has no public way to change how a channel fetches

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.worker import state
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps
from redis.exceptions import ReadOnlyError, ResponseError

from workerpool_worker.messages import scripts
from workerpool_worker.messages.ending import Endings
from workerpool_worker.messages.settle import Settlement, keep_of
from workerpool_worker.messages.unreadable import UnreadableError, read_message, unreadable_letter
from workerpool_worker.monitoring import outcomes

_log = logging.getLogger("workerpool_worker.fetch")
SHORTEST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.1
_SECONDS_BETWEEN_LINES = 10.0
_LONGEST_RUN_S = 0.2
# What code raises that was given something else than it expected. What the pool or Redis raise is none of it.
_STUMBLES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

# KEYS: index, unacked, then the lists in order; ARGV: now, then the queue of each list. The recorded value is kombu's:
# [message, exchange, routing key], with the message's own bytes, because decoding and encoding would change numbers and
# empty lists. Exchange and key are those that lead back to the list it was taken from, whatever it was sent through.
# The pop comes last: a Redis that is out of memory refuses the first two and the job stays where it is.
# A message that is large or cannot be read is only shown: decoding it would block Redis. The worker decides about it.
FETCH = """
for i = 3, #KEYS do
  local raw = redis.call('LINDEX', KEYS[i], -1)
  if raw then
    if #raw > 262144 then return {KEYS[i], raw} end
    local ok, message = pcall(cjson.decode, raw)
    local properties = ok and type(message) == 'table' and message['properties']
    if type(properties) ~= 'table' then return {KEYS[i], raw} end
    local tag, info = properties['delivery_tag'], properties['delivery_info']
    if type(tag) ~= 'string' or type(info) ~= 'table' then return {KEYS[i], raw} end
    local exchange, key = info['exchange'], info['routing_key']
    if type(exchange) ~= 'string' or type(key) ~= 'string' then return {KEYS[i], raw} end
    redis.call('ZADD', KEYS[1], ARGV[1], tag)
    redis.call('HSET', KEYS[2], tag, '[' .. raw .. ', "", ' .. cjson.encode(ARGV[i - 1]) .. ']')
    redis.call('RPOP', KEYS[i])
    return {KEYS[i], raw, tag}
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
        free_slot: Gives back the slot of a job that was not begun.
        max_bytes: What is larger is no message for us.
    """

    def __init__(
        self, channel: Any, hand_over: Callable[[], None], *, free_slot: Callable[[], None], max_bytes: int
    ) -> None:
        self._channel = channel
        self._hand_over = hand_over
        self._free_slot = free_slot
        self._max_bytes = max_bytes
        self._complained_at = float("-inf")
        self._pause_s = LONGEST_PAUSE_S

    def install(self) -> None:
        """Take the place of the channel's own methods."""
        self._channel._brpop_start = self._start
        # Nothing is ever asked on the connection that kombu keeps for BRPOP: it can only have been closed.
        self._channel.handlers["BRPOP"] = self._leave

    def _leave(self) -> None:
        self._channel.client.connection.disconnect()

    def pause_s(self) -> float:
        """How long to wait before the next look: longer each time."""
        self._pause_s = min(self._pause_s * 1.5, LONGEST_PAUSE_S)
        return self._pause_s

    def _start(self, timeout: float | None = None) -> None:  # noqa: ARG002 - kombu's signature
        fetched = False
        # A job that is put off or buried takes no slot, and there may be many: the event loop has other things to do.
        until = time.monotonic() + _LONGEST_RUN_S
        try:
            while time.monotonic() < until and self._channel.qos.can_consume() and self._fetch():
                fetched = True
        except ReadOnlyError as error:
            # A primary that became a replica: its name may lead to another one by now.
            self._channel.pool.disconnect()
            self._complain(error)
        except ResponseError as error:
            self._complain(error)  # out of memory, say
        if fetched:
            self._pause_s = SHORTEST_PAUSE_S
            self._hand_over()

    def _fetch(self) -> bool:
        channel = self._channel
        queues = channel._queue_cycle.consume(len(channel.active_queues))
        if not queues:
            return False
        lists = [(channel._q_for_pri(queue, step), queue) for step in channel.priority_steps for queue in queues]
        names = [queue for _, queue in lists]
        found = self._run(FETCH, [key for key, _ in lists], repr(time.time()), *names)
        if not found:
            return False
        queue = self._queue_of(found[0])
        channel._queue_cycle.rotate(queue)
        place, raw, *tag = found
        if tag:
            self._deliver(queue, bytes_to_str(place), bytes_to_str(tag[0]), raw)
        else:
            self._decide(queue, bytes_to_str(place), raw)
        return True

    def _decide(self, queue: str, place: str, raw: bytes) -> None:
        """Take a message that the script would not, or bury what is none."""
        try:
            message = read_message(raw, self._max_bytes)
        except UnreadableError as error:
            self._bury(queue, raw, error, place=place)
            return
        tag = message["properties"]["delivery_tag"]
        record = b'[%b, "", %b]' % (raw, dumps(queue).encode())
        if self._run(TAKE, [place], repr(time.time()), tag, record, raw):
            self._deliver(queue, place, tag, raw)

    def _deliver(self, queue: str, place: str, tag: str, raw: bytes) -> None:
        """Hand a message that is recorded to Celery. One that Celery stumbles over goes to the dead letters.

        kombu takes a KeyError for a lost connection, and anything else ends the worker: the message would be given back
        and go on from worker to worker.
        """
        try:
            message = read_message(raw, self._max_bytes)
            message["properties"]["delivery_info"]["queue"] = queue
            with self._channel.qos.recorded(tag):
                self._channel.connection._deliver(message, queue)
        except _STUMBLES as error:
            for request in tuple(state.reserved_requests):
                if request.message.delivery_tag == tag:
                    # It had a slot already.
                    state.task_ready(request)
                    self._free_slot()
            text = f"it cannot be read: {type(error).__name__}: {error}"
            letter = unreadable_letter(queue, place, raw, UnreadableError(text))
            if self._channel.settlement.bury(tag, letter, raw):
                outcomes.message_buried(queue, None, None, text)

    def _bury(self, queue: str, raw: bytes, error: UnreadableError, *, place: str) -> None:
        letter = unreadable_letter(queue, place, raw, error)
        if self._channel.settlement.bury_unfetched(letter, raw, in_list=place):
            outcomes.message_buried(queue, None, None, str(error))

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

    def _queue_of(self, key: bytes | str) -> str:
        name: str = bytes_to_str(key).rsplit(self._channel.sep, 1)[0]
        return name


class FetchStep(bootsteps.StartStopStep):
    """Installs the safe fetch on every new connection."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        self._timer: Any = None

    def start(self, c: Any) -> None:
        """Change the channel before its first fetch."""
        settings = c.app.workerpool_settings
        channel = c.task_consumer.channel
        channel.settlement = Settlement(channel, keep_of(settings))
        channel.endings = Endings(channel, channel.settlement, settings, on_buried=c.app.workerpool_on_buried)
        fetch = SafeFetch(
            channel,
            lambda: _write_to_children(c.pool),
            free_slot=c.controller._quick_release,
            max_bytes=settings.max_message_bytes,
        )
        fetch.install()
        self._look_again(c, fetch)

    def stop(self, c: Any) -> None:
        """No connection, nothing to fetch."""
        if self._timer is not None:
            c.timer.cancel(self._timer)
            self._timer = None

    def _look_again(self, c: Any, fetch: SafeFetch) -> None:
        # All a timer has to do is to wake the event loop: it fetches each time it comes round.
        self._timer = c.timer.call_after(fetch.pause_s(), self._look_again, (c, fetch))


def _write_to_children(pool: Any) -> None:
    """Have the pool write what it was just given.

    kombu's event loop keeps its tick callbacks in a set. Where the pool's came before the fetch, the job would not be
    written to a child before the loop wakes for its next timer: up to a second later, after every job.
    """
    write = getattr(getattr(pool, "_pool", None), "on_poll_start", None)  # only a prefork pool has one, once it runs
    if write is not None:
        write()
