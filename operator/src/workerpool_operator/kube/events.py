"""Kubernetes Events of a pool: what ``kubectl describe`` tells of its past. Not one a poll: one when something happens.

:func:`events_for` compares a cycle with the one before it, :func:`events_for_problems` the problems, and
:func:`admit` bounds what is sent. Pure: memory goes in and comes out, time is an argument.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from workerpool_operator.core.observation import Cause
from workerpool_operator.kube.names import FIELD_MANAGER, selector_labels
from workerpool_operator.kube.problems import Problem, in_order
from workerpool_operator.kube.status import timestamp
from workerpool_operator.ports import CycleRecord, OutcomeKind, PoolKey
from workerpool_operator.report.numbers import Trouble, troubles
from workerpool_operator.resource.model import API_VERSION, KIND

LONGEST_MESSAGE: Final = 1024
"""What the API server takes."""

SAME_AGAIN_S: Final = 300.0
"""The same event is sent once in this time."""

BURST: Final = 20
REFILL_S: Final = 30.0
"""At most ``BURST`` events of a severity at once, and then one in this time."""


class EventReason(enum.StrEnum):
    """Reasons of events beside those of problems."""

    SCALED_UP = "ScaledUp"
    """The pool was made larger."""
    SCALED_DOWN = "ScaledDown"
    """The pool was made smaller."""
    SCALE_CONFLICT = "ScaleConflict"
    """The size was not changed, for somebody else changes it too."""
    SCALE_FAILED = "ScaleFailed"
    """The size could not be changed."""
    BROKER_UNREADABLE = "BrokerUnreadable"
    """A queue or the whole broker cannot be read any more; the size is held."""
    BROKER_READABLE = "BrokerReadable"
    """All queues are read again."""
    PROBLEM_SOLVED = "ProblemSolved"
    """A problem that was told of is gone."""
    CAUTION = "Caution"
    """The pool runs, and something about it is likely not meant so."""


class Severity(enum.StrEnum):
    """The types of events."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, kw_only=True, slots=True)
class EventToSend:
    """One event, not yet sent."""

    type: Severity
    reason: str
    message: str


def events_for(record: CycleRecord, previous: CycleRecord | None) -> list[EventToSend]:
    """What happened in a cycle, compared with the pool's cycle before it; None: there was none in this process."""
    events = []
    decision, outcome = record.decision, record.outcome
    if outcome.kind is OutcomeKind.APPLIED and decision.direction != "none":
        reason = EventReason.SCALED_UP if decision.direction == "up" else EventReason.SCALED_DOWN
        text = f"scaled from {decision.current} to {decision.target}: {decision.reason.value}: {decision.message}"
        text += f" ({outcome.message})" if outcome.message else ""
        events.append(_event(Severity.NORMAL, reason, text))
    if outcome.kind in _FAILURES and (previous is None or previous.outcome.kind is not outcome.kind):
        text = f"not scaled from {decision.current} to {decision.target}: {outcome.message}"
        events.append(_event(Severity.WARNING, _FAILURES[outcome.kind], text))
    return events + _broker_events(record, previous) + _budget_events(record, previous)


_FAILURES: Final = {
    OutcomeKind.CONFLICT: EventReason.SCALE_CONFLICT,
    OutcomeKind.FAILED: EventReason.SCALE_FAILED,
}


def _broker_events(record: CycleRecord, previous: CycleRecord | None) -> list[EventToSend]:
    now = _unreadable(record)
    before = _unreadable(previous) if previous is not None else {}
    events = [
        _event(Severity.WARNING, EventReason.BROKER_UNREADABLE, f"{kind}: {trouble.text}")
        for kind, trouble in now.items()
        if kind not in before
    ]
    waiting = any(part.cause is Cause.NOT_YET_READ for part in record.observation.unavailable)
    if before and not now and not waiting:
        events.append(_event(Severity.NORMAL, EventReason.BROKER_READABLE, "all queues are read again"))
    return events


def _budget_events(record: CycleRecord, previous: CycleRecord | None) -> list[EventToSend]:
    """A caution when the pools of a budget begin to disagree: what this pool says may not be in force."""
    now = record.observation.allotment
    before = previous.observation.allotment if previous is not None else None
    if now is None or now.disagreement in ("", before.disagreement if before is not None else ""):
        return []
    return [_event(Severity.WARNING, EventReason.CAUTION, f"budget {now.budget}: {now.disagreement}")]


