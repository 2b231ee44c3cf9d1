"""The picture: for each policy its replicas over the work there was, and how long jobs waited, against the target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workerpool_operator.simulate.contenders import Result
from workerpool_operator.simulate.errors import SimulateError
from workerpool_operator.simulate.load import Load
from workerpool_operator.simulate.score import quantile
from workerpool_operator.simulate.table import Question

WORK, SIZE, LONGEST, TYPICAL, TARGET = "#d9d9d9", "#1f5fa8", "#f2b78a", "#b8551a", "#a3263b"
BINS = 240


def check_plot(path: Path) -> None:
    """Make sure that a picture can be made and written there, before minutes are spent.

    Raises:
        SimulateError: matplotlib is not installed, or the folder is not there.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - half a second, and an extra that need not be installed
    except ImportError:
        raise SimulateError("--plot needs matplotlib: pip install matplotlib") from None
    mpl.use("Agg")
    if not path.absolute().parent.is_dir():
        raise SimulateError(f"--plot: the folder of {path} does not exist")
    if path.suffix.lower() not in {".png", ".svg", ".pdf"}:
        raise SimulateError(f"--plot: {path}: name it .png, .svg or .pdf")


def draw(question: Question, results: Mapping[str, Result], path: Path) -> None:
    """Write the picture.

    Raises:
        SimulateError: it cannot be written there.
    """
    from matplotlib import pyplot as plt  # noqa: PLC0415

    shown = [result for result in results.values() if result.outcome is not None]
    figure, rows = plt.subplots(
        len(shown),
        2,
        figsize=(13, 1.9 * len(shown) + 1.3),
        sharex=True,
        sharey="col",
        squeeze=False,
        layout="constrained",
    )
    unit_s, unit = _unit(question.load.duration_s)
    work = _work(question)
    for number, (row, result) in enumerate(zip(rows, shown, strict=True)):
        _sizes(row[0], question, result, work, unit_s, first=number == 0)
        _waits(row[1], question, result, unit_s, first=number == 0)
    most = max(_largest(result) for result in shown)
    rows[0][0].set_ylim(0, max(most, 2) * 1.08)
    for axis in rows[-1]:
        axis.set_xlabel(f"{unit} since the beginning")
    oracle = results.get("oracle")
    least = f"; with foresight no schedule costs less than {oracle.score.cost:.2f}" if oracle else ""
    figure.suptitle(
        f"{question.pool}: {len(question.load.arrivals_s):,} jobs of {question.job_s}, target {question.target_s:g} s"
        f"  (cost 1 = never idle{least})",
        x=0.01, ha="left", fontsize=12, fontweight="bold",
    )  # fmt: skip
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise SimulateError(f"--plot: {path} cannot be written: {error.strerror}") from error
    finally:
        plt.close(figure)


def _largest(result: Result) -> int:
    course = result.outcome.course if result.outcome else []
    return max([moment.current for moment in course], default=result.score.pods_started or 0)


def _unit(duration_s: float) -> tuple[float, str]:
    for unit_s, unit in ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")):
        if duration_s >= 3 * unit_s:
            return unit_s, unit
    return 1.0, "seconds"


def _work(question: Question) -> list[float]:
    """The replicas that the arriving work would keep busy, in each stretch of time."""
    load, sums = question.load, [0.0] * BINS
    step_s = load.duration_s / BINS
    for at_s, service_s in zip(load.arrivals_s, load.services_s, strict=True):
        sums[_bin(at_s, load)] += service_s
    return [seconds / step_s / question.slots for seconds in sums]


def _bin(at_s: float, load: Load) -> int:
    return min(BINS - 1, int(at_s / load.duration_s * BINS))


def _sizes(axis: Any, question: Question, result: Result, work: list[float], unit_s: float, *, first: bool) -> None:
    score, load = result.score, question.load
    edges = [n * load.duration_s / BINS / unit_s for n in range(BINS)]
    axis.fill_between(edges, 0, work, step="post", color=WORK, linewidth=0)
    course = result.outcome.course if result.outcome else []
    times = [moment.time_s / unit_s for moment in course]
    sizes = [moment.current for moment in course]
    if not times:  # a size that never changes is never asked for
        times, sizes = [0.0, load.duration_s / unit_s], [score.pods_started or 0] * 2
    axis.step(times, sizes, where="post", color=SIZE, linewidth=1.1)
    verdict = f"{score.within_target:.1%} in time" if score.meets else f"MISSES: {score.within_target:.1%} in time"
    axis.set_title(f"{score.name}: cost {score.cost:.2f}, {verdict}", loc="left", fontsize=10, fontweight="bold")
    axis.set_xlim(0, load.duration_s / unit_s)
    axis.yaxis.get_major_locator().set_params(integer=True)
    if first:
        axis.set_title("replicas", loc="right", fontsize=9, color=SIZE)
        _label(axis, 0.99, 0.95, "grey: replicas the arriving work keeps busy", "#707070")
    _tidy(axis)


def _waits(axis: Any, question: Question, result: Result, unit_s: float, *, first: bool) -> None:
    score, load = result.score, question.load
    waits: list[list[float]] = [[] for _ in range(BINS)]
    for at_s, wait_s in zip(load.arrivals_s, result.outcome.waits_s if result.outcome else [], strict=True):
        waits[_bin(at_s, load)].append(wait_s)
    edges = [n * load.duration_s / BINS / unit_s for n in range(BINS)]
    longest = [max(some) if some else math.nan for some in waits]
    typical = [quantile(sorted(some), 0.5) if some else math.nan for some in waits]
    axis.fill_between(edges, 0, longest, step="post", color=LONGEST, linewidth=0)
    axis.step(edges, typical, where="post", color=TYPICAL, linewidth=1.0)
    axis.axhline(question.target_s, color=TARGET, linewidth=1.1, linestyle="--")
    axis.set_ylim(0, question.target_s * 2)
    over = f"; longest {score.wait_max_s:,.0f} s" if (score.wait_max_s or 0) > question.target_s * 2 else ""
    axis.set_title(f"seconds a job waits{over}" if first or over else "", loc="left", fontsize=9, color=TYPICAL)
    if first:
        _label(axis, 0.99, 0.95, "area: the longest, line: the median", TYPICAL)
        _label(axis, 0.01, 0.56, f"target {question.target_s:g} s", TARGET, side="left")
    _tidy(axis)


def _label(axis: Any, x: float, y: float, words: str, color: str, *, side: str = "right") -> None:
    axis.text(
        x, y, words, transform=axis.transAxes, ha=side, va="top", fontsize=8, color=color,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1},
    )  # fmt: skip


def _tidy(axis: Any) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
