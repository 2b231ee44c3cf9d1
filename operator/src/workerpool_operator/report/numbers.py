"""The numbers of one cycle as every report shows them: one place decides what is unknown. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from workerpool_operator.core.observation import Cause, InFlight, QueueDepth, Unavailable
from workerpool_operator.ports import CycleRecord, OutcomeKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """One cycle of one pool in plain numbers. None is "could not be read" and is never shown as 0.

    ``ready`` is None as soon as one queue could not be read: a part of a sum is not the sum. ``oldest_job_s`` is the
    age in seconds of the oldest waiting job that is known of, None when nothing waits or nothing could be read.
    """

    time_s: float
    ready: int | None
    running: int | None
    scheduled: int | None
    oldest_job_s: float | None
    current: int
    target: int
    reason: str
    message: str
    busy: int | None
    ready_replicas: int
    leaving: int
    minimum: int
    maximum: int


def numbers(record: CycleRecord) -> Numbers:
    """The numbers of a record."""
    seen, decision = record.observation, record.decision
    queues_known = all(isinstance(queue, QueueDepth) for queue in seen.queues.values())
    in_flight = seen.in_flight if isinstance(seen.in_flight, InFlight) else None
    return Numbers(
        time_s=seen.time_s,
        ready=seen.ready if queues_known else None,
        running=in_flight.running if in_flight else None,
        scheduled=in_flight.scheduled if in_flight else None,
        oldest_job_s=seen.oldest_job_s,
        current=decision.current,
        target=decision.target,
        reason=decision.reason.value,
        message=decision.message,
        busy=seen.replicas.busy,
        ready_replicas=seen.replicas.ready,
        leaving=seen.replicas.leaving,
        minimum=record.spec.min_replicas,
        maximum=record.spec.max_replicas,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """Something wrong with a pool. ``kind`` tells two troubles apart; the text's wording may change while it lasts."""

    kind: str
    text: str


def troubles(record: CycleRecord) -> tuple[Trouble, ...]:
    """What is wrong with a pool, in the order of its queues; a first reading under way is not trouble.

    A broker that is away is said once, not once a queue.
    """
    found: dict[str, Trouble] = {}
    for name, part in (*record.observation.queues.items(), ("", record.observation.in_flight)):
        if isinstance(part, Unavailable) and part.cause is not Cause.NOT_YET_READ:
            trouble = _unreadable(name, part)
            found.setdefault(trouble.kind, trouble)
    if record.outcome.kind in (OutcomeKind.FAILED, OutcomeKind.CONFLICT):
        kind = record.outcome.kind.value
        found[kind] = Trouble(kind=kind, text=f"scaling {kind.lower()}: {record.outcome.message}")
    return tuple(found.values())


_ABOUT_ONE_QUEUE = frozenset({Cause.WRONG_TYPE, Cause.NO_PERMISSION})


def _unreadable(queue: str, part: Unavailable) -> Trouble:
    if queue and part.cause in _ABOUT_ONE_QUEUE:
        return Trouble(kind=f"{part.cause.value} {queue}", text=f"queue {queue}: {part.message}")
    return Trouble(kind=part.cause.value, text=part.message)
