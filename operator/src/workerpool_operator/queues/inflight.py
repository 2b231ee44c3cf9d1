"""How many jobs a pool's workers hold, from what the broker holds for them and what their heartbeats say.

Let U be the jobs the broker keeps as fetched and not acknowledged (``PoolReading.held``) and A the jobs being executed
according to the heartbeats. A worker that acknowledges late keeps a job in U until it is done: in flight is U. One that
acknowledges early, Celery's default, takes it out of U when it starts it: in flight is U + A. Nothing declares which:
it is inferred. Until it is proven, and for late acknowledgement too (a heartbeat may be 2 s old), in flight is
max(U, A).

What proves which, always between two heartbeats of every worker of the pool around a reading:

- early: no job started or ended, and U < A at the reading: some of those jobs are not in U.
- early: held jobs vanished, jobs started and none ended: they were acknowledged at their start.
- late: held jobs vanished, jobs ended and none started: they were acknowledged at their end.

A proof holds until the opposite is proven.

Jobs started and finished are counted from when the readings began. What a worker did before that is not known, so the
counts of one that may be older begin with its first heartbeat. Once every replica that was there at the beginning was
heard, whoever is heard for the first time is younger, and all that it counts is new: see ``InFlightMemory.settled``.

All times are seconds; everything here is pure.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from workerpool_operator.core.observation import InFlight, JobSeconds, Unavailable
from workerpool_operator.ports import PoolReading, ReplicaState, WorkerBeat
from workerpool_operator.queues.totals import NO_JOBS, added, finished_since, started_since

_MARGIN_S = 0.1
"""A heartbeat is received a little after it was made; readings this close to one are not judged by it."""
_KEEP_BEATS = 8
_KEEP_SAMPLES = 32
_THIN_S = 0.25
_KEEP_GONE = 64
"""Workers that are not heard any more and are known all the same, should they be heard again."""
_FRESH_S = 6.0
"""Three heartbeats: so long after the first look every worker that can be heard was heard."""
_DUE_LIMIT = 1024

Worker = tuple[str, int]
"""Host name and process."""


class Acknowledgement(enum.StrEnum):
    """When a pool's workers acknowledge a job."""

    UNKNOWN = "Unknown"
    EARLY = "Early"
    LATE = "Late"


class Mark(NamedTuple):
    """What one worker said at one time; ``finished`` is what is known of that by then, None while nothing is."""

    time_s: float
    active: int
    processed: int
    finished: JobSeconds | None = None


class Sample(NamedTuple):
    """One reading that is not judged yet; ``vanished`` jobs went between ``since_s`` and ``time_s``."""

    since_s: float
    time_s: float
    held: int
    vanished: int


class InFlightMemory(NamedTuple):
    """What is remembered of a pool between two estimates; bounded, and safe to lose.

    ``workers`` are in the order in which they were heard last, ``present`` those heard in the last reading. ``since_s``
    is when readings began, or began again after some in which nothing could be read. ``settled`` says that no worker
    can be unknown which was there when they first began: none of the replicas was silent after three heartbeats.
    """

    acknowledgement: Acknowledgement = Acknowledgement.UNKNOWN
    started_total: int | None = None
    finished: JobSeconds | None = None
    since_s: float | None = None
    settled: bool = False
    workers: Mapping[Worker, tuple[Mark, ...]] = MappingProxyType({})
    present: frozenset[Worker] = frozenset()
    samples: tuple[Sample, ...] = ()
    last_reading_s: float | None = None


class _Window(NamedTuple):
    """What all workers together did between two heartbeats of each."""

    started: int
    ended: int
    active: int


