"""Jobs that are not due yet: a sorted set for each queue that the operator sees and any worker empties.

A job that comes due goes to the end of its queue, as if it were sent at that moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workerpool_worker.messages import keys, scripts

PROMOTED_AT_ONCE = 200

# KEYS: set and hash, for each queue. ARGV[1]: how many at most for each. Returns the number promoted, in how many
# milliseconds the next one comes due (-1: none), and Redis's time: its clock counts, so that workers with different
# clocks agree. The push comes first: a Redis out of memory refuses it, and the job stays where it is.
PROMOTE = """
local now = redis.call('TIME')
local now_s = now[1] + now[2] / 1000000
local promoted, next_ms = 0, -1
for i = 1, #KEYS, 2 do
  local due = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', now_s, 'LIMIT', 0, tonumber(ARGV[1]))
  for _, tag in ipairs(due) do
    local value = redis.call('HGET', KEYS[i + 1], tag)
    if value then
      local cut = string.find(value, '\\n', 1, true)
      redis.call('LPUSH', string.sub(value, 1, cut - 1), string.sub(value, cut + 1))
      redis.call('HDEL', KEYS[i + 1], tag)
      promoted = promoted + 1
    end
    redis.call('ZREM', KEYS[i], tag)
  end
  local first = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')
  if first[2] then
    local ms = math.max(0, math.ceil((tonumber(first[2]) - now_s) * 1000))
    if next_ms < 0 or ms < next_ms then next_ms = ms end
  end
end
return {promoted, next_ms, now[1], now[2]}
"""


@dataclass(frozen=True, kw_only=True)
class Promoted:
    """`count` jobs went to their queues; the next comes due in `next_in_s` seconds, None where none waits.

    `now_s` is Redis's clock, Unix seconds.
    """

    count: int
    next_in_s: float | None
    now_s: float


def promote(client: Any, queues: Sequence[str], *, limit: int = PROMOTED_AT_ONCE) -> Promoted:
    """Put what is due into its queue, at most `limit` jobs of each queue. One round trip."""
    names = [key for queue in queues for key in (keys.delayed(queue), keys.delayed_messages(queue))]
    count, next_ms, seconds, micros = scripts.run(client, PROMOTE, names, [limit])
    now_s = int(seconds) + int(micros) / 1e6
    return Promoted(count=int(count), next_in_s=None if next_ms < 0 else next_ms / 1000, now_s=now_s)


def add(client: Any, queue: str, *, tag: str, list_key: str, message: str, due_s: float) -> None:
    """Put a message in; the same tag again takes the place of the former. `client` may be a pipeline.

    Args:
        client: Of redis-py.
        queue: The queue's name.
        tag: Names it in the set.
        list_key: The list it will be put into.
        message: kombu's message, as JSON.
        due_s: Unix seconds.
    """
    # The message first: a set's entry without one would be dropped by a promotion in between.
    client.hset(keys.delayed_messages(queue), tag, f"{list_key}\n{message}")
    client.zadd(keys.delayed(queue), {tag: due_s})
