"""What the policy costs beside KEDA tuned for each scenario, and how many jobs are in time: a grid.

    .venv/bin/python -m benchmarks.policies [--traces FOLDER] [--quick] [--drawn N] [--only WORD] [--write FILE]

The folder holds elb_request_count.csv, nyc_taxi.csv and twitter_volume_amzn.csv of the Numenta Anomaly Benchmark; it
can also be named by WORKERPOOL_TRACES, and is ../shared/traces of the checkout if that is there. All is virtual time
in one process, with one seed a scenario: the same command gives the same page.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workerpool_operator.core.spec import PoolSpec
from workerpool_operator.simulate.contenders import AGAINST, own
from workerpool_operator.simulate.load import make_load
from workerpool_operator.simulate.scenario import Scenario
from workerpool_operator.simulate.score import GOAL, Score
from workerpool_operator.simulate.services import lengths
from workerpool_operator.simulate.traces import load_trace

ROOT = Path(__file__).resolve().parent.parent
MOST = 1_500
RATIO_MAX, PODS_MAX = 1.10, 1.5
CONTENDERS = ("keda", "keda-tuned", "oracle")
TARGETS_S = (10, 15, 20, 30, 45, 60, 120, 300, 600)
LOGNORMAL = "lognormal(mean=2,cv=1)"
LATELY = {
    "elb": "elb_request_count.csv",
    "taxi": "nyc_taxi.csv",
    "twitter": "twitter_volume_amzn.csv",
}
WINDOW_S = 6.0
"""Each row of a real trace is replayed in so many seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A scenario: a shape of arrivals, ``busy`` slots on average, a target. ``hours`` cuts a trace."""

    shape: str
    busy: float
    target_s: int
    slots: int = 1
    job: str = LOGNORMAL
    startup: str = "5"
    hours: float = 3.0
    quick: bool = False

    @property
    def name(self) -> str:
        """How the page calls it."""
        extra = "" if self.job == LOGNORMAL else f", {self.job}"
        late = "" if self.startup == "5" else f", start {self.startup} s"
        return f"{self.shape}{extra}{late}"

    def scenario(self, traces: Path | None, jobs_max: int, seed: int) -> Scenario:
        """Make its load."""
        job_s = lengths(self.job, "job")
        rate = self.busy / job_s.mean_s
        hours = min(self.hours, jobs_max / rate / 3600)
        trace = load_trace(self._trace(traces, hours)).replayed(
            window_s=WINDOW_S if self.shape in LATELY else None, rate=rate
        )
        spec = PoolSpec(
            max_replicas=MOST, backlog_per_replica=None, queue_latency_s=self.target_s, slots_per_replica=self.slots
        )
        return Scenario(
            spec=spec,
            load=make_load(trace.first(hours * 3600), job_s, seed=seed),
            seed=seed,
            startup=lengths(self.startup, "startup"),
            slots=self.slots,
            target_s=float(self.target_s),
        )

    def _trace(self, traces: Path | None, hours: float) -> str:
        if self.shape in LATELY:
            return str((traces or Path()) / LATELY[self.shape])
        # the rate is set afterwards, so only the shape counts here
        return {
            "poisson": f"poisson(rate=1,hours={hours:.6f})",
            "bursts": f"bursts(rate=1,on=60,off=240,hours={hours:.6f})",
            "flash crowd": f"flash(rate=1,factor=50,lasting=60,hours={hours:.6f})",
            "day and night": f"daynight(low=1,high=10,period={hours * 1800:.3f},hours={hours:.6f})",
        }[self.shape]


def grid() -> list[Case]:
    """All scenarios; those for a quick look are marked."""
    cases = [
        Case(shape=shape, busy=busy, target_s=30, hours=26.4 if busy < 20 else 6.0, quick=busy == 10)
        for shape in LATELY
        for busy in (0.1, 2.0, 10.0, 30.0, 200.0)
    ]
    for shape in ("twitter", "poisson", "bursts", "flash crowd", "day and night"):
        cases += [Case(shape=shape, busy=10.0, target_s=target_s) for target_s in (5, 120, 600)]
        cases += [Case(shape=shape, busy=20.0, target_s=30, slots=slots) for slots in (4, 16)]
    for shape in ("poisson", "bursts", "flash crowd", "day and night"):
        cases += [
            Case(shape=shape, busy=busy, target_s=30, hours=12.0 if busy < 1 else 3.0, quick=busy in {0.1, 10.0})
            for busy in (0.1, 0.5, 2.0, 10.0, 200.0)
        ]
    heavy, long_jobs = "pareto(mean=2,alpha=1.5)", "lognormal(mean=3600,cv=0.5)"
    drift = "drift(lognormal(mean=1,cv=1),from=1,to=10)"
    mixed = "mix(lognormal(mean=0.5,cv=1),90,lognormal(mean=30,cv=1),10)"
    for job in (heavy, drift, "drift(lognormal(mean=10,cv=1),from=1,to=0.1)", mixed):
        cases += [
            Case(shape=shape, busy=10.0, target_s=30, job=job, quick=shape == "poisson")
            for shape in ("poisson", "day and night", "twitter")
        ]
    cases += [Case(shape="poisson", busy=busy, target_s=600, job=long_jobs, hours=72.0) for busy in (0.5, 5.0, 50.0)]
    cases += [
        Case(shape=shape, busy=10.0, target_s=target_s, startup="60", quick=target_s == 120)
        for shape in ("poisson", "twitter", "day and night", "bursts")
        for target_s in (120, 600)
    ]
    return cases


def drawn(count: int, seed: int) -> list[Case]:
    """Scenarios that nobody chose: drawn at random, for what the grid does not think of."""
    rng = random.Random(f"scenarios {seed}")
    shapes = (*LATELY, "poisson", "bursts", "flash crowd", "day and night")
    cases: list[Case] = []
    while len(cases) < count:
        mean = rng.choice((0.2, 0.5, 2, 2, 5, 20))
        job = rng.choice(
            (
                *(f"lognormal(mean={mean},cv=1)",) * 3,
                f"exponential({mean})",
                f"fixed({mean})",
                f"lognormal(mean={mean},cv=2)",
                f"drift(lognormal(mean={mean},cv=1),from=1,to=10)",
            )
        )
        startup, target_s = rng.choice(("3", "5", "10", "20", "60", "lognormal(mean=8,cv=0.4)")), rng.choice(TARGETS_S)
        case = Case(
            shape=rng.choice(shapes),
            busy=round(math.exp(rng.uniform(math.log(0.1), math.log(150))), 2),
            target_s=target_s,
            slots=rng.choice((1, 1, 1, 2, 4, 8, 16)),
            job=job,
            startup=startup,
            hours=6.0,
        )
        # a target not much longer than a start is met by luck, by whatever policy
        if lengths(startup, "startup").mean_s <= target_s / 2:
            cases.append(case)
    return cases


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario's scores, by policy."""

    case: Case
    scores: dict[str, Score]

    @property
    def possible(self) -> bool:
        """Whether the target can be met at all."""
        return self.scores["oracle"].meets

    @property
    def ratio(self) -> float:
        """What it costs beside the tuned KEDA; not a number where that misses the target."""
        tuned = self.scores["keda-tuned"]
        return self.scores["workerpool"].cost / tuned.cost if tuned.meets else math.nan

    @property
    def pods(self) -> float:
        """Replicas started beside the tuned KEDA."""
        ours, theirs = self.scores["workerpool"].pods_started, self.scores["keda-tuned"].pods_started
        return (ours or 0) / max(1, theirs or 0)

    @property
    def losses(self) -> str:
        """What is not as good as it should be, in a word or two."""
        ours, said = self.scores["workerpool"], []
        if self.possible and not ours.meets:
            said.append("late")
        if ours.busy_kills:
            said.append(f"{ours.busy_kills} busy killed")
        if self.ratio > RATIO_MAX:
            said.append("dearer")
        if self.pods > PODS_MAX:
            said.append("more starts")
        return ", ".join(said)


