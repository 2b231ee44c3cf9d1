"""What goes wrong on request: a worker killed in mid-job, or Redis away for five seconds."""

from __future__ import annotations

import asyncio
import enum
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workerpool_operator.demo.picture import Mark
from workerpool_operator.demo.recorder import Moment, Recorder
from workerpool_operator.local.processes import ProcessScaler
from workerpool_operator.local.redis_server import RedisServer

AWAY_S = 5.0
"""How long Redis stays away."""

LOOK_EVERY_S = 0.05


class Chaos(enum.StrEnum):
    """What is broken on purpose."""

    WORKER = "worker"
    REDIS = "redis"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """When Redis was stopped and when it answered again, Unix seconds."""

    begin_s: float
    end_s: float


async def kill_a_busy_worker(scaler: ProcessScaler, rng: random.Random) -> Mark:
    """End with kill -9 one whole worker, main process and children, as soon as one is known to hold a job.

    The whole process group goes at once, as when a container is killed: no handler runs, nothing is given back.
    """
    while True:
        victim = scaler.random_busy(rng)
        if victim is not None:
            break
        await asyncio.sleep(LOOK_EVERY_S)
    key, pid = victim
    os.killpg(pid, signal.SIGKILL)
    return Mark(time_s=time.time(), label=f"kill -9 of a busy {key.name} worker")


async def stop_redis(redis: RedisServer, say: Callable[[str], None]) -> Outage:
    """Stop Redis, and start it again on the same port with the same data after :data:`AWAY_S` seconds."""
    begin_s = time.time()
    await asyncio.to_thread(redis.stop)
    say(f"chaos: Redis is stopped for {AWAY_S:.0f} s")
    await asyncio.sleep(AWAY_S)
    await asyncio.to_thread(redis.start)
    say("chaos: Redis is back")
    return Outage(begin_s=begin_s, end_s=time.time())


@dataclass(frozen=True, kw_only=True, slots=True)
class OutageVerdict:
    """How the pools behaved while Redis was away.

    ``shrunk`` names the pools that got smaller; ``polls_to_recover`` is the largest number of polls that any pool
    needed after Redis was back until it could be read, None when one never could.
    """

    shrunk: tuple[str, ...]
    polls_to_recover: int | None


def judge(recorder: Recorder, outage: Outage) -> OutageVerdict:
    """Look at what the loop did during an outage and after it."""
    shrunk = tuple(name for name, course in recorder.course.items() if _shrank(course, outage))
    polls = [_polls_to_recover(course, outage) for course in recorder.course.values()]
    known = [number for number in polls if number is not None]
    return OutageVerdict(shrunk=shrunk, polls_to_recover=max(known) if known and len(known) == len(polls) else None)


def _shrank(course: Sequence[Moment], outage: Outage) -> bool:
    """Whether a decision without a reading asked for fewer replicas than there were."""
    away = [m for m in course if outage.begin_s <= m.time_s <= outage.end_s and m.backlog is None]
    return any(moment.desired < moment.current for moment in away)


def _polls_to_recover(course: Sequence[Moment], outage: Outage) -> int | None:
    after = [moment for moment in course if moment.time_s >= outage.end_s]
    return next((number for number, moment in enumerate(after, start=1) if moment.backlog is not None), None)
