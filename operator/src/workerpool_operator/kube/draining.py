"""The cordoned pods of one pool, as the cluster and this process know them.

A pod is cordoned by its annotation: another operator that comes to lead finds it there and goes on. Where the two
differ, the annotation is older: it is written before the workers are told, and taken away after they have said that
they take jobs again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from workerpool_operator.kube.objects import PodObject
from workerpool_operator.kube.victims import beats_of, by_host, first_back
from workerpool_operator.ports import WorkerBeat
from workerpool_operator.queues.cordon import Queues
from workerpool_operator.queues.cordons import Cordons

REMOVED_WITHIN_S = 30.0
"""A pod that was to go and is still there after this time is not going: another one went in its place."""

Work = tuple[int, float]
"""How many jobs a worker has started, and since when it is so many."""


@dataclass(slots=True)
class Draining:
    """What is remembered of one pool's pods between two looks.

    ``away`` are the names of the pods that take no more jobs, ``counted`` those of them that the Deployment's size
    still counts.
    """

    cordons: Cordons
    beats: tuple[WorkerBeat, ...] = ()
    away: frozenset[str] = frozenset()
    counted: frozenset[str] = frozenset()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    settling: asyncio.Task[None] | None = None
    settled: frozenset[str] = frozenset()
    """The pods that were dealt with last; the same ones are not before :attr:`settle_again_s`."""
    settle_again_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _beats_away: dict[str, tuple[WorkerBeat, ...]] = field(default_factory=dict)
    _work: dict[tuple[str, int], Work] = field(default_factory=dict)
    _removing: dict[str, float] = field(default_factory=dict)
    _since_s: dict[str, float] = field(default_factory=dict)

    def see(self, staying: Sequence[PodObject], by_pod: Mapping[str, Sequence[WorkerBeat]]) -> None:
        """Take in the pods that were not asked to go, and their workers' heartbeats."""
        if self.cordons or self._removing or [pod for pod in staying if pod.cordon]:
            self._see_cordons(staying, by_pod)
        away = self.away
        self.beats = tuple(
            [beat for pod in staying if pod.name[1] not in away for beat in beats_of(pod, by_pod)] if by_pod else ()
        )
        if away or [beat for beat in self.beats if beat.active]:
            self._note_work()  # who is not busy started nothing that would matter

    def recount(self) -> None:
        """Take in what has just become of the cordons."""
        self.away = self.cordons.cordoned()
        self.cordons.gone = frozenset(self._removing)
        self.counted = self.away - self.cordons.gone

    @property
    def beats_away(self) -> tuple[WorkerBeat, ...]:
        """The heartbeats of the workers that take no more jobs."""
        return tuple(beat for name in sorted(self.away) for beat in self._beats_away.get(name, ()))

    @property
    def since_s(self) -> dict[tuple[str, int], float]:
        """When each worker started its last job, or was first seen."""
        return {who: since_s for who, (_, since_s) in self._work.items()}

    def beats_by_pod(self, pods: Iterable[PodObject]) -> dict[str, tuple[WorkerBeat, ...]]:
        """The last known heartbeats of pods that are not cordoned."""
        by_pod = by_host(self.beats)
        return {pod.name[1]: tuple(beats_of(pod, by_pod)) for pod in pods}

    def idle(self) -> frozenset[str]:
        """The cordoned pods that can be removed."""
        return self.cordons.idle() & self.counted

    def cordoned_s(self, name: str) -> float:
        """For how long a pod has been cordoned, as far as this process knows."""
        return self.clock() - self._since_s.get(name, self.clock())

    def removed(self, names: Iterable[str]) -> None:
        """Take note that the Deployment counts these pods no more."""
        self._removing |= dict.fromkeys(names, self.clock() + REMOVED_WITHIN_S)
        self.recount()

    def back(self, count: int) -> tuple[str, ...]:
        """The pods to give back, the first to come first."""
        return first_back(self.counted, self._beats_away, count, since_s=self.since_s) if count > 0 else ()

    def forget_all(self) -> None:
        """Forget every pod, and stop what is under way: nobody here decides about this pool any more."""
        self.cordons.stop()
        if self.settling is not None:
            self.settling.cancel()
        self._removing.clear()
        self._since_s.clear()
        self.recount()

    def _see_cordons(self, staying: Sequence[PodObject], by_pod: Mapping[str, Sequence[WorkerBeat]]) -> None:
        now_s, cordons = self.clock(), self.cordons
        names = {pod.name[1] for pod in staying}
        cordons.forget(cordons.known() - names)
        known, returned = cordons.known(), cordons.returned()
        for pod in staying:
            name = pod.name[1]
            if name in returned and not pod.cordon:
                cordons.forget([name])
            elif name not in known and pod.cordon and (queues := read_annotation(pod.cordon)):
                cordons.adopt(name, queues)
            cordons.hear(name, beats_of(pod, by_pod))
        self._removing = {
            name: until_s for name, until_s in self._removing.items() if name in names and now_s < until_s
        }
        self.recount()
        self._since_s = {name: self._since_s.get(name, now_s) for name in self.away}
        self._beats_away = {pod.name[1]: tuple(beats_of(pod, by_pod)) for pod in staying if pod.name[1] in self.away}

    def _note_work(self) -> None:
        work: dict[tuple[str, int], Work] = {}
        now_s = self.clock()
        for beat in (*self.beats, *self.beats_away):
            who, last = (beat.hostname, beat.pid), self._work.get((beat.hostname, beat.pid))
            work[who] = last if last and last[0] == beat.processed else (beat.processed, now_s - beat.age_s)
        self._work = work


def annotation(queues: Queues) -> str:
    """What the annotation of a cordoned pod says: the queues that each of its workers took jobs from."""
    return json.dumps({worker: sorted(queues[worker]) for worker in sorted(queues)})


def read_annotation(text: str) -> dict[str, frozenset[str]]:
    """The queues in such an annotation; empty where somebody wrote something else there."""
    try:
        found = json.loads(text)
        if not all(isinstance(queues, list) for queues in found.values()):
            return {}
        return {str(worker): frozenset(map(str, queues)) for worker, queues in found.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