def estimate(
    reading: PoolReading, state: ReplicaState, memory: InFlightMemory, time_s: float
) -> tuple[InFlight | Unavailable, int | None, InFlightMemory]:
    """Estimate the jobs in flight and the busy replicas of one pool.

    Args:
        reading: What the broker said.
        state: The pool's replicas with their heartbeats.
        memory: What the estimate before returned; ``InFlightMemory()`` at first.
        time_s: When the reading was made.

    Returns:
        The jobs in flight, ``Unavailable`` where the broker's part could not be read; the replicas that work on a job
        now, None where nobody can tell; what to remember. While a ready replica is silent, busy is only known when
        nothing can run unheard: the workers are proven to acknowledge late, and the broker holds nothing for them.
        Where readings have only just begun, nobody was heard yet: a silent replica is taken to be busy for so long.
    """
    since_s = memory.since_s
    if since_s is None or time_s < since_s:  # a clock that was set back must not end a time that has not passed
        since_s = time_s
        memory = memory._replace(since_s=time_s)
    begun = time_s - since_s <= _FRESH_S
    if memory.present or state.beats or state.leaving_beats:
        heard = _listen(memory, state, time_s)
        memory = _judge(heard, reading, state, time_s, went=not memory.present <= heard.present)
    busy = _busy(reading, state, memory, begun=begun)
    if not (memory.settled or begun or state.silent):
        memory = memory._replace(settled=True)
    if isinstance(reading.held, Unavailable):
        return reading.held, busy, memory
    return _in_flight(reading, reading.held, state, memory), busy, memory


def interrupted(memory: InFlightMemory) -> InFlightMemory:
    """What to remember when nothing could be read: the workers are as unheard afterwards as at the beginning."""
    return memory if memory.since_s is None else memory._replace(since_s=None)


def _in_flight(reading: PoolReading, held: int, state: ReplicaState, memory: InFlightMemory) -> InFlight:
    leaving = _active(state.leaving_beats)
    active = _active(state.beats) + leaving
    nobody = not (state.current or state.leaving or active)
    early = memory.acknowledgement is Acknowledgement.EARLY
    running = 0 if nobody else held + active if early else max(held, active)
    return InFlight(
        running=running,
        running_on_leaving=min(leaving, running),
        scheduled=reading.scheduled,
        due_in_s=reading.due_in_s[:_DUE_LIMIT],
        stranded=held if nobody else 0,
        started_total=memory.started_total,
        finished=memory.finished,
    )


def _busy(reading: PoolReading, state: ReplicaState, memory: InFlightMemory, *, begun: bool) -> int | None:
    # Replicas on one machine may share a host name, so the process counts too.
    busy = len({(beat.hostname, beat.pid) for beat in state.beats if beat.active > 0})
    if state.silent == 0:
        return busy
    # An early-acknowledged job of a silent replica is seen nowhere: only late acknowledgement makes 0 held mean idle.
    late = memory.acknowledgement is Acknowledgement.LATE
    if late and reading.held == 0:
        return busy
    return busy + state.silent if begun else None


def _active(beats: tuple[WorkerBeat, ...]) -> int:
    return sum(beat.active for beat in beats)


def _listen(memory: InFlightMemory, state: ReplicaState, time_s: float) -> InFlightMemory:
    """Take in the heartbeats: what was started and finished since, and each worker's recent marks."""
    workers = dict(memory.workers)
    started, finished, heard = memory.started_total, memory.finished, set()
    for beat in (*state.beats, *state.leaving_beats):
        worker = beat.hostname, beat.pid
        marks = workers.pop(worker, ())
        last = marks[-1] if marks else _before(beat, new=memory.settled)
        known = last.finished if beat.processed >= last.processed else NO_JOBS
        mark = Mark(time_s - beat.age_s, beat.active, beat.processed, beat.finished or known)
        started = (started or 0) + started_since(last.processed, beat.processed)
        if beat.finished is not None:
            finished = added(finished, finished_since(known or beat.finished, beat.finished))
        workers[worker] = marks if marks and _same_heartbeat(last, mark) else (*marks, mark)[-_KEEP_BEATS:]
        heard.add(worker)
    if len(workers) > len(heard):
        _let_go(workers, memory.present - heard, len(workers) - len(heard) - _KEEP_GONE)
    return memory._replace(started_total=started, finished=finished, workers=workers, present=frozenset(heard))


