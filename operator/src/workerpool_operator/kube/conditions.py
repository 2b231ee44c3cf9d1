"""What holds of a pool and what does not: four conditions, from one cycle's record and the problems around it. Pure.

Messages are steady: a text with a number that changes at every poll would be written at every poll. What a decision
says in detail is in the log, the metrics and the events.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from workerpool_operator.core.decision import Reason
from workerpool_operator.core.observation import Cause, Unavailable
from workerpool_operator.kube.problems import Problem, ProblemKind, blocking, in_order
from workerpool_operator.ports import CycleRecord, OutcomeKind
from workerpool_operator.resource.status import ConditionStatus

LONGEST_MESSAGE: Final = 1024


class ConditionType(enum.StrEnum):
    """The conditions of a pool, in the order in which they are listed."""

    READY = "Ready"
    BROKER_REACHABLE = "BrokerReachable"
    SCALING_ACTIVE = "ScalingActive"
    SCALING_LIMITED = "ScalingLimited"


class ConditionReason(enum.StrEnum):
    """Reasons of conditions beside those of decisions, of unreadable brokers, and of problems."""

    OPERATIONAL = "Operational"
    """The pool is read and scaled, and nothing is wrong with it."""
    CONNECTED = "Connected"
    """All queues of the pool are read."""
    WITHIN_BOUNDS = "WithinBounds"
    """The pool has the size that its work asks for."""
    SCALE_CONFLICT = "ScaleConflict"
    """The size was not changed, for somebody else changes it too."""
    SCALE_FAILED = "ScaleFailed"
    """The size could not be changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One condition as it is now. ``noisy``: numbers that stand alone in the message may differ without being news."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str
    noisy: bool = False


def verdicts(record: CycleRecord | None, problems: tuple[Problem, ...]) -> tuple[Verdict, ...]:
    """All conditions of a pool, in order.

    Args:
        record: The pool's last cycle, None when there was none with its present spec.
        problems: What is wrong beside what the record tells.
    """
    problems = in_order(problems)
    broker = _broker(record, problems)
    active = _active(record, problems)
    return _ready(record, problems, broker, active), broker, active, _limited(record, problems)


def _ready(record: CycleRecord | None, problems: tuple[Problem, ...], broker: Verdict, active: Verdict) -> Verdict:
    kind = ConditionType.READY
    if problems:
        return _no(kind, problems[0].kind, "; ".join(problem.message for problem in problems))
    if broker.status is ConditionStatus.FALSE:
        return _no(kind, Reason.BROKER_UNREADABLE, broker.message, noisy=broker.noisy)
    if active.reason == ConditionReason.SCALE_FAILED:
        return _no(kind, active.reason, active.message, noisy=True)
    if record is None or broker.status is ConditionStatus.UNKNOWN:
        return _unknown(kind)
    return _yes(kind, ConditionReason.OPERATIONAL, "the pool is read and scaled")


def _broker(record: CycleRecord | None, problems: tuple[Problem, ...]) -> Verdict:
    kind = ConditionType.BROKER_REACHABLE
    found = blocking(problems, kind.value)
    if found is not None:
        return _no(kind, found.kind, found.message)
    if any(problem.kind is ProblemKind.INVALID_SPEC for problem in problems):
        return _unknown(kind, ProblemKind.INVALID_SPEC, "the spec is not valid: the broker is not looked at")
    if record is None:
        return _unknown(kind)
    unavailable = record.observation.unavailable
    for part in unavailable:
        if part.cause is not Cause.NOT_YET_READ:
            return _no(kind, part.cause, _which(record, part), noisy=True)
    return _unknown(kind) if unavailable else _yes(kind, ConditionReason.CONNECTED, "all queues of the pool are read")


def _which(record: CycleRecord, part: Unavailable) -> str:
    """What could not be read, with the queue where it is that queue's own trouble."""
    if part.cause in (Cause.WRONG_TYPE, Cause.NO_PERMISSION):
        for name, queue in record.observation.queues.items():
            if queue is part:
                return f"queue {name}: {part.message}"
    return part.message


def _active(record: CycleRecord | None, problems: tuple[Problem, ...]) -> Verdict:
    kind = ConditionType.SCALING_ACTIVE
    found = blocking(problems, kind.value)
    if found is not None:
        return _no(kind, found.kind, found.message)
    if record is None:
        return _unknown(kind)
    if record.outcome.kind is OutcomeKind.FAILED:
        return _no(kind, ConditionReason.SCALE_FAILED, record.outcome.message, noisy=True)
    if record.outcome.kind is OutcomeKind.CONFLICT:
        return _no(kind, ConditionReason.SCALE_CONFLICT, record.outcome.message, noisy=True)
    reason = record.decision.reason
    if reason is Reason.BROKER_UNREADABLE and _only_not_yet_read(record):
        return _unknown(kind)
    message = STEADY[reason](record)
    return _no(kind, reason, message, noisy=True) if reason in NOT_BY_LOAD else _yes(kind, reason, message)


