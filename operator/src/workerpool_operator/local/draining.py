"""The cordoned replicas of one pool of this machine: they take no more jobs, and are asked to go when they are idle.

Until then their processes run on; whoever needs them again takes them back.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from workerpool_operator.local.replica import FRESH_S, Phase, Replica
from workerpool_operator.local.victims import choose_victims
from workerpool_operator.ports import NoticeKind, WorkerBeat
from workerpool_operator.queues.cordons import Cordons

if TYPE_CHECKING:
    from workerpool_operator.local.pool import Pool


class Draining:
    """Cordons replicas, takes them back, and has the idle ones asked to go. Times are monotonic seconds."""

    def __init__(self, cordons: Cordons) -> None:
        self.cordons = cordons
        self._shared: frozenset[str] = frozenset()
        """Names by which several workers go: they cannot be told apart."""

    async def shrink(self, pool: Pool, count: int) -> int:
        """Have ``count`` replicas leave, the least needed first; returns how many do.

        One that can be told takes no more jobs and goes when it is idle. Of the others the idle go at once, and the
        busy stay.
        """
        chosen = self._victims(pool, count)
        now_s = time.monotonic()
        queues = await self.cordons.ask(
            {_id(one): workers for one in chosen if (workers := self._workers(one))},
            busy={_id(one) for one in chosen if one.active(now_s)},
        )
        now_s = time.monotonic()
        there = [one for one in chosen if one.wanted and one in pool.replicas]
        held = [one for one in there if _id(one) in queues and one.phase is Phase.RUNNING]
        for replica in held:
            replica.wanted, replica.cordoned_s = False, now_s
            doing = "it finishes its job" if replica.active(now_s) else "it is idle"
            pool.say(NoticeKind.REPLICA_CORDONED, f"{replica.name} takes no more jobs: {doing} and goes")
        gone = [one for one in there if one not in held and not one.active(now_s)]
        for replica in gone:
            pool.dismiss(replica, now_s)
        told = {_id(one): queues[_id(one)] for one in held}
        await self.cordons.cordon(told, {_id(one): one.beats(now_s) for one in held})
        return len(held) + len(gone)

    async def grow(self, pool: Pool, count: int) -> int:
        """Take back up to ``count`` cordoned replicas, idle ones first; returns how many were."""
        now_s = time.monotonic()
        able = [one for one in pool.replicas if _is_cordoned(one) and one.plan == pool.plan]
        back = sorted(able, key=lambda one: (bool(one.active(now_s)), -one.working_since_s(), one.index))[:count]
        for replica in back:
            replica.wanted = True
            pool.say(NoticeKind.REPLICA_GIVEN_BACK, f"{replica.name} takes jobs again")
        if back:
            await self.cordons.give_back([_id(one) for one in back])
        return len(back)

    def hear(self, beats: Sequence[WorkerBeat]) -> None:
        """Take in the heartbeats of all workers of the pool's broker."""
        names = Counter(name for name, _ in {(beat.hostname, beat.pid) for beat in beats if beat.age_s <= FRESH_S})
        self._shared = frozenset(name for name, count in names.items() if count > 1)

    def settle(self, pool: Pool, now_s: float) -> None:
        """Ask those that are idle for sure to go, and forget what needs no more telling."""
        if not self.cordons:
            return
        present = {_id(one): one for one in pool.replicas if one.pid is not None and one.phase is Phase.RUNNING}
        self.cordons.forget(self.cordons.known() - present.keys())
        self.cordons.forget(self.cordons.returned())
        for name in self.cordons.known():
            self.cordons.hear(name, present[name].beats(now_s))
        for name in self.cordons.idle():
            pool.dismiss(present[name], now_s)
        self.cordons.forget([name for name in self.cordons.known() if present[name].phase is not Phase.RUNNING])

    def cordoned(self, pool: Pool) -> int:
        """How many replicas are cordoned."""
        return sum(1 for one in pool.replicas if _is_cordoned(one))

    def _victims(self, pool: Pool, count: int) -> list[Replica]:
        now_s = time.monotonic()
        by_index = {one.index: one for one in pool.wanted()}
        candidates = [
            one.candidate(now_s, deaf=self.cordons.deaf([beat.hostname for beat in one.beats(now_s)]))
            for one in by_index.values()
        ]
        return [by_index[index] for index in choose_victims(candidates, count)]

    def _workers(self, replica: Replica) -> frozenset[str]:
        """The names by which a replica's workers can be told something; empty where others would hear it as well."""
        names = frozenset(beat.hostname for beat in replica.beats(time.monotonic()))
        return names if replica.phase is Phase.RUNNING and names.isdisjoint(self._shared) else frozenset()


def _id(replica: Replica) -> str:
    return str(replica.pid)


def _is_cordoned(replica: Replica) -> bool:
    return not replica.wanted and replica.phase is Phase.RUNNING


def leaving_now(replicas: Iterable[Replica]) -> list[Replica]:
    """Those to be asked to go when everything is to go: the wanted, and the cordoned."""
    return [replica for replica in replicas if replica.wanted or _is_cordoned(replica)]