class Rivals:
    """The others' scores, which stay what they are while the policy is worked on: kept in a file where one is named."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, list[dict[str, Any]]] = {}
        if path is not None and path.exists():
            self._known = json.loads(path.read_text(encoding="utf-8"))

    def scores(self, key: str, scenario: Scenario) -> dict[str, Score]:
        """Look them up, or run them."""
        if key not in self._known:
            self._known[key] = [asdict(AGAINST[name](scenario).score) for name in CONTENDERS]
            if self._path is not None:
                self._path.write_text(json.dumps(self._known), encoding="utf-8")
        found = [Score(**fields) for fields in self._known[key]]
        return {score.name: score for score in found}


def measure(case: Case, traces: Path | None, *, jobs_max: int, seed: int, rivals: Rivals) -> Row:
    """Run one scenario."""
    scenario = case.scenario(traces, jobs_max, seed)
    others = rivals.scores(f"{case!r} {jobs_max} {seed}", scenario)
    return Row(case, {"workerpool": own(scenario).score} | others)


COLUMNS = (
    *("scenario", "busy slots", "target, s", "slots"),
    *("WorkerPool: in time", "cost", "started"),
    *("KEDA tuned: in time", "cost", "started"),
    *("cost ratio", "KEDA: in time", "cost", "no less than", "losses"),
)


def page(rows: Sequence[Row]) -> str:
    """The results as Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|---|{'--:|' * (len(COLUMNS) - 2)}---|"]
    for row in rows:
        case, scores = row.case, row.scores
        ours, tuned, keda = (_cells(scores[name]) for name in ("workerpool", "keda-tuned", "keda"))
        ratio = "-" if math.isnan(row.ratio) else f"{row.ratio:.2f}"
        asked = (case.name, f"{case.busy:g}", str(case.target_s), str(case.slots))
        cells = (*asked, *ours, *tuned, ratio, keda[0], keda[1], f"{scores['oracle'].cost:.2f}", row.losses)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*summary(rows), "", *lines, ""])