def _limited(record: CycleRecord | None, problems: tuple[Problem, ...]) -> Verdict:
    kind = ConditionType.SCALING_LIMITED
    found = blocking(problems, ConditionType.SCALING_ACTIVE.value)
    if found is not None:
        return _unknown(kind, found.kind, "the pool is not scaled: see ScalingActive")
    if record is None or _only_not_yet_read(record):
        return _unknown(kind)
    # What is pinned or paused was limited by nothing but that, whatever the rules before said.
    limits = () if record.decision.reason in (Reason.PINNED, Reason.PAUSED) else record.decision.limits
    if limits:
        return _yes(kind, limits[-1], STEADY[limits[-1]](record))
    return Verdict(
        type=kind,
        status=ConditionStatus.FALSE,
        reason=ConditionReason.WITHIN_BOUNDS.value,
        message="no bound keeps the pool from the size that is wanted",
    )


def _only_not_yet_read(record: CycleRecord) -> bool:
    unavailable = record.observation.unavailable
    return bool(unavailable) and all(part.cause is Cause.NOT_YET_READ for part in unavailable)


NOT_BY_LOAD: Final = frozenset({Reason.PINNED, Reason.PAUSED, Reason.BROKER_UNREADABLE, Reason.FALLBACK})
"""Reasons under which the size does not follow the load: ScalingActive is False."""


def _schedules(record: CycleRecord) -> str:
    names = ", ".join(schedule.name for schedule in record.observation.schedules) or "in force"
    return f"the minimum of schedule {names} holds"


def _unreadable(record: CycleRecord) -> str:
    parts = record.observation.unavailable
    return f"the size is held: {parts[0].message}" if parts else "the size is held: something could not be read"


def _fallback(record: CycleRecord) -> str:
    fallback = record.spec.fallback
    size = "" if fallback is None else f" of {fallback.replicas} replicas"
    return f"the broker cannot be read: the fallback{size} applies"


def _budget(record: CycleRecord) -> str:
    found = record.observation.allotment
    if found is None:
        return "the budget that the pool shares allows no more"
    others = found.pools - 1
    shared = f", shared with {others} other pool{'s' if others > 1 else ''}," if others else ""
    text = f"budget {found.budget} of {found.max_replicas} replicas{shared} allows no more"
    return f"{text}; {found.disagreement}" if found.disagreement else text


def _fixed(text: str) -> Callable[[CycleRecord], str]:
    return lambda _record: text


STEADY: Final[Mapping[Reason, Callable[[CycleRecord], str]]] = {
    Reason.WORK_WAITING: _fixed("the jobs that wait and run ask for this size"),
    Reason.LATENCY_TARGET: _fixed("fewer replicas would let jobs wait longer than queueLatencySeconds"),
    Reason.KEEPING_UP: _fixed("as many replicas are busy on average: fewer would fall behind"),
    Reason.DUE_WORK: _fixed("scheduled jobs come due soon"),
    Reason.STRANDED_WORK: _fixed("jobs of workers that are gone need a worker that brings them back"),
    Reason.IDLE: _fixed("nothing waits, runs or comes due"),
    Reason.SCHEDULED_MINIMUM: _schedules,
    Reason.PINNED: lambda record: f"spec.replicas pins {record.spec.pinned_replicas}; remove it to scale by load",
    Reason.PAUSED: _fixed("spec.scaling.paused holds the size"),
    Reason.FALLBACK: _fallback,
    Reason.BROKER_UNREADABLE: _unreadable,
    Reason.STABILIZING: _fixed("another size is wanted, and waits for the stabilisation window to agree"),
    Reason.STEP_LIMITED: lambda record: f"at most {record.spec.scale_up.max_replicas_per_step} more in one step",
    Reason.AT_MINIMUM: lambda record: f"minReplicas holds {record.spec.min_replicas}",
    Reason.AT_MAXIMUM: lambda record: f"the work asks for more than maxReplicas, {record.spec.max_replicas}",
    Reason.BUDGET_EXHAUSTED: _budget,
    Reason.BUSY_WORKERS: _fixed("fewer are wanted, and workers that hold a job are waited for"),
}
"""What a condition says of each reason of a decision: nothing that changes while the situation does not."""


def _yes(kind: ConditionType, reason: enum.StrEnum, message: str) -> Verdict:
    return Verdict(type=kind, status=ConditionStatus.TRUE, reason=reason.value, message=message[:LONGEST_MESSAGE])


def _no(kind: ConditionType, reason: str, message: str, *, noisy: bool = False) -> Verdict:
    text = message[:LONGEST_MESSAGE]
    return Verdict(type=kind, status=ConditionStatus.FALSE, reason=str(reason), message=text, noisy=noisy)


def _unknown(
    kind: ConditionType, reason: str = Cause.NOT_YET_READ, message: str = "nothing was read so far"
) -> Verdict:
    return Verdict(type=kind, status=ConditionStatus.UNKNOWN, reason=str(reason), message=message)
