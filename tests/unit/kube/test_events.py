"""Which events there are, and how few of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.report.records import AWAY, EMAIL, START_S, make_record
from workerpool_operator.core.decision import Reason
from workerpool_operator.core.observation import Allotment, Cause, QueueDepth, Unavailable
from workerpool_operator.kube.events import (
    BURST,
    EventMemory,
    EventToSend,
    Severity,
    admit,
    cautions_event,
    event_body,
    events_for,
    events_for_problems,
)
from workerpool_operator.kube.problems import secret_missing, target_not_found
from workerpool_operator.ports import Outcome, OutcomeKind

pytestmark = pytest.mark.unit

QUIET = make_record(current=2)
AWAY_RECORD = make_record(ready=AWAY, running=AWAY)
NOTHING_YET = Unavailable(cause=Cause.NOT_YET_READ, message="not read so far")
GONE = secret_missing("spec.broker.urlSecretRef", secret="redis")


def reasons(events: list[EventToSend]) -> list[str]:
    return [f"{event.type} {event.reason}" for event in events]


def test_a_scaling_says_from_where_to_where_and_why() -> None:
    record = make_record(current=0, target=4, reason=Reason.WORK_WAITING, message="35 waiting at 10 per replica: 4")
    (event,) = events_for(record, None)
    assert reasons([event]) == ["Normal ScaledUp"]
    assert event.message == "scaled from 0 to 4: WorkWaiting: 35 waiting at 10 per replica: 4"
    assert reasons(events_for(make_record(current=4, target=1), record)) == ["Normal ScaledDown"]


def test_a_cycle_in_which_nothing_happens_has_no_event() -> None:
    assert events_for(QUIET, QUIET) == events_for(QUIET, None) == []


def test_pools_that_begin_to_disagree_on_their_budget_are_told_once() -> None:
    found = Allotment(
        budget="db", replicas=2, share=2, used=2, max_replicas=5, pools=2, disagreement="5 in order, 8 in email"
    )
    record = replace(QUIET, observation=replace(QUIET.observation, allotment=found))
    agreed = replace(QUIET, observation=replace(QUIET.observation, allotment=replace(found, disagreement="")))
    for previous in (None, QUIET, agreed):
        (event,) = events_for(record, previous)
        assert (event.type, event.reason, event.message) == ("Warning", "Caution", "budget db: 5 in order, 8 in email")
    assert events_for(record, record) == events_for(agreed, record) == []


@pytest.mark.parametrize("kind", [OutcomeKind.CONFLICT, OutcomeKind.FAILED])
def test_a_scaling_that_did_not_work_is_told_once(kind: OutcomeKind) -> None:
    record = make_record(current=1, target=2, outcome=Outcome(kind=kind, message="an HPA does it"))
    (event,) = events_for(record, QUIET)
    assert reasons([event]) == [f"Warning Scale{'Conflict' if kind is OutcomeKind.CONFLICT else 'Failed'}"]
    assert event.message == "not scaled from 1 to 2: an HPA does it"
    assert events_for(record, record) == []


def test_a_broker_that_goes_and_comes_back() -> None:
    (lost,) = events_for(AWAY_RECORD, QUIET)
    assert reasons([lost]) == ["Warning BrokerUnreadable"]
    assert lost.message.startswith("Unreachable: redis://localhost:6379 refuses")
    assert events_for(AWAY_RECORD, AWAY_RECORD) == []
    loading = make_record(ready=Unavailable(cause=Cause.LOADING, message="still loading"))
    assert [event.message for event in events_for(loading, AWAY_RECORD)] == ["Loading: still loading"]
    assert reasons(events_for(QUIET, loading)) == ["Normal BrokerReadable"]
    assert events_for(make_record(ready=NOTHING_YET), AWAY_RECORD) == []
    assert events_for(QUIET, make_record(ready=NOTHING_YET)) == []


def test_queues_of_the_wrong_type_are_told_each() -> None:
    def record(*wrong: str) -> list[EventToSend]:
        queues: dict[str, QueueDepth | Unavailable] = {"email": QueueDepth(ready=0)}
        queues |= {name: Unavailable(cause=Cause.WRONG_TYPE, message="not a list") for name in wrong}
        return events_for(make_record(queues=queues), QUIET)

    assert [event.message for event in record("sms", "fax")] == [
        "WrongType sms: queue sms: not a list",
        "WrongType fax: queue fax: not a list",
    ]


def test_problems_come_and_go() -> None:
    assert reasons(events_for_problems((GONE,), ())) == ["Warning SecretMissing"]
    assert events_for_problems((GONE,), (GONE,)) == []
    both = events_for_problems((target_not_found("a"),), (GONE,))
    assert reasons(both) == ["Warning TargetNotFound", "Normal ProblemSolved"]
    assert both[1].message == "SecretMissing no more"
    assert reasons(events_for_problems((target_not_found("b"),), (target_not_found("a"),))) == [
        "Warning TargetNotFound"
    ]


def test_the_same_event_is_sent_once_in_five_minutes() -> None:
    event = cautions_event("books")
    memory, sent = admit(EventMemory(), [event, event], now_s=0)
    assert sent == (event,)
    memory, sent = admit(memory, [event], now_s=299)
    assert sent == ()
    _, sent = admit(memory, [event], now_s=300)
    assert sent == (event,)


def event(number: int, kind: Severity) -> EventToSend:
    return EventToSend(type=kind, reason="ScaledUp", message=f"scaled to {number}")


@given(st.lists(st.tuples(st.floats(0, 60), st.booleans()), max_size=300))
def test_a_pool_sends_no_more_than_its_share(steps: list[tuple[float, bool]]) -> None:
    memory, now_s, sent = EventMemory(), 0.0, dict.fromkeys(Severity, 0)
    for number, (wait_s, is_warning) in enumerate(steps):
        now_s += wait_s
        kind = Severity.WARNING if is_warning else Severity.NORMAL
        memory, admitted = admit(memory, [event(number, kind)], now_s=now_s)
        sent[kind] += len(admitted)
        assert len(memory.sent_s) <= 2 * (BURST + 11)
    assert all(count <= BURST + now_s / 30 for count in sent.values())


def test_a_pool_that_scales_all_the_time_still_warns() -> None:
    memory, sent = admit(EventMemory(), [event(number, Severity.NORMAL) for number in range(99)], now_s=0)
    assert len(sent) == BURST
    _, sent = admit(memory, [event(0, Severity.WARNING)], now_s=0)
    assert len(sent) == 1


def test_the_body_names_the_pool_and_the_same_event_once() -> None:
    first = event(1, Severity.NORMAL)
    body = event_body(first, EMAIL, uid="u", time_s=START_S, instance="operator-1")
    assert body == event_body(first, EMAIL, uid="u", time_s=START_S, instance="operator-1")
    assert body["involvedObject"]["uid"] == "u"
    assert body["firstTimestamp"] == "2023-11-14T22:13:20Z"
    other = event_body(event(2, Severity.NORMAL), EMAIL, uid="u", time_s=START_S, instance="operator-1")
    assert other["metadata"]["name"] != body["metadata"]["name"]
    assert len(cautions_event("x" * 5_000).message) == 1_024
