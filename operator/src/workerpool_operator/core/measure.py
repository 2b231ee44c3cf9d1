"""What is learnt from one observation to the next: load, seconds a job, start-up time, since when nothing can be read.

All of it is bounded in memory and safe to lose. Time that stands still or runs backwards adds nothing, and what could
not be read adds nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from workerpool_operator.core.ages import Ages
from workerpool_operator.core.load import Load, LoadEstimate
from workerpool_operator.core.observation import InFlight, Observation
from workerpool_operator.core.service import Finished, Service, Worked
from workerpool_operator.core.spec import PoolSpec
from workerpool_operator.core.startup import Startup

CAUTION_MAX = 0.4
CAUTION_RISE = 0.5
"""How much of the target's share is given up for each target's length of lateness."""
CAUTION_MEMORY_S = 600.0
"""Caution fades with this time constant."""

LONG_AGO_S = -1e9


class Last(NamedTuple):
    """The last observation, as far as differences are made from it."""

    time_s: float
    started_total: int | None
    running: int
    ready: int
    current: int
    finished: Finished


class Learnt(NamedTuple):
    """What decisions go by, in a few numbers, for people.

    ``load`` is in busy slots, and was measured over ``load_window_s``.
    """

    one_job_s: float
    job_variation: float
    jobs_measured: float
    load: float
    load_deviation: float
    load_window_s: float
    startup_s: float
    startup_deviation_s: float
    starts_measured: int
    mean_running: float
    caution: float
    unreadable_since_s: float | None


class Measures(NamedTuple):
    """What was learnt of a pool by watching it.

    ``mean_running`` is the time-weighted mean of the running jobs. ``load`` is measured for a latency target only, and
    so are ``service`` (seconds a job), ``ages`` (since when what waits has waited) and ``caution``: the share of the
    target that is left unused because jobs were late in spite of all plans. ``unheard`` is the number (below 0) of jobs
    that must have begun and of which no heartbeat told yet. ``full_s`` is when every slot had a job last,
    ``shrank_s`` when the pool shrank last, ``unreadable_since_s`` when reading first failed without a success since.
    """

    mean_running: float = 0.0
    load: Load = Load()
    service: Service = Service()
    startup: Startup = Startup()
    ages: Ages = Ages()
    caution: float = 0.0
    unheard: float = 0.0
    full_s: float = LONG_AGO_S
    shrank_s: float = LONG_AGO_S
    unreadable_since_s: float | None = None
    last: Last | None = None

    @property
    def load_now(self) -> LoadEstimate:
        """The load, from all that is known."""
        return self.load.estimate(self.service.job_s, self.service.variation)

    def learnt(self) -> Learnt:
        """The same in a few numbers."""
        load, service, startup = self.load_now, self.service, self.startup
        return Learnt(
            one_job_s=service.job_s,
            job_variation=service.variation,
            jobs_measured=service.jobs,
            load=load.slots,
            load_deviation=load.deviation,
            load_window_s=load.window_s,
            startup_s=startup.mean_s,
            startup_deviation_s=startup.deviation_s,
            starts_measured=startup.starts,
            mean_running=self.mean_running,
            caution=self.caution,
            unreadable_since_s=self.unreadable_since_s,
        )


def measured(observation: Observation, spec: PoolSpec, before: Measures, *, known: bool) -> Measures:
    """The measures with this observation taken in; ``known`` says that all of it could be read."""
    now_s, held, replicas, last = observation.time_s, observation.in_flight, observation.replicas, before.last
    current = replicas.current if last is None else last.current
    startup = before.startup.seen(replicas, current, now_s if last is None else min(last.time_s, now_s), now_s)
    shrank_s = now_s if replicas.current < current else min(before.shrank_s, now_s)
    if not known or not isinstance(held, InFlight):
        since_s = before.unreadable_since_s
        # a clock that was set back must not make the outage look longer, nor start in the future
        since_s = now_s if since_s is None else min(since_s, now_s)
        still = None if last is None else last._replace(time_s=now_s, current=replicas.current)
        return before._replace(startup=startup, shrank_s=shrank_s, unreadable_since_s=since_s, last=still)
    seen = Last(
        time_s=now_s,
        started_total=held.started_total,
        running=held.running,
        ready=observation.ready,
        current=replicas.current,
        finished=Finished.of(held.finished),
    )
    elapsed_s = 0.0 if last is None else max(0.0, now_s - last.time_s)
    staying = max(0, held.running - held.running_on_leaving)
    measures = before._replace(
        mean_running=_mean_running(before, staying, elapsed_s, spec),
        startup=startup,
        shrank_s=shrank_s,
        unreadable_since_s=None,
        last=seen,
    )
    if last is None or elapsed_s <= 0.0 or spec.queue_latency_s is None:
        return measures
    return _with_work(measures, last, observation.oldest_job_s, spec)


def _mean_running(before: Measures, running: int, elapsed_s: float, spec: PoolSpec) -> float:
    """Exponentially weighted mean over the stabilisation window of scaling down: both forget at the same pace."""
    if before.last is None:
        return float(running)
    weight = -math.expm1(-elapsed_s / max(1.0, float(spec.down_window_s)))
    return before.mean_running + weight * (running - before.mean_running)


def _with_work(measures: Measures, last: Last, oldest_s: float | None, spec: PoolSpec) -> Measures:
    """With the work done since the last observation."""
    now = measures.last or last
    elapsed_s = now.time_s - last.time_s
    slot_s = (last.running + now.running) / 2.0 * elapsed_s
    ended = _growth(last.started_total, now.started_total) - (now.running - last.running) + measures.unheard
    worked = Worked(
        elapsed_s=elapsed_s,
        slot_s=slot_s,
        ended=max(0.0, ended),
        told=now.finished.since(last.finished),
        running=now.running,
    )
    service = measures.service.added(worked)
    target_s = float(spec.queue_latency_s or 0)
    is_full = now.ready + now.running >= now.current * (spec.slots_per_replica or 1)
    # what arrived is what was begun, which is what was worked on, and what waits more now: Little's law
    arrived = (slot_s + service.job_s * (now.ready - last.ready)) / elapsed_s
    return measures._replace(
        service=service,
        load=measures.load.added(arrived, elapsed_s),
        ages=measures.ages.seen(now.ready, slot_s / service.job_s, now.time_s, target_s),
        caution=_caution(measures.caution, oldest_s, elapsed_s, target_s - spec.poll_interval_s),
        unheard=min(0.0, ended),
        full_s=now.time_s if is_full else min(measures.full_s, now.time_s),
    )


def _growth(then: int | None, now: int | None) -> int:
    return 0 if then is None or now is None else max(0, now - then)


def _caution(caution: float, oldest_s: float | None, elapsed_s: float, target_s: float) -> float:
    """Rises while the oldest job is late, and is forgotten slowly: the plans go wrong, whatever the reason."""
    caution *= math.exp(-elapsed_s / CAUTION_MEMORY_S)
    if oldest_s is None or oldest_s <= target_s:
        return caution
    return min(CAUTION_MAX, caution + CAUTION_RISE * elapsed_s / max(1.0, target_s))