def _cells(score: Score) -> tuple[str, str, str]:
    within = f"{math.floor(score.within_target * 1000) / 10:.1f}%"
    return within if score.meets else f"**{within}**", f"{score.cost:.2f}", f"{score.pods_started:,}"


def summary(rows: Sequence[Row]) -> list[str]:
    """What is promised, and how far it holds."""
    possible = [row for row in rows if row.possible]
    ratios = [row.ratio for row in possible if not math.isnan(row.ratio)]
    late = sum(1 for row in possible if not row.scores["workerpool"].meets)
    tuned_late = sum(1 for row in possible if not row.scores["keda-tuned"].meets)
    kills = sum(row.scores["workerpool"].busy_kills for row in rows)
    mean = math.exp(sum(math.log(ratio) for ratio in ratios) / len(ratios)) if ratios else math.nan
    worst = max(ratios, default=math.nan)
    dearer = sum(1 for ratio in ratios if ratio > RATIO_MAX)
    restless = sum(1 for row in rows if row.pods > PODS_MAX)
    said = (
        f"{len(rows)} scenarios; in {len(possible)} the target can be met.",
        f"At least {GOAL:.0%} in time: missed in {late} (KEDA tuned: in {tuned_late}). Busy replicas killed: {kills}.",
        f"Cost beside KEDA tuned: geometric mean {mean:.3f}, worst {worst:.2f}, above {RATIO_MAX:.2f} in {dearer}.",
        f"Replicas started beside it: more than {PODS_MAX:g} times as many in {restless}.",
    )
    return [f"- {line}" for line in said]


HEAD = """# What the policy costs, beside KEDA tuned for each scenario

Made by `python -m benchmarks.policies --write FILE`{options}; the scenarios stand in
`benchmarks/policies.py`. Virtual time ([how](simulate.md)), one default configuration for all, no constant fitted to
any of them. Made also for scenarios that nobody chose: [drawn at random](benchmarks-policy-drawn.md).

*KEDA tuned* has list length, polling interval, cooldown and window swept for that very scenario, the load known
beforehand, and its busy workers protected for free; *KEDA* has its defaults. *Cost* is replica-seconds x slots /
seconds of work: 1 never idles. *No less than* is a bound that no schedule can beat, the future known
([why](adr/0019-the-simulator.md)). **Bold**: fewer than 99% in time. Losses are marked in the last column.

"""


def main() -> None:
    """Measure, print, and write the page."""
    options = _options()
    beside = ROOT.parent / "shared" / "traces"
    traces = options.traces or (beside if beside.is_dir() else None)
    among = drawn(options.drawn, options.seed) if options.drawn else grid()
    cases = [case for case in among if (case.quick or not options.quick) and options.only in case.name]
    if traces is None and any(case.shape in LATELY for case in cases):
        sys.exit("benchmarks.policies: name the folder of the real traces with --traces, or WORKERPOOL_TRACES")
    rows, rivals = [], Rivals(options.rivals)
    for case in cases:
        begin_s = time.monotonic()
        rows.append(measure(case, traces, jobs_max=options.jobs_max, seed=options.seed, rivals=rivals))
        ours, tuned = rows[-1].scores["workerpool"], rows[-1].scores["keda-tuned"]
        sys.stderr.write(
            f"{case.name}, busy {case.busy:g}, target {case.target_s}, slots {case.slots}: {ours.within_target:.2%} "
            f"{ours.cost:.2f} | {tuned.within_target:.2%} {tuned.cost:.2f} ({tuned.setting}) "
            f"{rows[-1].losses} {time.monotonic() - begin_s:.0f} s\n"
        )
    print(page(rows))
    if options.write:
        said = f" with `--drawn {options.drawn} --seed {options.seed}`" if options.drawn else ""
        said += " and `--quick`" if options.quick else ""
        Path(options.write).write_text(HEAD.format(options=said) + page(rows), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The policy over a grid of scenarios.")
    parser.add_argument(
        "--traces", type=Path, default=os.environ.get("WORKERPOOL_TRACES"), help="folder of the CSV files"
    )
    parser.add_argument("--quick", action="store_true", help="a part of the grid")
    parser.add_argument(
        "--drawn", type=int, default=0, metavar="N", help="N scenarios drawn with the seed instead of the grid"
    )
    parser.add_argument("--only", default="", help="scenarios with this in their name")
    parser.add_argument("--jobs-max", type=int, default=30_000, help="jobs in a scenario; its time is cut to that")
    parser.add_argument("--seed", type=int, default=1, help="other luck")
    parser.add_argument(
        "--rivals", type=Path, metavar="FILE", help="keep the others' scores there; delete it to run them anew"
    )
    parser.add_argument("--write", metavar="FILE", help="write the page there")
    options = parser.parse_args()
    options.traces = Path(options.traces) if options.traces else None
    return options


if __name__ == "__main__":
    main()
