"""The options of ``workerpool simulate``. What they do is in ``run.py``, imported when it is asked for."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import click


def _positive(_context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Refuse what no time and no factor can be, not-a-number and infinity included."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter("must be a number above 0", param=parameter)
    return value


@click.command()
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    help="YAML with the WorkerPool; - reads standard input.",
)
@click.option("--pool", metavar="NAME", help="Which pool, where the YAML or a log has several.")
@click.option(
    "--trace",
    required=True,
    metavar="TRACE",
    help="A file: CSV of timestamp,count or of one arrival a line, a log of `workerpool local --log`, "
    "a Prometheus range as JSON. Or poisson(rate=5,hours=1), bursts(rate=20,on=60,off=240,hours=1), "
    "flash(rate=1,factor=50,lasting=60,hours=1), daynight(low=1,high=10,hours=24).",
)
@click.option(
    "--job-seconds",
    required=True,
    metavar="LENGTHS",
    help="How long jobs run: a number, lognormal(mean=2,cv=1), exponential(mean=2), pareto(mean=2,alpha=1.5), "
    "uniform(low=1,high=3), drift(lognormal(mean=1,cv=1),from=1,to=10), mix(fixed(1),90,fixed(30),10).",
)
@click.option(
    "--startup-seconds",
    default="5",
    show_default=True,
    metavar="LENGTHS",
    help="How long a replica takes until it serves: a number or as above.",
)
@click.option(
    "--window-seconds",
    type=float,
    callback=_positive,
    metavar="N",
    help="How long a row of a CSV of counts lasts. [default: as its timestamps say]",
)
@click.option(
    "--speedup",
    type=float,
    default=1.0,
    show_default=True,
    callback=_positive,
    metavar="Y",
    help="Replay so many times as fast: the same jobs in less time.",
)
@click.option(
    "--scale",
    type=float,
    default=1.0,
    show_default=True,
    callback=_positive,
    metavar="X",
    help="So many times the jobs.",
)
@click.option(
    "--rate", type=float, callback=_positive, metavar="R", help="In place of --scale: so many jobs a second on average."
)
@click.option(
    "--target-seconds",
    type=float,
    callback=_positive,
    metavar="N",
    help="How long a job may wait. [default: the pool's queueLatencySeconds]",
)
@click.option(
    "--slots",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="How many jobs a replica runs at a time. [default: the pool's worker.concurrency]",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Another seed is another run of luck; the same one gives the same figures.",
)
@click.option(
    "--against",
    default="keda,keda-tuned,hpa,static,oracle",
    show_default=True,
    metavar="NAMES",
    help="What to compare with.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Draw it: .png, .svg or .pdf."
)
def simulate(
    *,
    files: tuple[str, ...],
    pool: str | None,
    trace: str,
    job_seconds: str,
    startup_seconds: str,
    window_seconds: float | None,
    speedup: float,
    scale: float,
    rate: float | None,
    target_seconds: float | None,
    slots: int | None,
    seed: int,
    against: str,
    as_json: bool,
    plot: Path | None,
) -> None:
    """What would this pool cost, and how long would its jobs wait? In virtual time; nothing is started.

    The policy is the one that runs in production, asked at the same pace, with the same delayed knowledge.

    Exit status: 0 well, 2 when something was wrong with what was given.
    """
    from workerpool_operator.simulate.run import SimulateArguments, run_simulate  # noqa: PLC0415 - only this command

    arguments = SimulateArguments(
        files=files,
        pool=pool,
        trace=trace,
        job_seconds=job_seconds,
        startup_seconds=startup_seconds,
        window_s=window_seconds,
        speedup=speedup,
        scale=scale,
        rate=rate,
        target_s=target_seconds,
        slots=slots,
        seed=seed,
        against=against,
        as_json=as_json,
        plot=plot,
    )
    sys.exit(run_simulate(arguments))
