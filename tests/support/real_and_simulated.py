"""The same jobs through local mode with real workers and through the simulator, so that the two can be compared.

The simulator is told what its user would tell it: when jobs were sent, how long they run, the pool's YAML, how long
replicas took to start; and when the loop began. Nothing else passes from the real run to the simulated one, so what
agrees was modelled, not copied.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil

from tests.support.local_run import LocalRun
from tests.support.own_jobs.nap import Nap
from tests.support.waiting import eventually
from workerpool_operator.resource.load import load_pools
from workerpool_operator.resource.to_spec import pool_spec
from workerpool_operator.resource.world import World
from workerpool_operator.simulate.contenders import Result
from workerpool_operator.simulate.load import Load
from workerpool_operator.simulate.outcome import Moment, Outcome
from workerpool_operator.simulate.policies.workerpool import WorkerPoolPolicy
from workerpool_operator.simulate.scenario import Scenario
from workerpool_operator.simulate.score import score
from workerpool_operator.simulate.services import Lengths
from workerpool_worker.producer import Producer

OWN_JOBS = Path(__file__).parent / "own_jobs"
LOOK_EVERY_S = 0.05
WAITED_S = 1.0
"""A replica's first job that waited this long was there before it: it was begun as soon as the replica served."""
GRACE_S = 60.0
MOMENTS = 100_000
"""So many that every decision is kept."""

