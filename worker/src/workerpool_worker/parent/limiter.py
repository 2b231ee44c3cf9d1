"""Rate limits that all replicas share, kept in Redis; a job that is over one is put off, nobody sleeps.

The generic cell rate algorithm (GCRA, ITU-T I.371, annex A): a limit keeps one time, the theoretical arrival time of
the next job. A job that comes too early is given the time at which it may run and that time is taken, so that each job
is put off once, and those that are put off run in the order they came.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workerpool_worker.messages import keys, scripts
from workerpool_worker.runtime.limits import RateLimit

LATE_S = 2.0
"""A job that comes so much later than its time (no worker was there) asks again: or an outage would end in a burst."""

# KEYS: the limits. ARGV: for each, the interval and the tolerance in microseconds. Returns after how many microseconds
# the job may run; 0: now. Redis's own clock.
TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local at = now
for i = 1, #KEYS do
  local arrival = math.max(tonumber(redis.call('GET', KEYS[i]) or '0'), now)
  at = math.max(at, arrival - tonumber(ARGV[2 * i]))
end
for i = 1, #KEYS do
  local interval, tolerance = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local arrival = math.max(tonumber(redis.call('GET', KEYS[i]) or '0'), at) + interval
  redis.call('SET', KEYS[i], string.format('%.0f', arrival), 'PX', math.ceil((arrival - now + interval) / 1000) + 1000)
end
return string.format('%.0f', at - now)
"""


def take(client: Any, limits: Sequence[RateLimit]) -> float:
    """Take the next free time of all the limits together; in how many seconds that is, 0 for now. One round trip."""
    names = [keys.limit(limit.kind, limit.name) for limit in limits]
    # One job of a burst is the one that runs now: the tolerance is for the others.
    times_s = ((limit.interval_s, limit.interval_s * (limit.burst - 1)) for limit in limits)
    numbers = [round(time_s * 1e6) for pair in times_s for time_s in pair]
    return int(scripts.run(client, TAKE, names, numbers)) / 1e6
