"""What holds of a pool: a table of situations, and what is written of each."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from tests.unit.report.records import AWAY, START_S, make_record
from workerpool_operator.core.decision import Reason
from workerpool_operator.core.observation import ActiveSchedule, Allotment, Cause, QueueDepth, Unavailable
from workerpool_operator.core.spec import Fallback, PoolSpec
from workerpool_operator.kube.conditions import STEADY, verdicts
from workerpool_operator.kube.problems import (
    DeploymentState,
    Problem,
    ProblemKind,
    deployment_problems,
    foreign_deployment,
    invalid_spec,
    secret_key_missing,
    secret_missing,
    target_autoscaled,
    target_not_found,
    target_shared,
)
from workerpool_operator.kube.status import timestamp
from workerpool_operator.ports import CycleRecord, Outcome, OutcomeKind

pytestmark = pytest.mark.unit

NOTHING_YET = Unavailable(cause=Cause.NOT_YET_READ, message="not read so far")
WRONG = Unavailable(cause=Cause.WRONG_TYPE, message="key email is not a list")
KEY = secret_key_missing("spec.broker.urlSecretRef", secret="redis", key="url")
STUCK = Problem(kind=ProblemKind.ROLLOUT_STUCK, message="stuck")


def limited(*limits: Reason, reason: Reason = Reason.WORK_WAITING, **more: Any) -> CycleRecord:
    record = make_record(reason=reason, **more)
    return dataclasses.replace(record, decision=record.decision._replace(limits=limits))


def failed(kind: OutcomeKind) -> CycleRecord:
    return make_record(current=1, target=2, outcome=Outcome(kind=kind, message="why"))


SITUATIONS: dict[str, tuple[CycleRecord | None, tuple[Problem, ...], str]] = {
    "all well": (make_record(), (), "True Operational, True Connected, True Idle, False WithinBounds"),
    "nothing read": (None, (), "Unknown NotYetRead, Unknown NotYetRead, Unknown NotYetRead, Unknown NotYetRead"),
    "first reading": (
        make_record(ready=NOTHING_YET, running=NOTHING_YET, reason=Reason.BROKER_UNREADABLE),
        (),
        "Unknown NotYetRead, Unknown NotYetRead, Unknown NotYetRead, Unknown NotYetRead",
    ),
    "broker away": (
        make_record(ready=AWAY, running=AWAY, reason=Reason.BROKER_UNREADABLE),
        (),
        "False BrokerUnreadable, False Unreachable, False BrokerUnreadable, False WithinBounds",
    ),
    "broker away while others are not read yet": (
        make_record(ready=NOTHING_YET, running=AWAY, reason=Reason.BROKER_UNREADABLE),
        (),
        "False BrokerUnreadable, False Unreachable, False BrokerUnreadable, False WithinBounds",
    ),
    "fallback": (
        make_record(ready=AWAY, reason=Reason.FALLBACK),
        (),
        "False BrokerUnreadable, False Unreachable, False Fallback, False WithinBounds",
    ),
    "pinned": (
        limited(Reason.AT_MAXIMUM, reason=Reason.PINNED),
        (),
        "True Operational, True Connected, False Pinned, False WithinBounds",
    ),
    "paused": (
        limited(Reason.AT_MAXIMUM, reason=Reason.PAUSED),
        (),
        "True Operational, True Connected, False Paused, False WithinBounds",
    ),
    "limited": (
        limited(Reason.STEP_LIMITED, Reason.AT_MAXIMUM, reason=Reason.AT_MAXIMUM),
        (),
        "True Operational, True Connected, True AtMaximum, True AtMaximum",
    ),
    "conflict": (
        failed(OutcomeKind.CONFLICT),
        (),
        "True Operational, True Connected, False ScaleConflict, False WithinBounds",
    ),
    "failed": (
        failed(OutcomeKind.FAILED),
        (),
        "False ScaleFailed, True Connected, False ScaleFailed, False WithinBounds",
    ),
    "invalid": (
        None,
        (invalid_spec(["spec.minReplicas: is more than maxReplicas"]),),
        "False InvalidSpec, Unknown InvalidSpec, False InvalidSpec, Unknown InvalidSpec",
    ),
    "secret": (
        None,
        (secret_missing("spec.broker.urlSecretRef", secret="redis"),),
        "False SecretMissing, False SecretMissing, False SecretMissing, Unknown SecretMissing",
    ),
    "key": (
        None,
        (KEY,),
        "False SecretKeyMissing, False SecretKeyMissing, False SecretKeyMissing, Unknown SecretKeyMissing",
    ),
    "foreign": (
        make_record(),
        (foreign_deployment("email"),),
        "False ForeignDeployment, True Connected, False ForeignDeployment, Unknown ForeignDeployment",
    ),
    "stuck rollout": (
        make_record(),
        (STUCK,),
        "False RolloutStuck, True Connected, True Idle, False WithinBounds",
    ),
    "the gravest first": (
        None,
        (STUCK, KEY, target_not_found("mailer")),
        "False SecretKeyMissing, False SecretKeyMissing, False SecretKeyMissing, Unknown SecretKeyMissing",
    ),
}


@pytest.mark.parametrize(("record", "problems", "expected"), SITUATIONS.values(), ids=SITUATIONS)
def test_a_situation_has_its_conditions(
    record: CycleRecord | None, problems: tuple[Problem, ...], expected: str
) -> None:
    assert ", ".join(f"{one.status} {one.reason}" for one in verdicts(record, problems)) == expected


def test_a_queue_of_the_wrong_type_is_named() -> None:
    queues: dict[str, QueueDepth | Unavailable] = {"email": QueueDepth(ready=1), "sms": WRONG}
    _, broker, _, _ = verdicts(make_record(queues=queues, reason=Reason.BROKER_UNREADABLE), ())
    assert (broker.reason, broker.message) == ("WrongType", "queue sms: key email is not a list")


@pytest.mark.parametrize("reason", Reason)
def test_what_is_said_of_a_reason_does_not_change_with_the_numbers(reason: Reason) -> None:
    spec = PoolSpec(pinned_replicas=3, fallback=Fallback(replicas=4))
    texts = set()
    for ready, current in itertools.product((0, 9, 999), (1, 17)):
        record = make_record(ready=ready, current=current, reason=reason, message=f"{ready} of {current}", spec=spec)
        texts.add(STEADY[reason](record))
    assert len(texts) == 1
    assert all(texts)


def test_a_schedule_is_named() -> None:
    record = make_record(reason=Reason.SCHEDULED_MINIMUM)
    schedules = (ActiveSchedule(name="black-friday", min_replicas=5),)
    record = dataclasses.replace(record, observation=dataclasses.replace(record.observation, schedules=schedules))
    assert "black-friday" in STEADY[Reason.SCHEDULED_MINIMUM](record)


def test_a_pool_that_its_budget_limits_names_the_budget() -> None:
    found = Allotment(budget="db", replicas=2, share=2, used=6, max_replicas=6, pools=3)
    record = limited(Reason.BUDGET_EXHAUSTED, reason=Reason.BUDGET_EXHAUSTED)

    def said(allotment: Allotment) -> set[tuple[str, str]]:
        told = dataclasses.replace(record, observation=dataclasses.replace(record.observation, allotment=allotment))
        return {(one.reason, one.message) for one in verdicts(told, ())[2:]}

    text = "budget db of 6 replicas, shared with 2 other pools, allows no more"
    assert said(found) == said(dataclasses.replace(found, share=1, used=5)) == {("BudgetExhausted", text)}
    assert said(dataclasses.replace(found, disagreement="they disagree")) == {
        ("BudgetExhausted", f"{text}; they disagree")
    }
    assert said(dataclasses.replace(found, pools=1)) == {("BudgetExhausted", "budget db of 6 replicas allows no more")}


def test_problems_name_what_they_are_about() -> None:
    assert "secret redis has no key url" in KEY.message
    assert "WorkerPool older" in target_shared("mailer", pool="older").message
    assert "HorizontalPodAutoscaler cpu" in target_autoscaled("mailer", autoscaler="cpu").message
    assert len(verdicts(None, (invalid_spec(["x" * 5_000]),))[0].message) == 1_024


def state(kind: str, status: str, *, age_s: float = 0.0, message: str = "") -> DeploymentState:
    since = timestamp(START_S - age_s)
    return DeploymentState(
        replicas=2,
        ready=0,
        conditions=({"type": kind, "status": status, "message": message, "lastTransitionTime": since},),
    )


DEPLOYMENTS: dict[str, tuple[DeploymentState | None, list[ProblemKind]]] = {
    "none": (None, []),
    "quota": (state("ReplicaFailure", "True", message="exceeded quota"), [ProblemKind.REPLICA_FAILURE]),
    "rollout": (state("Progressing", "False"), [ProblemKind.ROLLOUT_STUCK]),
    "just started": (state("Available", "False", age_s=60), []),
    "not ready": (state("Available", "False", age_s=121), [ProblemKind.REPLICAS_NOT_READY]),
    "available": (state("Available", "True", age_s=500), []),
    "no time": (DeploymentState(replicas=1, ready=0, conditions=({"type": "Available", "status": "False"},)), []),
    "rubbish": (
        DeploymentState(
            replicas=1,
            ready=0,
            conditions=({"type": "Available", "status": "False", "lastTransitionTime": "today"},),
        ),
        [],
    ),
}


@pytest.mark.parametrize(("deployment", "expected"), DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_a_deployment_tells_of_its_pods(deployment: DeploymentState | None, expected: list[ProblemKind]) -> None:
    found = deployment_problems(deployment, name="email", now_s=START_S)
    assert [problem.kind for problem in found] == expected


def test_why_pods_cannot_be_created_is_passed_on() -> None:
    deployment = state("ReplicaFailure", "True", message="exceeded quota: pods=3")
    assert "exceeded quota: pods=3" in deployment_problems(deployment, name="email", now_s=START_S)[0].message
