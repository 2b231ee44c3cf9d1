"""The status of a pool from one cycle's record, and whether it tells enough to be written. Pure: time is an argument.

``previous`` is the status on the object: times of transitions live on in it, and numbers that are still about right::

    new = project(record, previous=written, ...)
    if worth_writing(written, new, last_written_s=..., now_s=...):
        put it in place as a whole: what is unknown now is left out, and has to go from the object

A status is written when it tells something new, at most every two seconds, and not at all while nothing changes. What
comes too soon is not lost: the next cycle finds that it differs still.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, Final

from workerpool_operator.core.observation import Cause, InFlight, QueueDepth
from workerpool_operator.kube.conditions import ConditionType, Verdict, verdicts
from workerpool_operator.kube.problems import DeploymentState, Problem, deployment_problems
from workerpool_operator.ports import CycleRecord, OutcomeKind

Body = dict[str, Any]
Known = Mapping[str, Any]

SHORTEST_INTERVAL_S: Final = 2.0
"""A pool's status is written at most once in this time."""

_EXACT_BELOW: Final = 10
_BAND: Final = 0.25
_AGES_S: Final = (5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 57600, 86400)


def project(
    record: CycleRecord | None,
    *,
    name: str,
    generation: int,
    selector: str,
    previous: Known | None,
    problems: tuple[Problem, ...] = (),
    deployment: DeploymentState | None,
    now_s: float,
    scaled_s: float | None = None,
) -> Body:
    """The whole status of a pool; what is not known is left out.

    Args:
        record: The last cycle with the spec of this generation, None when there was none.
        name: Name of the Deployment that is scaled.
        generation: ``metadata.generation`` of the pool that was looked at.
        selector: Selects the pool's pods, as text; empty when it is not known.
        previous: The status before this one.
        problems: What is wrong beside what the record and the Deployment tell.
        deployment: The Deployment's own status, None when there is none.
        now_s: Unix time in seconds.
        scaled_s: When this process changed the size last, in Unix seconds. Without it a scaling is seen only in its own
            cycle's record, and missed when the write has to wait for the next.
    """
    before = previous if isinstance(previous, Mapping) else {}
    problems += deployment_problems(deployment, name=name, now_s=now_s)
    status: Body = {
        "observedGeneration": generation,
        "selector": selector or None,
        "replicas": 0 if deployment is None else deployment.replicas,
        "readyReplicas": 0 if deployment is None else deployment.ready,
        "desiredReplicas": before.get("desiredReplicas") if record is None else record.decision.target,
        "lastScaleTime": _last_scale_time(record, before, scaled_s),
        "backlog": _backlog(record, before) if record is not None else None,
        "conditions": _conditions(verdicts(record, problems), before, generation=generation, now_s=now_s),
    }
    return {key: value for key, value in status.items() if value is not None and value != {}}


def worth_writing(written: Known | None, new: Known, *, last_written_s: float | None, now_s: float) -> bool:
    """Whether to write a status now.

    Args:
        written: The status on the object, None or empty when there is none.
        new: The status now.
        last_written_s: When it was written last by this process, None when it was not.
        now_s: Now, on the same clock.
    """
    if not written:
        return True
    if new == written:
        return False
    if _knows_nothing_yet(new) and written.get("observedGeneration") == new.get("observedGeneration"):
        return False
    # A clock that was set back must not silence a pool.
    return last_written_s is None or not 0 <= now_s - last_written_s < SHORTEST_INTERVAL_S


def _knows_nothing_yet(status: Known) -> bool:
    """A process that has just started has nothing to add to what the one before it found."""
    ready = _by_type(status).get(ConditionType.READY.value, {})
    return bool(ready.get("reason") == Cause.NOT_YET_READ.value)


def scaled_at_s(record: CycleRecord) -> float | None:
    """When a cycle changed the pool's size, in Unix seconds; None when it did not."""
    moved = record.outcome.kind is OutcomeKind.APPLIED and record.decision.direction != "none"
    return record.observation.time_s if moved else None


def _last_scale_time(record: CycleRecord | None, before: Known, scaled_s: float | None) -> Any:
    known_s = scaled_at_s(record) if record is not None else None
    known_s = scaled_s if known_s is None else known_s
    return before.get("lastScaleTime") if known_s is None else timestamp(known_s)


def _backlog(record: CycleRecord, before: Known) -> Body:
    """The jobs, coarse; what could not be read is left out: a part of a sum is not the sum."""
    seen = record.observation
    old = before.get("backlog")
    old = old if isinstance(old, Mapping) else {}
    backlog: Body = {}
    if all(isinstance(queue, QueueDepth) for queue in seen.queues.values()):
        backlog["ready"] = coarse(seen.ready, old.get("ready"))
        if seen.oldest_job_s is not None:
            backlog["oldestJobSeconds"] = coarse_age_s(seen.oldest_job_s)
    if isinstance(seen.in_flight, InFlight):
        backlog["running"] = coarse(seen.in_flight.running, old.get("running"))
        backlog["scheduled"] = coarse(seen.in_flight.scheduled, old.get("scheduled"))
    return backlog


def coarse(number: int, before: object = None) -> int:
    """A count as a status has it: exact below 10, else two digits, and steady while it stays within a quarter.

    Never 0 for what is not 0.
    """
    if number < _EXACT_BELOW:
        return number
    if isinstance(before, int) and before >= _EXACT_BELOW and abs(number - before) <= _BAND * before:
        return before
    unit = int(10 ** (len(str(number)) - 2))
    return round(number / unit) * unit


def coarse_age_s(age_s: float) -> int:
    """An age on a ladder whose steps grow, rounded down: a job that is stuck for an hour is told of eleven times."""
    return max((step for step in _AGES_S if step <= age_s), default=0)


def timestamp(time_s: float) -> str:
    """A Unix time as Kubernetes writes it, in whole seconds: ``2026-01-31T12:00:00Z``."""
    return f"{dt.datetime.fromtimestamp(int(time_s), tz=dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _conditions(now: tuple[Verdict, ...], before: Known, *, generation: int, now_s: float) -> list[Body]:
    known = _by_type(before)
    return [_condition(one, known.get(one.type.value, {}), generation=generation, now_s=now_s) for one in now]


def _condition(verdict: Verdict, before: Known, *, generation: int, now_s: float) -> Body:
    since, message = before.get("lastTransitionTime"), verdict.message
    kept = before.get("status") == verdict.status.value and isinstance(since, str)
    is_same = kept and before.get("reason") == verdict.reason and before.get("observedGeneration") == generation
    old = before.get("message")
    if is_same and verdict.noisy and isinstance(old, str) and _without_numbers(old) == _without_numbers(message):
        message = old
    return {
        "type": verdict.type.value,
        "status": verdict.status.value,
        "reason": verdict.reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": since if kept else timestamp(now_s),
    }


# Numbers that stand alone ("after 3.2 s", "(12%)"), not those in names and addresses ("redis-1:6379").
_NUMBER: Final = re.compile(r"(?<![\w.:/-])\d+(?:\.\d+)?(?![\w:/-]|\.\w)")


def _without_numbers(text: str) -> str:
    return _NUMBER.sub("#", text)


def _by_type(status: Known) -> dict[str, Known]:
    """The conditions of a status that may have been written by anybody."""
    conditions = status.get("conditions")
    if not isinstance(conditions, (list, tuple)):
        return {}
    return {str(one.get("type")): one for one in conditions if isinstance(one, Mapping)}
