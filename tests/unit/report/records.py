"""Records of cycles that never happened, for tests of what reports make of them."""

from __future__ import annotations

from workerpool_operator.core.decision import Decision, Reason
from workerpool_operator.core.observation import (
    Cause,
    InFlight,
    Observation,
    QueueDepth,
    Replicas,
    Unavailable,
)
from workerpool_operator.core.spec import PoolSpec
from workerpool_operator.ports import CycleRecord, Notice, NoticeKind, Outcome, OutcomeKind, PoolKey

START_S = 1_700_000_000.0
EMAIL = PoolKey(namespace="default", name="email")
AWAY = Unavailable(cause=Cause.UNREACHABLE, message="redis://localhost:6379 refuses connections: is Redis running?")
APPLIED = Outcome(kind=OutcomeKind.APPLIED)
UNCHANGED = Outcome(kind=OutcomeKind.UNCHANGED)


def make_record(
    *,
    at_s: float = 0.0,
    key: PoolKey = EMAIL,
    ready: int | Unavailable = 0,
    oldest_job_s: float | None = None,
    running: int | Unavailable = 0,
    scheduled: int = 0,
    current: int = 0,
    target: int | None = None,
    ready_replicas: int | None = None,
    busy: int | None = 0,
    reason: Reason = Reason.IDLE,
    message: str = "nothing waits, runs or comes due",
    outcome: Outcome | None = None,
    spec: PoolSpec | None = None,
    queues: dict[str, QueueDepth | Unavailable] | None = None,
) -> CycleRecord:
    """A record ``at_s`` seconds after the start; each argument is one thing that was seen or decided."""
    target = current if target is None else target
    depth = ready if isinstance(ready, Unavailable) else QueueDepth(ready=ready, oldest_job_s=oldest_job_s)
    flight = running if isinstance(running, Unavailable) else InFlight(running=running, scheduled=scheduled)
    return CycleRecord(
        key=key,
        spec=spec or PoolSpec(max_replicas=20),
        observation=Observation(
            time_s=START_S + at_s,
            replicas=Replicas(
                current=current, ready=current if ready_replicas is None else ready_replicas, busy=busy, leaving=0
            ),
            queues=queues if queues is not None else {"email": depth},
            in_flight=flight,
        ),
        decision=Decision(current=current, target=target, reason=reason, message=message, demand_replicas=target),
        outcome=outcome or (APPLIED if target != current else UNCHANGED),
        poll_duration_s=0.002,
    )


def make_notice(
    kind: NoticeKind = NoticeKind.REPLICA_CRASHED, message: str = "exited with 1", *, at_s: float = 0.0
) -> Notice:
    return Notice(time_s=START_S + at_s, key=EMAIL, kind=kind, message=message)