_STARTED = re.compile(r"ReplicaStarted +\S+ started, pid (\d+)$", re.MULTILINE)
_STOPPED = re.compile(r"ReplicaStopped +\S+ stopped ([0-9.]+) s after it was asked to$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A load, and the pool that is to do it: one job at a time a replica."""

    load: Load
    target_s: float
    most: int

    def yaml(self, url: str) -> str:
        """The pool. What is not the question is left at its default."""
        return (
            "apiVersion: workerpool.dev/v1alpha1\nkind: WorkerPool\nmetadata: {name: nap}\nspec:\n"
            f"  queues: [{{name: nap}}]\n  maxReplicas: {self.most}\n  broker: {{url: '{url}'}}\n"
            f"  scaling: {{queueLatencySeconds: {self.target_s:g}}}\n"
            f"  worker: {{concurrency: 1, terminationGracePeriodSeconds: {GRACE_S:g}}}\n"
        )


@dataclass(frozen=True, kw_only=True)
class Real:
    """What really came of it. ``asked`` is the question with the moments at which jobs were really sent.

    ``starts_s`` are the times from asking for a replica to its first job, of the replicas for which a job waited, in
    the order in which they were asked for. ``stopping_s`` is what of the replica-seconds was spent between telling
    workers to stop and their end: the simulator has them gone at once. ``first_look_s`` is when the loop looked first.
    """

    asked: Question
    result: Result
    starts_s: tuple[float, ...]
    stopping_s: float
    first_look_s: float

    @property
    def working_s(self) -> float:
        """Replica-seconds without the stopping."""
        return self.result.score.replica_s - self.stopping_s


def simulated(asked: Question, starts_s: Sequence[float], *, first_look_s: float | None = None, seed: int) -> Result:
    """The simulator's answer. Its first replica starts in the first of those times, and so on, and over again.

    In their order, because starts are not alike: on a machine with few cores several at once take longer than one.
    ``first_look_s`` is when the loop first looks, None: when luck has it. It matters: of a burst that has just begun
    one sees the more the later one looks.
    """
    turn = cycle(starts_s)
    starts = Lengths(
        draw=lambda _rng, _share: next(turn),
        mean_s=sum(starts_s) / len(starts_s),
        text="as measured",
        least_s=min(starts_s),
    )
    (pool,) = load_pools(asked.yaml("redis://simulated"), world=World.SIMULATED)
    scenario = Scenario(
        spec=pool_spec(pool),
        load=asked.load,
        startup=starts,
        slots=1,
        target_s=asked.target_s,
        grace_s=GRACE_S,
        seed=seed,
        moments=MOMENTS,
    )
    policy = WorkerPoolPolicy(spec=scenario.spec, grace_s=GRACE_S, seed=seed)
    if first_look_s is not None:
        policy.next_s = first_look_s
    outcome = scenario.run(policy)
    return Result(score=scenario.score(policy, outcome, name="simulated"), outcome=outcome)


def peak(result: Result) -> int:
    """The largest size of a run."""
    assert result.outcome is not None
    return max(moment.current for moment in result.outcome.course)


def mean_wait_s(result: Result) -> float:
    """How long its jobs waited on average."""
    assert result.outcome is not None
    return sum(result.outcome.waits_s) / len(result.outcome.waits_s)


def really(question: Question, *, url: str, folder: Path) -> Real:
    """Send the jobs, each at its time, to a pool of local mode that begins at zero; takes as long as the load."""
    env = {
        "WORKERPOOL_JOBS": "nap:JOBS",
        "PYTHONPATH": str(OWN_JOBS),
        "NAP_NOTES": str(folder / "notes"),
        "DATABASE_URL": f"sqlite:///{folder / 'naps.db'}",
    }
    with LocalRun(folder=folder, pools=question.yaml(url), env=env) as run, Producer(url) as producer:
        run.wait_decision(lambda seen: seen["target"] == 0, what="a first decision, at zero")
        sending = _Sending(question=question, run=run, producer=producer)
        sending.send()
        jobs = len(question.load.arrivals_s)
        eventually(lambda: len(_notes(folder)) == jobs, within_s=60, what="every job begun")
        assert run.stop() == 0
    assert "ReplicaCrashed" not in run.out, run.out
    return sending.read(_notes(folder))


def _notes(folder: Path) -> dict[int, tuple[float, int]]:
    """Of each job when it began, and in whose process."""
    try:
        lines = (folder / "notes").read_text().splitlines()
    except FileNotFoundError:
        return {}
    noted = [line.split() for line in lines]
    return {int(job): (float(at), int(pid)) for job, at, pid in noted}


@dataclass(kw_only=True)
class _Sending:
    """Sends the jobs of a question, and watches replicas come and go meanwhile."""

    question: Question
    run: LocalRun
    producer: Producer
    begin_s: float = 0.0
    sent_s: list[float] = field(default_factory=list)
    born_s: dict[int, float] = field(default_factory=dict)
    gone_s: dict[int, float] = field(default_factory=dict)

    def send(self) -> None:
        load = self.question.load
        self.begin_s, job, look_s = time.time(), 0, 0.0
        while (now_s := time.time()) < self.begin_s + load.duration_s:
            while job < len(load.arrivals_s) and self.begin_s + load.arrivals_s[job] <= now_s:
                self.sent_s.append(time.time() - self.begin_s)
                self.producer.send(Nap(id=str(job), seconds=load.services_s[job]))
                job += 1
            if now_s >= look_s:
                look_s = now_s + LOOK_EVERY_S
                self._look()
            time.sleep(0.005)

    def _look(self) -> None:
        now_s = time.time() - self.begin_s
        for pid in map(int, _STARTED.findall(self.run.out)):
            self.born_s.setdefault(pid, now_s)
        for pid in self.born_s.keys() - self.gone_s.keys():
            if not psutil.pid_exists(pid):
                self.gone_s[pid] = now_s

    def read(self, notes: dict[int, tuple[float, int]]) -> Real:
        """What came of it, from the notes of the jobs, the log of decisions and what local mode printed."""
        load = replace(self.question.load, arrivals_s=self.sent_s)
        asked = replace(self.question, load=load)
        begun_s = [notes[job][0] - self.begin_s for job in range(len(load.arrivals_s))]
        end_s = max(load.duration_s, *(at_s + took_s for at_s, took_s in zip(begun_s, load.services_s, strict=True)))
        decisions = [one for one in self.run.decisions() if one["time"] - self.begin_s <= end_s]
        asked_s = self._asked_s(decisions)
        waits_s = [at_s - sent_s for at_s, sent_s in zip(begun_s, self.sent_s, strict=True)]
        outcome = Outcome(
            waits_s=waits_s,
            replica_s=sum(self.gone_s.get(pid, end_s) - at_s for pid, at_s in asked_s.items()),
            end_s=end_s,
            scale_events=sum(one["target"] != one["current"] for one in decisions),
            pods_started=len(asked_s),
            busy_kills=self.run.out.count("ReplicaKilled"),
            lost_s=0.0,
            unfinished=0,
            course=[_moment(one, self.begin_s) for one in decisions],
        )
        first: dict[int, int] = {}
        for job in sorted(notes, key=lambda job: notes[job][0]):
            first.setdefault(notes[job][1], job)
        waited = [pid for pid in first if waits_s[first[pid]] > WAITED_S]
        starts = sorted((asked_s[pid], begun_s[first[pid]] - asked_s[pid]) for pid in waited)
        scored = score("real", outcome, load, target_s=asked.target_s, slots=1)
        return Real(
            asked=asked,
            result=Result(score=scored, outcome=outcome),
            starts_s=tuple(took_s for _, took_s in starts),
            stopping_s=sum(map(float, _STOPPED.findall(self.run.out))),
            first_look_s=min(moment.time_s for moment in outcome.course if moment.time_s >= 0),
        )

    def _asked_s(self, decisions: Sequence[dict[str, Any]]) -> dict[int, float]:
        """When each process was asked for: the last time before it came that more were wanted."""
        ups_s = [one["time"] - self.begin_s for one in decisions if one["target"] > one["current"]]
        return {pid: ups_s[bisect_right(ups_s, at_s) - 1] for pid, at_s in self.born_s.items()}


def _moment(decision: dict[str, Any], begin_s: float) -> Moment:
    return Moment(
        time_s=decision["time"] - begin_s,
        current=decision["target"],
        ready=decision["current"],
        waiting=decision["ready"] or 0,
    )
