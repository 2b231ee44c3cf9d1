"""The picture of a demo: backlog and replicas over time, one panel a pool."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workerpool_operator.demo.recorder import Moment, Recorder

BACKLOG, RUNNING, DESIRED, READY, MARK = "#f6cf9f", "#d9843b", "#1f5fa8", "#3d8fdc", "#a3263b"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """Something that happened, drawn as a line: ``until_s`` makes it a span."""

    time_s: float
    label: str
    until_s: float | None = None


def draw(recorder: Recorder, marks: Sequence[Mark], *, start_s: float, title: str, path: Path) -> None:
    """Write the picture as a PNG.

    Raises:
        OSError: It cannot be written there.
    """
    # Imported here: half a second that only the end of a demo has to spend
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    pools = sorted(recorder.course)
    figure, panels = plt.subplots(
        len(pools), 1, sharex=True, figsize=(11, 2.4 * len(pools) + 1.1), squeeze=False, layout="constrained"
    )
    handles: dict[str, Any] = {}
    for panel, pool in zip(panels[:, 0], pools, strict=True):
        handles |= _panel(panel, pool, recorder.course[pool], marks, start_s)
    panels[-1, 0].set_xlabel("seconds since the start")
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    figure.legend(handles.values(), handles.keys(), loc="upper right", ncols=len(handles), fontsize=9, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(jobs: Any, pool: str, course: Sequence[Moment], marks: Sequence[Mark], start_s: float) -> dict[str, Any]:
    """Draw one pool: jobs as areas on the left axis, replicas as steps on the right one; returns the legend's parts."""
    times = [moment.time_s - start_s for moment in course]
    running = [_number(moment.running) for moment in course]
    whole = [_number(moment.backlog) + _number(moment.running) for moment in course]
    jobs.fill_between(times, running, whole, step="post", color=BACKLOG, linewidth=0, label="jobs waiting")
    jobs.fill_between(times, 0, running, step="post", color=RUNNING, linewidth=0, label="jobs running")
    jobs.set_ylim(0, max([*(count for count in whole if not math.isnan(count)), 4]) * 1.3)
    jobs.set_xlim(0, max(times, default=1))
    jobs.set_ylabel("jobs", color=RUNNING)
    jobs.set_title(pool, loc="left", fontsize=11, fontweight="bold")
    jobs.spines["top"].set_visible(False)
    replicas = jobs.twinx()
    desired = [moment.desired for moment in course]
    ready = [moment.ready for moment in course]
    replicas.step(times, ready, where="post", color=READY, linewidth=1.6, linestyle=(0, (2, 1)), label="replicas ready")
    replicas.step(times, desired, where="post", color=DESIRED, linewidth=1.8, label="replicas wanted")
    replicas.set_ylim(0, max([*desired, 3]) * 1.3)
    replicas.yaxis.get_major_locator().set_params(integer=True)
    replicas.set_ylabel("replicas", color=DESIRED)
    replicas.spines["top"].set_visible(False)
    _marks(jobs, marks, start_s)
    parts = [axis.get_legend_handles_labels() for axis in (jobs, replicas)]
    return {label: handle for handles, labels in parts for handle, label in zip(handles, labels, strict=True)}


def _marks(axis: Any, marks: Sequence[Mark], start_s: float) -> None:
    for mark in marks:
        at = mark.time_s - start_s
        if mark.until_s is None:
            axis.axvline(at, color=MARK, linewidth=1, linestyle="--")
        else:
            axis.axvspan(at, mark.until_s - start_s, color=MARK, alpha=0.12, linewidth=0)
        axis.annotate(
            mark.label,
            (at, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -4),
            textcoords="offset points",
            va="top",
            fontsize=8,
            color=MARK,
        )


def _number(value: int | None) -> float:
    """Unknown leaves a gap in the picture; it is not drawn as zero."""
    return float("nan") if value is None else float(value)
