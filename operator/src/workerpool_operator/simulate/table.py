"""The results as people read them, and as programs do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from workerpool_operator.simulate.load import Load
from workerpool_operator.simulate.score import GOAL, Score

COLUMNS = (
    "policy",
    "replica-seconds",
    "cost",
    "wait p50",
    "p95",
    "p99",
    "max",
    "in time",
    "size changes",
    "started",
    "killed busy",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What was simulated, for the head of the answer."""

    pool: str
    trace: str
    load: Load
    job_s: str
    startup_s: str
    target_s: float
    slots: int
    seed: int
    notes: tuple[str, ...] = ()


def text(question: Question, scores: Sequence[Score]) -> str:
    """A table, with what was asked above it and what the words mean below."""
    load, target_s = question.load, f"{question.target_s:g} s"
    jobs, busy = f"{len(load.arrivals_s):,} jobs of {question.job_s}", load.work_s / load.duration_s
    lines = [
        f"pool {question.pool}: {jobs} in {duration(load.duration_s)} ({question.trace}), {busy:.3g} running at a time",
        f"target {target_s}; a replica starts in {question.startup_s} s and runs {question.slots} at a time",
        "",
    ]
    rows = [COLUMNS, *(_row(score) for score in scores)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
    for row in rows:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *rest]))
    lines += ["", *(f"{score.name}: {score.setting}" for score in scores if score.setting)]
    lines += [_trouble(score) for score in scores if score.unfinished or score.busy_kills]
    lines.append(
        "cost: replica-seconds x slots / seconds of work; 1 is a pool that never idles. Waits in seconds. "
        f"In time: waited {target_s} at most; ! marks less than {GOAL:.0%}"
    )
    return "\n".join([*lines, *question.notes])


def as_json(question: Question, scores: Sequence[Score]) -> str:
    """One object. ``policies`` is a contract; ``details`` adds what the table shows beyond it."""
    load = question.load
    answer = {
        "pool": question.pool,
        "trace": question.trace,
        "jobs": len(load.arrivals_s),
        "duration_seconds": round(load.duration_s, 3),
        "job_seconds": question.job_s,
        "startup_seconds": question.startup_s,
        "target_seconds": question.target_s,
        "slots_per_replica": question.slots,
        "seed": question.seed,
        "policies": {score.name: score.contract() for score in scores},
        "details": {
            score.name: {
                "cost": round(score.cost, 4),
                "wait_max_s": None if score.wait_max_s is None else round(score.wait_max_s, 3),
                "lost_seconds": round(score.lost_s, 3),
                "unfinished_jobs": score.unfinished,
                "setting": score.setting,
            }
            for score in scores
        },
        "notes": list(question.notes),
    }
    return json.dumps(answer, indent=2)


def duration(seconds: float) -> str:
    """Some seconds in the unit people would use: ``45 s``, ``12 min``, ``26.4 h``, ``14 days``."""
    for unit, size in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _row(score: Score) -> tuple[str, ...]:
    return (
        score.name,
        f"{score.replica_s:,.0f}",
        f"{score.cost:.2f}",
        *(_number(value) for value in (score.wait_p50_s, score.wait_p95_s, score.wait_p99_s, score.wait_max_s)),
        f"{'' if score.meets else '! '}{_percent(score.within_target)}",
        *(_number(value) for value in (score.scale_events, score.pods_started, score.busy_kills)),
    )


def _percent(share: float) -> str:
    """Rounded down: 99.996% is not 100%."""
    return f"{int(share * 10_000) / 100:.2f}%"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _trouble(score: Score) -> str:
    said = []
    if score.busy_kills:
        said.append(f"busy replicas killed: {score.busy_kills}, work done again: {duration(score.lost_s)}")
    if score.unfinished:
        said.append(f"jobs never done: {score.unfinished}")
    return f"{score.name}: {'; '.join(said)}"
