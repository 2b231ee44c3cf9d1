"""``workerpool simulate``: what a pool would cost, and how long its jobs would wait."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from workerpool_operator.core.observation import ActiveSchedule
from workerpool_operator.resource.errors import ResourceError
from workerpool_operator.resource.load import load_files
from workerpool_operator.resource.model import WorkerPool
from workerpool_operator.resource.schedules import active_schedules
from workerpool_operator.resource.to_spec import pool_spec
from workerpool_operator.resource.world import World
from workerpool_operator.simulate.contenders import AGAINST, compare
from workerpool_operator.simulate.errors import SimulateError
from workerpool_operator.simulate.load import make_load
from workerpool_operator.simulate.policies.hpa import GRACE_S
from workerpool_operator.simulate.scenario import Scenario
from workerpool_operator.simulate.services import Lengths, lengths
from workerpool_operator.simulate.table import Question, as_json, text
from workerpool_operator.simulate.traces import Trace, load_trace

OK, BAD_INPUT = 0, 2
ASSUMED_TARGET_S = 30.0
MOMENTS = 1_500
MONDAY_S = dt.datetime(2026, 1, 5, tzinfo=dt.UTC).timestamp()
"""When a trace that knows no date begins: schedules then see a Monday at midnight, UTC."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulateArguments:
    """The command line of ``workerpool simulate``."""

    files: tuple[str, ...]
    trace: str
    job_seconds: str
    startup_seconds: str = "5"
    pool: str | None = None
    window_s: float | None = None
    scale: float = 1.0
    rate: float | None = None
    speedup: float = 1.0
    target_s: float | None = None
    slots: int | None = None
    seed: int = 1
    against: str = ",".join(AGAINST)
    as_json: bool = False
    plot: Path | None = None


def run_simulate(arguments: SimulateArguments) -> int:
    """Simulate and print; returns the exit status: 0 done, 2 something was wrong with what was given."""
    try:
        if arguments.plot is not None:
            from workerpool_operator.simulate.picture import check_plot  # noqa: PLC0415 - only for pictures

            check_plot(arguments.plot)
        _simulate(arguments)
    except (ResourceError, SimulateError) as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"workerpool simulate: {line}\n")
        return BAD_INPUT
    return OK


def _simulate(arguments: SimulateArguments) -> None:
    against = _against(arguments.against)
    pool = _pool(arguments)
    job_s = lengths(arguments.job_seconds, "--job-seconds")
    startup = lengths(arguments.startup_seconds, "--startup-seconds")
    trace = _trace(arguments, pool, job_s)
    with _Progress() as progress:
        scenario = _scenario(arguments, pool, trace, job_s=job_s, startup=startup, progress=progress)
        results = compare(scenario, against)
    question = Question(
        pool=pool.metadata.name,
        trace=trace.name,
        load=scenario.load,
        job_s=job_s.text if "(" in job_s.text else f"{job_s.text} s",
        startup_s=startup.text,
        target_s=scenario.target_s,
        slots=scenario.slots,
        seed=arguments.seed,
        notes=_notes(arguments, pool, scenario),
    )
    scores = [result.score for result in results.values()]
    sys.stdout.write((as_json if arguments.as_json else text)(question, scores) + "\n")
    if arguments.plot is not None:
        from workerpool_operator.simulate.picture import draw  # noqa: PLC0415

        draw(question, results, arguments.plot)


def _against(names: str) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    for name in wanted:
        if name not in AGAINST:
            raise SimulateError(f"--against: there is no policy {name!r}; take some of {','.join(AGAINST)}")
    return wanted


def _pool(arguments: SimulateArguments) -> WorkerPool:
    pools = load_files(arguments.files, world=World.SIMULATED)
    names = ", ".join(pool.metadata.name for pool in pools)
    if arguments.pool is not None:
        pools = [pool for pool in pools if pool.metadata.name == arguments.pool]
        if not pools:
            raise SimulateError(f"--pool: there is no pool {arguments.pool!r}; there are {names}")
    if len(pools) > 1:
        raise SimulateError(f"there are several pools ({names}): say which with --pool")
    return pools[0]


def _trace(arguments: SimulateArguments, pool: WorkerPool, job_s: Lengths) -> Trace:
    owner = arguments.pool if arguments.pool is not None else pool.metadata.name
    trace = load_trace(arguments.trace, pool=owner, mean_job_s=job_s.mean_s)
    return trace.replayed(
        scale=arguments.scale, speedup=arguments.speedup, window_s=arguments.window_s, rate=arguments.rate
    )


def _scenario(
    arguments: SimulateArguments,
    pool: WorkerPool,
    trace: Trace,
    *,
    job_s: Lengths,
    startup: Lengths,
    progress: Callable[[str, float], None],
) -> Scenario:
    spec, worker = pool_spec(pool), pool.spec.worker
    target_s = arguments.target_s or spec.queue_latency_s or ASSUMED_TARGET_S
    load = make_load(trace, job_s, seed=arguments.seed)
    return Scenario(
        spec=spec,
        load=load,
        startup=startup,
        slots=arguments.slots or spec.slots_per_replica or 1,
        target_s=float(target_s),
        grace_s=float(worker.termination_grace_period_seconds) if worker else GRACE_S,
        seed=arguments.seed,
        schedules_at=_schedules(pool, load.begin_s),
        moments=MOMENTS if arguments.plot is not None else 0,
        progress=progress,
    )


def _schedules(pool: WorkerPool, begin_s: float) -> Callable[[float], tuple[ActiveSchedule, ...]] | None:
    schedules = pool.spec.scaling.schedules
    if not schedules:
        return None
    offset_s = 0.0 if begin_s else MONDAY_S
    return lambda at_s: active_schedules(schedules, dt.datetime.fromtimestamp(at_s + offset_s, dt.UTC))


def _notes(arguments: SimulateArguments, pool: WorkerPool, scenario: Scenario) -> tuple[str, ...]:
    """What was assumed because nobody said it."""
    notes = []
    if arguments.target_s is None and scenario.spec.queue_latency_s is None:
        notes.append(f"the pool has no queueLatencySeconds: {ASSUMED_TARGET_S:g} s taken (--target-seconds)")
    if arguments.slots is None and scenario.spec.slots_per_replica is None:
        notes.append("the pool does not say how many jobs a replica runs at a time: 1 taken (--slots)")
    if pool.spec.scaling.schedules and arguments.speedup != 1.0:
        notes.append("the pool's schedules are taken at the run's clock, which runs faster than the trace's")
    budget = pool.spec.scaling.budget
    if budget is not None:
        notes.append(f"budget {budget.name} is not simulated: the pool is alone, and gets all that it asks for")
    return tuple(notes)


class _Progress:
    """One line on a terminal that says what runs; nothing elsewhere, and nothing in the first second."""

    def __init__(self) -> None:
        self._shown_s = time.monotonic() + 0.7
        self._is_terminal = sys.stderr.isatty()
        self._dirty = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._dirty:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __call__(self, name: str, share: float) -> None:
        now_s = time.monotonic()
        if self._is_terminal and now_s - self._shown_s >= 0.2:  # noqa: PLR2004 - five times a second
            self._shown_s, self._dirty = now_s, True
            sys.stderr.write(f"\r\x1b[Ksimulating {name}: {share:.0%}")
            sys.stderr.flush()
