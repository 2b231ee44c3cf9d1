"""How far the simulator can be trusted: the same jobs through real workers of local mode, and in virtual time.

    make bench-trust ARGS="--minutes 5 --traces one.csv more.csv --write"

Steady random jobs, bursts, and a stretch of each CSV file (jobs by time, as `workerpool simulate --trace` reads it) are
run for real, all at the same time, each with a Redis and a pool of its own. The simulator is then asked twice:

- with what was measured: how long each replica took to start, and when the loop first looked;
- as a user asks it: the mean of the starts, and 20 seeds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support.real_and_simulated import Question, Real, mean_wait_s, peak, really, simulated
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.simulate import table
from workerpool_operator.simulate.contenders import Result
from workerpool_operator.simulate.load import Load, make_load
from workerpool_operator.simulate.picture import check_plot, draw
from workerpool_operator.simulate.services import lengths
from workerpool_operator.simulate.traces import Trace, load_trace

ROOT = Path(__file__).parents[1]
PAGE, IMAGES = ROOT / "docs" / "benchmarks-simulator.md", ROOT / "docs" / "images"
BEGIN, END = "<!-- figures: made by make bench-trust, do not edit -->", "<!-- end of figures -->"
QUIET_S = 45.0
"""No jobs come at the end, so that a run's last replicas are counted until they are gone."""
SEEDS = range(1, 21)
TARGET_S, MOST = 15.0, 6
DAY_S = 86_400.0

ROWS: tuple[tuple[str, str, Callable[[Result], float]], ...] = (
    ("replica-seconds", ".0f", lambda one: one.score.replica_s),
    ("largest size", ".0f", peak),
    ("size changes", ".0f", lambda one: one.score.scale_events or 0),
    ("replicas started", ".0f", lambda one: one.score.pods_started or 0),
    ("wait, mean, s", ".1f", mean_wait_s),
    ("wait, p50, s", ".1f", lambda one: one.score.wait_p50_s or 0.0),
    ("wait, p95, s", ".1f", lambda one: one.score.wait_p95_s or 0.0),
    ("wait, longest, s", ".1f", lambda one: one.score.wait_max_s or 0.0),
    ("in time, %", ".2f", lambda one: 100 * one.score.within_target),
    ("busy replicas killed", ".0f", lambda one: one.score.busy_kills),
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One load by its name, and how to ask for it."""

    name: str
    trace: str
    jobs: str
    load: Load

    @property
    def picture(self) -> Path:
        """Where its picture goes."""
        return IMAGES / f"simulator-{self.name}.png"


def main() -> None:
    """Run, print, and write the page where asked."""
    parser = argparse.ArgumentParser(description="The simulator beside real workers.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long each run takes, all at once")
    parser.add_argument("--traces", type=Path, nargs="+", default=[], metavar="CSV", help="jobs by time; a day of each")
    parser.add_argument("--write", action="store_true", help="renew docs/benchmarks-simulator.md and its pictures")
    options = parser.parse_args()
    if options.minutes < 2:
        parser.error("--minutes: at least 2, of which 45 s are quiet")
    check_plot(IMAGES / "any.png")
    cases = list(_cases(options.minutes * 60 - QUIET_S, options.traces))
    before = os.getloadavg()[0]
    with ThreadPoolExecutor(len(cases)) as pool:
        reals = list(pool.map(_real, cases))
    text = f"Load average {before:.1f} before, {os.getloadavg()[0]:.1f} after; {os.cpu_count()} cores.\n"
    for case, real in zip(cases, reals, strict=True):
        text += _section(case, real, write=options.write)
    print(text)
    if options.write:
        head, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}")


def _cases(busy_s: float, files: Sequence[Path]) -> Iterator[Case]:
    jobs = "lognormal(mean=0.5,cv=0.5)"
    for name, text in (
        ("poisson", f"poisson(rate=5,hours={busy_s / 3600:.5f})"),
        ("bursts", f"bursts(rate=10,on=15,off=50,hours={busy_s / 3600:.5f})"),
    ):
        yield _case(name, text, jobs, load_trace(text))
    for file in files:
        day = load_trace(str(file)).first(DAY_S)
        trace = day.replayed(speedup=day.duration_s / busy_s, rate=4.0)
        yield _case(file.stem.replace("_", "-"), f"{file.name}: its first day in {busy_s:.0f} s", jobs, trace)


def _case(name: str, text: str, jobs: str, trace: Trace) -> Case:
    made = make_load(trace, lengths(jobs, "jobs"), seed=1)
    load = Load(arrivals_s=made.arrivals_s, services_s=made.services_s, duration_s=trace.duration_s + QUIET_S)
    return Case(name=name, trace=text, jobs=jobs, load=load)


def _real(case: Case) -> Real:
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name) / "redis", append_fsync="no") as server:
        folder = Path(name) / "run"
        folder.mkdir()
        return really(Question(load=case.load, target_s=TARGET_S, most=MOST), url=server.url, folder=folder)


def _section(case: Case, real: Real, *, write: bool) -> str:
    measured = simulated(real.asked, real.starts_s, first_look_s=real.first_look_s, seed=1)
    mean_s = statistics.fmean(real.starts_s)
    told = [simulated(real.asked, [mean_s], seed=seed) for seed in SEEDS]
    head = (
        f"`{case.trace}`: {len(case.load.arrivals_s):,} jobs of {case.jobs} s, {case.load.work_s:,.0f} s of work in "
        f"{case.load.duration_s:.0f} s. Starts took {min(real.starts_s):.1f} to {max(real.starts_s):.1f} s, "
        f"{mean_s:.1f} s on average.\n"
    )
    lines = [
        f"\n### {case.name}\n",
        head,
        "| | real | simulated, starts as measured | simulated, 20 seeds: median | lowest to highest |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, form, figure in ROWS:
        values = [figure(one) for one in told]
        lines.append(
            f"| {name} | {figure(real.result):{form}} | {figure(measured):{form}} "
            f"| {statistics.median(values):{form}} | {min(values):{form}} to {max(values):{form}} |"
        )
        if name == "replica-seconds":
            lines.append(f"| … without the time that workers took to stop | {real.working_s:{form}} | | | |")
    if write:
        _draw(case, {"real": real.result, "simulated": measured})
        lines.append(f"\n![Sizes and waits of {case.name}, real and simulated](images/{case.picture.name})")
    return "\n".join(lines) + "\n"


def _draw(case: Case, results: dict[str, Result]) -> None:
    question = table.Question(
        pool=case.name,
        trace=case.trace,
        load=case.load,
        job_s=case.jobs,
        startup_s="measured",
        target_s=TARGET_S,
        slots=1,
        seed=1,
    )
    draw(question, results, case.picture)


if __name__ == "__main__":
    main()
