"""The whole status of a pool, and how often it is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.report.records import AWAY, START_S, make_record
from workerpool_operator.core.decision import Reason
from workerpool_operator.core.observation import Cause, Unavailable
from workerpool_operator.kube.problems import DeploymentState, Problem, secret_missing
from workerpool_operator.kube.status import coarse, coarse_age_s, project, scaled_at_s, timestamp, worth_writing
from workerpool_operator.ports import CycleRecord
from workerpool_operator.resource.status import Status

pytestmark = pytest.mark.unit

GONE = secret_missing("spec.broker.urlSecretRef", secret="redis")


def status_of(
    record: CycleRecord | None,
    *,
    at_s: float = 0.0,
    previous: dict[str, Any] | None = None,
    generation: int = 1,
    problems: tuple[Problem, ...] = (),
    scaled_s: float | None = None,
) -> dict[str, Any]:
    current = record.decision.target if record is not None else 0
    status = project(
        record,
        name="email",
        generation=generation,
        selector="workerpool.dev/pool=email",
        previous=previous,
        problems=problems,
        deployment=DeploymentState(replicas=current, ready=current),
        now_s=START_S + at_s,
        scaled_s=scaled_s,
    )
    Status.model_validate_json(json.dumps(status))
    return status


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in status["conditions"] if one["type"] == kind)
    return found


class Writer:
    """What becomes of a pool's status on the API server."""

    def __init__(self) -> None:
        self.written: dict[str, Any] | None = None
        self.times_s: list[float] = []

    def see(self, record: CycleRecord, at_s: float) -> None:
        new = status_of(record, at_s=at_s, previous=self.written)
        last_s = self.times_s[-1] if self.times_s else None
        if worth_writing(self.written, new, last_written_s=last_s, now_s=at_s):
            self.written = new
            self.times_s.append(at_s)


def test_the_whole_status() -> None:
    record = make_record(ready=1234, oldest_job_s=47.2, running=3, scheduled=2, current=1, target=4)
    status = status_of(record)
    conditions = status.pop("conditions")
    assert status == {
        "observedGeneration": 1,
        "selector": "workerpool.dev/pool=email",
        "replicas": 4,
        "readyReplicas": 4,
        "desiredReplicas": 4,
        "lastScaleTime": "2023-11-14T22:13:20Z",
        "backlog": {"ready": 1200, "running": 3, "scheduled": 2, "oldestJobSeconds": 30},
    }
    assert [one["type"] for one in conditions] == ["Ready", "BrokerReachable", "ScalingActive", "ScalingLimited"]
    assert {one["observedGeneration"] for one in conditions} == {1}


def test_what_is_unknown_is_left_out_and_never_zero() -> None:
    before = status_of(make_record(ready=40, running=3))
    assert "backlog" not in status_of(make_record(ready=AWAY, running=AWAY), previous=before)
    assert status_of(make_record(ready=AWAY, running=3), previous=before)["backlog"] == {"running": 3, "scheduled": 0}
    broken = status_of(None, previous=before, problems=(GONE,))
    assert "backlog" not in broken
    assert broken["desiredReplicas"] == before["desiredReplicas"]


def test_a_transition_has_its_time_and_keeps_it() -> None:
    first = status_of(make_record())
    later = status_of(make_record(ready=3, reason=Reason.WORK_WAITING), at_s=60, previous=first)
    assert condition(later, "ScalingActive")["reason"] == "WorkWaiting"
    assert condition(later, "ScalingActive")["lastTransitionTime"] == timestamp(START_S)
    away = status_of(make_record(ready=AWAY), at_s=90, previous=later)
    assert condition(away, "BrokerReachable")["lastTransitionTime"] == timestamp(START_S + 90)


def test_numbers_in_a_message_are_no_news_but_names_are() -> None:
    def away(text: str) -> CycleRecord:
        return make_record(ready=Unavailable(cause=Cause.TIMEOUT, message=text))

    first = status_of(away("redis-1:6379 did not answer for 3.2 s (try 4)"))
    assert status_of(away("redis-1:6379 did not answer for 17 s (try 9)"), previous=first) == first
    other = status_of(away("redis-2:6379 did not answer for 17 s (try 9)"), previous=first)
    assert "redis-2" in condition(other, "BrokerReachable")["message"]
    new_spec = status_of(away("redis-1:6379 did not answer for 17 s (try 9)"), previous=first, generation=2)
    assert "17 s" in condition(new_spec, "BrokerReachable")["message"]