def _unreadable(record: CycleRecord) -> dict[str, Trouble]:
    """What cannot be read, by what tells two troubles apart; how the scaling went is told on its own."""
    about_scaling = {kind.value for kind in _FAILURES}
    return {trouble.kind: trouble for trouble in troubles(record) if trouble.kind not in about_scaling}


def events_for_problems(problems: Sequence[Problem], previous: Sequence[Problem]) -> list[EventToSend]:
    """A warning for each problem that is new or reads differently, a line for each kind that is gone."""
    before, now = set(previous), {problem.kind for problem in problems}
    gone = dict.fromkeys(problem.kind for problem in in_order(previous) if problem.kind not in now)
    return [
        _event(Severity.WARNING, problem.kind, problem.message)
        for problem in in_order(problems)
        if problem not in before
    ] + [_event(Severity.NORMAL, EventReason.PROBLEM_SOLVED, f"{kind.value} no more") for kind in gone]


def cautions_event(text: str) -> EventToSend:
    """The event for one of :func:`workerpool_operator.kube.render_env.cautions`."""
    return _event(Severity.WARNING, EventReason.CAUTION, text)


def _event(kind: Severity, reason: enum.StrEnum, message: str) -> EventToSend:
    return EventToSend(type=kind, reason=reason.value, message=message[:LONGEST_MESSAGE])


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """How many events of a severity may be sent at ``time_s``."""

    tokens: float = float(BURST)
    time_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EventMemory:
    """What is remembered of a pool's events: those of late, and what may still be sent. Safe to lose."""

    sent_s: tuple[tuple[EventToSend, float], ...] = ()
    buckets: tuple[tuple[Severity, Bucket], ...] = ()


def admit(
    memory: EventMemory, events: Iterable[EventToSend], *, now_s: float
) -> tuple[EventMemory, tuple[EventToSend, ...]]:
    """Drop events that were sent lately and those beyond the pool's share.

    Warnings and the rest have shares of their own: a pool that scales all the time still tells that its broker is gone.

    Args:
        memory: What this function returned for the pool the last time.
        events: What happened.
        now_s: Seconds, on a clock that does not run backwards.

    Returns:
        The memory for the next time, and the events to send.
    """
    sent = {event: at_s for event, at_s in memory.sent_s if now_s - at_s < SAME_AGAIN_S}
    buckets = dict(memory.buckets)
    admitted = []
    for event in events:
        bucket = _refilled(buckets.get(event.type, Bucket()), now_s)
        if event not in sent and bucket.tokens >= 1:
            admitted.append(event)
            sent[event] = now_s
            bucket = Bucket(tokens=bucket.tokens - 1, time_s=now_s)
        buckets[event.type] = bucket
    return EventMemory(sent_s=tuple(sent.items()), buckets=tuple(buckets.items())), tuple(admitted)


def _refilled(bucket: Bucket, now_s: float) -> Bucket:
    passed_s = 0.0 if bucket.time_s is None else max(0.0, now_s - bucket.time_s)
    return Bucket(tokens=min(float(BURST), bucket.tokens + passed_s / REFILL_S), time_s=now_s)


def event_body(event: EventToSend, key: PoolKey, *, uid: str, time_s: float, instance: str) -> dict[str, Any]:
    """The Event to create, of ``v1``, which every tool shows.

    Args:
        event: What happened.
        key: The pool it happened to.
        uid: The pool's identity on the API server.
        time_s: When, in Unix seconds; with the text it makes the name, so the same event is created once.
        instance: Which operator tells it.
    """
    text = f"{uid}/{event.type.value}/{event.reason}/{event.message}"
    tail = f"{int(time_s * 1_000_000):x}.{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    moment = timestamp(time_s)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{key.name}.{tail}", "namespace": key.namespace, "labels": selector_labels(key.name)},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": key.namespace,
            "name": key.name,
            "uid": uid,
        },
        "type": event.type.value,
        "reason": event.reason,
        "message": event.message,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": instance[:128],
    }
