"""What becomes of a message that was fetched: put off, given back, or buried among the dead letters.

Each is one script that moves the message out of the unacknowledged ones and into its next place, if it is still there.
Whoever was taken for dead meanwhile finds it gone, and what he has to say about it no longer counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from workerpool_worker.messages import keys, scripts, wire
from workerpool_worker.messages.letters import Letter

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

_log = logging.getLogger("workerpool_worker.messages")
_DAY_S = 86_400.0

# In all of them KEYS[1] is the index, KEYS[2] the hash of the unacknowledged, ARGV[1] the delivery tag. The message is
# put into its next place first: a Redis that is out of memory refuses that, and everything stays as it was.
_IF_HELD = "if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return 0 end\n"
_LET_GO = "redis.call('HDEL', KEYS[2], ARGV[1])\nredis.call('ZREM', KEYS[1], ARGV[1])\n"

# KEYS[3], KEYS[4]: delayed set and messages. ARGV: tag, new tag, value, due time.
PUT_OFF = f"""{_IF_HELD}redis.call('HSET', KEYS[4], ARGV[2], ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2])
{_LET_GO}return 1
"""

# KEYS[3]: the list. ARGV: tag, message. At the end that is fetched next.
GIVE_BACK = f"""{_IF_HELD}redis.call('RPUSH', KEYS[3], ARGV[2])
{_LET_GO}return 1
"""

# KEYS[3..6]: dead letters, their letters, their messages, the set of queues; KEYS[7]: the list whose next message this
# is, if it is in one. ARGV: tag ("" where it is not fetched), letter id, letter, message, time, queue, how many to
# keep, the time before which none is kept. Returns how many older ones had to go to make room; -1: it is not there.
BURY = """if ARGV[1] ~= '' and redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return -1 end
if KEYS[7] and redis.call('LINDEX', KEYS[7], -1) ~= ARGV[4] then return -1 end
local id, copy = ARGV[2], 1
while redis.call('HEXISTS', KEYS[4], id) == 1 do
  copy = copy + 1
  id = ARGV[2] .. '~' .. copy
end
redis.call('SADD', KEYS[6], ARGV[6])
redis.call('HSET', KEYS[5], id, ARGV[4])
redis.call('HSET', KEYS[4], id, ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[5], id)
if ARGV[1] ~= '' then
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[1], ARGV[1])
end
if KEYS[7] then redis.call('RPOP', KEYS[7]) end
local function drop(ids)
  for _, old in ipairs(ids) do
    redis.call('ZREM', KEYS[3], old)
    redis.call('HDEL', KEYS[4], old)
    redis.call('HDEL', KEYS[5], old)
  end
  return #ids
end
drop(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[8], 'LIMIT', 0, 100))
local over = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[7])
if over <= 0 then return 0 end
return drop(redis.call('ZRANGE', KEYS[3], 0, math.min(over, 100) - 1))
"""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """How many dead letters a queue keeps, and for how many days."""

    letters: int = 10_000
    days: float = 30.0


def keep_of(settings: Settings) -> Keep:
    """What the settings ask for."""
    return Keep(letters=settings.keep_dead_letters, days=settings.keep_dead_letters_days)


class Settlement:
    """Moves the messages that one consumer channel has fetched."""

    def __init__(self, channel: Any, keep: Keep) -> None:
        self._channel = channel
        self._keep = keep
        self._pending: list[Callable[[], object]] = []

    def put_off(self, tag: str, message: wire.Payload, due_s: float) -> bool:
        """Into the delayed set until `due_s` (Unix seconds); whether it was still ours to move."""
        queue = wire.queue_of(message)
        new_tag = message["properties"]["delivery_tag"]
        value = f"{self._channel.list_key(queue, message)}\n{wire.encode(message)}"
        places = [keys.delayed(queue), keys.delayed_messages(queue)]
        return self._settled(tag, lambda: bool(self._run(PUT_OFF, places, tag, new_tag, value, repr(due_s))))

    def give_back(self, tag: str, message: wire.Payload) -> bool:
        """To its queue, to be fetched next; whether it was still ours to move."""
        place = self._channel.list_key(wire.queue_of(message), message)
        return self._settled(tag, lambda: bool(self._run(GIVE_BACK, [place], tag, wire.encode(message))))

    def bury(self, tag: str, letter: Letter, message: str | bytes, then: Callable[[], None] = lambda: None) -> bool:
        """Among the dead letters; whether it was still ours to move. `then` is called once it has moved."""
        return self._settled(tag, lambda: self._bury(tag, letter, message), then)

    def bury_unfetched(self, letter: Letter, message: bytes, *, in_list: str) -> bool:
        """Among the dead letters what cannot be held, because it has no tag: the next message of a list.

        Raises:
            redis.exceptions.RedisError: it could not be moved, and is where it was.
        """
        return self._bury("", letter, message, in_list)

    def later(self, action: Callable[[], object]) -> None:
        """Do this when Redis may be well again."""
        self._pending.append(action)

    def settle_pending(self) -> None:
        """Try again what Redis refused."""
        for _ in range(len(self._pending)):
            action, others = self._pending.pop(0), len(self._pending)
            try:
                action()
            except Exception:  # noqa: BLE001 - this one only
                _log.exception("what was put off cannot be done at all")
            if len(self._pending) > others:
                return  # refused again: so would the others be, each after a time-out

    def _bury(self, tag: str, letter: Letter, message: str | bytes, in_list: str | None = None) -> bool:
        queue = letter.queue
        places = [
            keys.dead_letters(queue),
            keys.dead_letter_bodies(queue),
            keys.dead_letter_messages(queue),
            keys.DEAD_LETTER_QUEUES,
            *([in_list] if in_list is not None else []),
        ]
        oldest = time.time() - self._keep.days * _DAY_S
        limits = (max(self._keep.letters, 1), repr(oldest))
        dropped = self._run(
            BURY, places, tag, letter.id, letter.encode(), message, repr(letter.died_at), queue, *limits
        )
        if dropped > 0:
            _log.warning(
                "the queue %s has more than %d dead letters: the oldest was removed", queue, self._keep.letters
            )
        return bool(dropped >= 0)

    def _settled(self, tag: str, move: Callable[[], bool], then: Callable[[], None] = lambda: None) -> bool:
        """Move, and let go of the tag. What Redis refuses is held and tried again."""
        try:
            moved = move()
        except RedisError as error:
            # Out of memory, or just this connection broke. The lease keeps others away meanwhile. Where all of Redis is
            # away the consumer starts anew with another channel, and the message is restored.
            _log.warning("cannot move a message: %s; trying again", error)
            self.later(lambda: self._settled(tag, move, then))
            return False
        self._channel.qos.let_go(tag)
        if moved:
            then()
        return moved

    def _run(self, script: str, places: list[str], *arguments: object) -> int:
        qos = self._channel.qos
        with self._channel.conn_or_acquire() as client:
            names = [qos.unacked_index_key, qos.unacked_key, *places]
            return int(scripts.run(client, script, names, arguments))