def test_a_scaling_whose_write_has_to_wait_is_still_told() -> None:
    scaled = make_record(at_s=1, current=1, target=4)
    assert status_of(make_record(at_s=3, current=4), scaled_s=scaled_at_s(scaled))["lastScaleTime"] == timestamp(
        START_S + 1
    )
    assert scaled_at_s(make_record(current=4)) is None


def test_a_status_that_anybody_may_have_written_is_survived() -> None:
    for rubbish in ({"conditions": 3}, {"conditions": [7, {}]}, {"backlog": [1]}, {"conditions": [{"type": "Ready"}]}):
        assert status_of(make_record(), previous=dict(rubbish))["conditions"]


def test_a_process_that_has_just_started_does_not_write_that_it_knows_nothing() -> None:
    written = status_of(make_record(ready=3))
    assert not worth_writing(written, status_of(None, previous=written), last_written_s=None, now_s=0)
    assert worth_writing(written, status_of(None, previous=written, generation=2), last_written_s=None, now_s=0)
    assert worth_writing(None, status_of(None), last_written_s=None, now_s=0)


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    written, new = status_of(make_record()), status_of(make_record(ready=3))
    assert worth_writing(written, new, last_written_s=1_000, now_s=10)
    assert not worth_writing(written, new, last_written_s=1_000, now_s=1_001.9)
    assert worth_writing(written, new, last_written_s=1_000, now_s=1_002)


@given(
    ready=st.integers(0, 100_000),
    running=st.integers(0, 500),
    reason=st.sampled_from(list(Reason)),
    noise=st.lists(st.floats(0, 1e6), min_size=3, max_size=3),
)
def test_an_unchanged_situation_is_written_once_an_hour_long(
    ready: int, running: int, reason: Reason, noise: list[float]
) -> None:
    writer = Writer()
    for second in range(0, 3_600, 60):
        text = f"{noise[second % 3]:.1f} s left of {second} s"
        writer.see(make_record(at_s=second, ready=ready, running=running, reason=reason, message=text), second)
    assert len(writer.times_s) == 1


def test_an_outage_of_an_hour_is_written_once_however_its_text_counts() -> None:
    writer = Writer()
    for second in range(3_600):
        away = Unavailable(cause=Cause.TIMEOUT, message=f"no answer for {second / 3:.1f} s")
        writer.see(make_record(at_s=second, ready=away, running=away, reason=Reason.BROKER_UNREADABLE), second)
    assert len(writer.times_s) == 1


def test_a_job_that_is_stuck_for_an_hour_is_told_a_few_times() -> None:
    writer = Writer()
    for second in range(3_600):
        writer.see(make_record(at_s=second, ready=5, oldest_job_s=second), second)
    assert len(writer.times_s) == 11


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 20), st.sampled_from(list(Reason))), max_size=120))
def test_a_busy_pool_is_written_every_two_seconds_at_most_and_its_end_always(
    cycles: list[tuple[int, int, Reason]],
) -> None:
    writer = Writer()
    for number, (ready, current, reason) in enumerate(cycles):
        writer.see(make_record(at_s=number / 4, ready=ready, current=current, reason=reason), number / 4)
    end_s = len(cycles) / 4
    gaps = [later - earlier for earlier, later in zip(writer.times_s, writer.times_s[1:], strict=False)]
    assert all(gap >= 2 for gap in gaps)
    settled = make_record(at_s=end_s, ready=0, current=0)
    for number in range(9):
        writer.see(settled, end_s + number / 4)
    assert writer.written == status_of(settled, at_s=end_s + 2, previous=writer.written)
    assert writer.written is not None
    assert writer.written["backlog"] == {"ready": 0, "running": 0, "scheduled": 0}


@given(st.integers(0, 10**9), st.one_of(st.none(), st.integers(0, 10**9)))
def test_a_coarse_number_is_about_right_and_zero_only_for_zero(number: int, before: int | None) -> None:
    shown = coarse(number, before)
    assert (shown == 0) == (number == 0)
    assert shown == number if number < 10 else abs(shown - number) <= number / 3
    assert coarse(number, shown) == shown


def test_ages_are_on_a_ladder() -> None:
    assert [coarse_age_s(age) for age in (0, 4.9, 5, 59, 60, 119, 3_599, 10**7)] == [0, 0, 5, 30, 60, 60, 1_800, 86_400]
