"""One decision explained: the numbers that went in, the rules one by one, what came of it. Pure.

:func:`explanation` makes the JSON object that the operator and local mode serve as ``/explain/<namespace>/<name>``;
:mod:`~workerpool_operator.report.explain_text` makes text of it. Its keys are a contract (docs/explain.md), but for
what is inside ``learnt`` and ``spec``: those hold whatever the core has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workerpool_operator.core.decision import Reason, RuleOutcome, Wish
from workerpool_operator.core.observation import InFlight, Observation, QueueDepth, Unavailable
from workerpool_operator.core.policy import RULES
from workerpool_operator.ports import CycleRecord, PoolKey
from workerpool_operator.report.numbers import numbers
from workerpool_operator.report.plain import plain

Json = dict[str, Any]

SCHEMA_VERSION = 1
"""Grows when a key goes or changes its meaning; keys may be added without that."""

DUE_SHOWN = 10
"""So many of the scheduled jobs are told with their time."""

NEXT: Mapping[Reason, str] = {
    Reason.WORK_WAITING: "it follows the backlog: more jobs or fewer change it",
    Reason.LATENCY_TARGET: "it follows what waits and how old the oldest job is",
    Reason.KEEPING_UP: "it shrinks as soon as fewer are busy on average",
    Reason.DUE_WORK: "the scheduled jobs come due; then they count as waiting",
    Reason.STRANDED_WORK: "a worker that starts brings the jobs back; look why the workers before it died",
    Reason.IDLE: "it wakes for the first job that waits, comes due or is stranded",
    Reason.SCHEDULED_MINIMUM: "it may shrink below when the schedule ends",
    Reason.PINNED: "it stays until spec.replicas is removed",
    Reason.PAUSED: "it stays until spec.scaling.paused is false",
    Reason.FALLBACK: "it follows the work again as soon as everything can be read",
    Reason.BROKER_UNREADABLE: "it follows the work again as soon as everything can be read",
    Reason.STABILIZING: "it moves when the window agrees: in the seconds that the message says, unless more work comes",
    Reason.STEP_LIMITED: "the rest comes with the next decisions; maxReplicasPerStep bounds each",
    Reason.AT_MINIMUM: "it grows with the work; minReplicas keeps it from going lower",
    Reason.AT_MAXIMUM: "it shrinks with the work; raise maxReplicas, or let jobs wait longer",
    Reason.BUDGET_EXHAUSTED: "it grows when other pools of the budget need less, or the budget is raised",
    Reason.BUSY_WORKERS: "it shrinks when the busy workers are done with their jobs",
}
"""For each reason, what would change the size next."""


def explanation(
    record: CycleRecord,
    *,
    now_s: float,
    rest_s: float = 0.0,
    decided_by: str = "",
    change: CycleRecord | None = None,
) -> Json:
    """The decision as a JSON object; what could not be read is null, with the cause beside it.

    Args:
        record: The cycle.
        now_s: When this is asked, Unix seconds.
        rest_s: How often a pool at zero with nothing to do is decided, 0 where that is at every poll.
        decided_by: Which process decided.
        change: The last cycle that asked for another size than the pool had; None where none is known.
    """
    seen, decision, now = record.observation, record.decision, numbers(record)
    return {
        "schemaVersion": SCHEMA_VERSION,
        "pool": _key(record.key),
        "decidedBy": decided_by or None,
        "time": plain(seen.time_s),
        "ageSeconds": plain(max(0.0, now_s - seen.time_s)),
        "decision": {
            "current": decision.current,
            "target": decision.target,
            "direction": decision.direction,
            "reason": decision.reason.value,
            "message": decision.message,
            "demandReplicas": decision.demand_replicas,
            "limits": plain(decision.limits),
        },
        "totals": _totals(now.ready, now.running, now.scheduled, now.oldest_job_s),
        "queues": [_queue(name, queue) for name, queue in seen.queues.items()],
        "inFlight": _in_flight(seen.in_flight),
        "replicas": plain(seen.replicas),
        "schedules": plain(seen.schedules),
        "budget": _budget(seen),
        "learnt": plain(decision.history.measures.learnt()),
        "windows": {
            "down": [_wish(wish, seen.time_s) for wish in decision.history.down_wishes],
            "up": [_wish(wish, seen.time_s) for wish in decision.history.up_wishes],
        },
        "spec": plain(record.spec),
        "rules": chain(decision.current, decision.trace),
        "outcome": {"kind": record.outcome.kind.value, "message": record.outcome.message},
        "lastChange": None if change is None else _change(change, now_s),
        "next": {
            "hint": NEXT[decision.reason],
            "lookAgainSeconds": plain(decision.look_again_s),
            "restSeconds": rest_s if rest_s and _rests(seen, decision.target) else None,
        },
    }


def chain(current: int, trace: Sequence[RuleOutcome]) -> list[Json]:
    """Every rule in its order, those too that left the answer as it was."""
    heard = {outcome.rule: outcome for outcome in trace}
    later = [name for name, _ in RULES]
    names = [outcome.rule for outcome in trace if outcome.rule not in later] + later
    rows, size = [], current
    for name in names:
        outcome = heard.get(name)
        after = size if outcome is None else outcome.after
        rows.append(
            {
                "rule": name,
                "changed": outcome is not None,
                "before": size,
                "after": after,
                "reason": outcome.reason.value if outcome else None,
                "message": outcome.message if outcome else None,
            }
        )
        size = after
    return rows


def logged(line: Mapping[str, Any], *, now_s: float, change: Mapping[str, Any] | None = None) -> Json:
    """The same of a line of the decision log, which holds less; what it does not hold is null."""
    current, target, reason = line["current"], line["target"], Reason(line["reason"])
    trace = line.get("trace")
    outcome = line.get("outcome")
    return {
        "schemaVersion": SCHEMA_VERSION,
        "pool": {"namespace": line["namespace"], "name": line["pool"]},
        "decidedBy": None,
        "time": line["time"],
        "ageSeconds": plain(max(0.0, now_s - line["time"])),
        "decision": {
            "current": current,
            "target": target,
            "direction": "up" if target > current else "down" if target < current else "none",
            "reason": reason.value,
            "message": line["message"],
            "demandReplicas": trace[0]["after"] if trace else None,
            "limits": None,
        },
        "totals": _totals(line["ready"], line["running"], line["scheduled"], line["oldest_job_s"]),
        **dict.fromkeys(("queues", "inFlight", "replicas", "schedules", "budget", "learnt", "windows", "spec")),
        "rules": None if trace is None else chain(current, [_outcome(step) for step in trace]),
        "outcome": outcome,
        "lastChange": None if change is None else _logged_change(change, now_s),
        "next": {"hint": NEXT[reason], "lookAgainSeconds": None, "restSeconds": None},
    }


def logged_trace(trace: Sequence[RuleOutcome]) -> list[Json]:
    """The rules that changed something, as the decision log has them: what can be worked out is left out."""
    return [
        {"rule": step.rule, "after": step.after, "reason": step.reason.value, "message": step.message} for step in trace
    ]


def _outcome(step: Mapping[str, Any]) -> RuleOutcome:
    return RuleOutcome(
        rule=str(step["rule"]),
        before=0,  # the chain works it out
        after=int(step["after"]),
        reason=Reason(step["reason"]),
        message=str(step["message"]),
    )


def _change(record: CycleRecord, now_s: float) -> Json:
    decision, time_s = record.decision, record.observation.time_s
    return {
        "time": plain(time_s),
        "ageSeconds": plain(max(0.0, now_s - time_s)),
        "current": decision.current,
        "target": decision.target,
        "reason": decision.reason.value,
        "message": decision.message,
        "outcome": {"kind": record.outcome.kind.value, "message": record.outcome.message},
    }


def _logged_change(line: Mapping[str, Any], now_s: float) -> Json:
    same = {name: line[name] for name in ("time", "current", "target", "reason", "message")}
    return {**same, "ageSeconds": plain(max(0.0, now_s - line["time"])), "outcome": line.get("outcome")}


def _rests(seen: Observation, target: int) -> bool:
    """Whether a pool is at zero without any work, so that the operator decides it anew only now and then."""
    held, replicas = seen.in_flight, seen.replicas
    if seen.unavailable or not isinstance(held, InFlight):
        return False
    replicas_left = replicas.current + replicas.ready + replicas.leaving
    return not (target or replicas_left or seen.ready or held.running or held.scheduled or held.stranded)


def _key(key: PoolKey) -> Json:
    return {"namespace": key.namespace, "name": key.name}


def _totals(ready: int | None, running: int | None, scheduled: int | None, oldest_job_s: float | None) -> Json:
    return {"ready": ready, "running": running, "scheduled": scheduled, "oldestJobSeconds": plain(oldest_job_s)}


def _queue(name: str, queue: QueueDepth | Unavailable) -> Json:
    if isinstance(queue, Unavailable):
        return {"name": name, "ready": None, "oldestJobSeconds": None, "unavailable": plain(queue)}
    return {"name": name, **plain(queue), "unavailable": None}


def _in_flight(held: InFlight | Unavailable) -> Json:
    if isinstance(held, Unavailable):
        return {"unavailable": plain(held)}
    found: Json = {**plain(held), "unavailable": None}
    del found["dueInSeconds"]
    return {**found, "soonestDueSeconds": plain(held.due_in_s[:DUE_SHOWN])}


def _budget(seen: Observation) -> Json | None:
    return None if seen.allotment is None else {**plain(seen.allotment), "text": str(seen.allotment)}


def _wish(wish: Wish, now_s: float) -> Json:
    return {"agoSeconds": plain(max(0.0, now_s - wish.time_s)), "replicas": wish.replicas}