def _before(beat: WorkerBeat, *, new: bool) -> Mark:
    """Stands for the heartbeat before the first: a worker that may be older than the readings did all that before."""
    return Mark(
        time_s=-math.inf,
        active=0,
        processed=0 if new else beat.processed,
        finished=NO_JOBS if new else beat.finished,
    )


def _let_go(workers: dict[Worker, tuple[Mark, ...]], gone: frozenset[Worker], too_many: int) -> None:
    """Keep of those just gone what they said last, and forget the ones that were heard longest ago."""
    for worker in gone:
        workers[worker] = workers[worker][-1:]
    if too_many > 0:
        for worker in list(workers)[:too_many]:
            del workers[worker]


def _same_heartbeat(last: Mark, mark: Mark) -> bool:
    # Several polls see the same heartbeat; its age is measured anew each time.
    same = last[1:] == mark[1:]
    return same and mark.time_s <= last.time_s + _MARGIN_S


def _judge(
    memory: InFlightMemory, reading: PoolReading, state: ReplicaState, time_s: float, *, went: bool
) -> InFlightMemory:
    """Look at each reading once every worker was heard again after it; ``went`` says that one is not heard any more."""
    # A worker that went may have taken, ended or given back jobs nobody heard of: since the last reading, too.
    samples = () if went else memory.samples
    last_s = memory.last_reading_s
    if isinstance(reading.held, int):
        if last_s is not None and last_s < time_s:
            # What vanished may have been taken by a replica that is not heard: that proves nothing.
            vanished = 0 if state.silent or went else reading.vanished
            sample = Sample(since_s=last_s, time_s=time_s, held=reading.held, vanished=vanished)
            samples = _added(samples, sample)
        last_s = time_s
    else:
        samples, last_s = (), None
    marks = [memory.workers[worker] for worker in memory.present]
    proven, waiting = memory.acknowledgement, []
    for sample in samples:
        if not marks or any(own[-1].time_s < sample.time_s + _MARGIN_S for own in marks):
            waiting.append(sample)
        else:
            proven = _proof(sample, marks) or proven
    return memory._replace(acknowledgement=proven, samples=tuple(waiting), last_reading_s=last_s)


def _added(samples: tuple[Sample, ...], sample: Sample) -> tuple[Sample, ...]:
    # Polls may be much more frequent than heartbeats: of readings close together the one that holds least says it all.
    last = samples[-1] if samples else None
    near = last is not None and sample.time_s - last.time_s < _THIN_S and not (last.vanished or sample.vanished)
    if last is not None and near:
        return samples if last.held <= sample.held else (*samples[:-1], sample)
    return (*samples, sample)[-_KEEP_SAMPLES:]


def _proof(sample: Sample, workers: list[tuple[Mark, ...]]) -> Acknowledgement | None:
    around_reading = _window(workers, sample.time_s, sample.time_s)
    if around_reading and not (around_reading.started or around_reading.ended) and sample.held < around_reading.active:
        return Acknowledgement.EARLY
    since = _window(workers, sample.since_s, sample.time_s)
    if since is None or not sample.vanished:
        return None
    if since.started and not since.ended:
        return Acknowledgement.EARLY
    if since.ended and not since.started:
        return Acknowledgement.LATE
    return None


def _window(workers: list[tuple[Mark, ...]], begin_s: float, end_s: float) -> _Window | None:
    """What happened between each worker's last heartbeat before ``begin_s`` and its first after ``end_s``."""
    started = ended = active = 0
    for marks in workers:
        first = next((mark for mark in reversed(marks) if mark.time_s <= begin_s - _MARGIN_S), None)
        last = next((mark for mark in marks if mark.time_s >= end_s + _MARGIN_S), None)
        if first is None or last is None or last.processed < first.processed:
            return None
        starts = last.processed - first.processed
        started += starts
        ended += starts - (last.active - first.active)
        active += first.active
    return _Window(started=started, ended=ended, active=active)
