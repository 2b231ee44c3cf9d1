from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.report.records import APPLIED, AWAY, EMAIL, UNCHANGED, make_record
from workerpool_operator.core.decision import Reason
from workerpool_operator.core.observation import Allotment, Cause, QueueDepth, Unavailable
from workerpool_operator.ports import CycleRecord, Outcome, OutcomeKind, PoolKey
from workerpool_operator.report import prometheus
from workerpool_operator.report.board import Board
from workerpool_operator.report.prometheus import Metrics

pytestmark = pytest.mark.unit

FAILED = Outcome(kind=OutcomeKind.FAILED, message="no")
POOL = {"namespace": "default", "pool": "email"}

CONTRACT = {
    "workerpool_queue_ready_jobs": ("gauge", {"namespace", "pool", "queue"}),
    "workerpool_queue_scheduled_jobs": ("gauge", {"namespace", "pool", "queue"}),
    "workerpool_queue_oldest_job_seconds": ("gauge", {"namespace", "pool", "queue"}),
    "workerpool_running_jobs": ("gauge", {"namespace", "pool"}),
    "workerpool_desired_replicas": ("gauge", {"namespace", "pool"}),
    "workerpool_max_replicas": ("gauge", {"namespace", "pool"}),
    "workerpool_replicas": ("gauge", {"namespace", "pool"}),
    "workerpool_ready_replicas": ("gauge", {"namespace", "pool"}),
    "workerpool_scale_events": ("counter", {"namespace", "pool", "direction", "reason"}),
    "workerpool_broker_up": ("gauge", {"namespace", "pool"}),
    "workerpool_broker_errors": ("counter", {"namespace", "pool", "kind"}),
    "workerpool_poll_duration_seconds": ("histogram", set[str]()),
    "workerpool_loop_lag_seconds": ("gauge", {"namespace", "pool"}),
    "workerpool_reaction_seconds": ("histogram", set[str]()),
    "workerpool_leader": ("gauge", set[str]()),
    "workerpool_budget_max_replicas": ("gauge", {"namespace", "budget"}),
    "workerpool_budget_used_replicas": ("gauge", {"namespace", "budget"}),
    "workerpool_problem": ("gauge", {"namespace", "pool", "reason"}),
}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


def sharing(record: CycleRecord, *, used: int) -> CycleRecord:
    """The same with a budget of 6 replicas."""
    allotment = Allotment(budget="db", replicas=2, share=2, used=used, max_replicas=6, pools=2)
    return replace(record, observation=replace(record.observation, allotment=allotment))


def _asking(at_s: float, outcome: Outcome, *, act_s: float = 0.0) -> CycleRecord:
    record = make_record(at_s=at_s, target=4, ready=38, reason=Reason.WORK_WAITING, outcome=outcome)
    return replace(record, act_duration_s=act_s)


def test_every_name_of_the_design_is_there_with_its_labels_and_a_help_text(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.leader = True
    metrics.record(make_record(ready=38, running=2, oldest_job_s=3.5, target=4, reason=Reason.WORK_WAITING))
    metrics.record(make_record(ready=AWAY, running=2))
    metrics.record(sharing(make_record(ready=38, oldest_job_s=3.5), used=3))
    metrics.problems(EMAIL, ["SecretMissing"], polled=True)
    found = {family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())}
    assert set(found) == set(CONTRACT)
    for name, (kind, labels) in CONTRACT.items():
        family = found[name]
        assert (family.type, family.documentation.endswith(".")) == (kind, True), name
        assert {frozenset(set(sample.labels) - {"le"}) for sample in family.samples} == {frozenset(labels)}, name


def test_values_are_those_of_the_last_cycle(metrics: Metrics, registry: CollectorRegistry) -> None:
    record = make_record(ready=38, running=2, oldest_job_s=3.5, scheduled=5, target=4, ready_replicas=1, current=2)
    metrics.record(make_record(ready=1))
    metrics.record(replace(record, lag_s=0.25))
    queue = {**POOL, "queue": "email"}
    assert registry.get_sample_value("workerpool_queue_ready_jobs", queue) == 38
    assert registry.get_sample_value("workerpool_queue_scheduled_jobs", queue) == 5
    assert registry.get_sample_value("workerpool_queue_oldest_job_seconds", queue) == 3.5
    values = {name: registry.get_sample_value(name, POOL) for name in CONTRACT}
    assert values["workerpool_running_jobs"] == 2
    assert values["workerpool_desired_replicas"] == 4
    assert values["workerpool_max_replicas"] == 20
    assert values["workerpool_replicas"] == 2
    assert values["workerpool_ready_replicas"] == 1
    assert values["workerpool_broker_up"] == 1
    assert values["workerpool_loop_lag_seconds"] == 0.25


def test_what_could_not_be_read_is_absent_and_counted(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.record(make_record(queues={"a": AWAY, "b": QueueDepth(ready=3)}, running=AWAY))
    assert registry.get_sample_value("workerpool_queue_ready_jobs", {**POOL, "queue": "a"}) is None
    assert registry.get_sample_value("workerpool_queue_ready_jobs", {**POOL, "queue": "b"}) == 3
    assert registry.get_sample_value("workerpool_running_jobs", POOL) is None
    assert registry.get_sample_value("workerpool_broker_up", POOL) == 0
    assert registry.get_sample_value("workerpool_broker_errors_total", {**POOL, "kind": "Unreachable"}) == 1
    assert registry.get_sample_value("workerpool_leader") is None


def test_a_first_reading_under_way_is_neither_up_nor_an_error(metrics: Metrics, registry: CollectorRegistry) -> None:
    wait = Unavailable(cause=Cause.NOT_YET_READ, message="")
    metrics.record(make_record(ready=wait, running=wait))
    assert registry.get_sample_value("workerpool_broker_up", POOL) is None
    assert registry.get_sample_value("workerpool_broker_errors_total", {**POOL, "kind": "NotYetRead"}) is None


def test_a_reaction_lasts_from_the_first_wish_to_the_answer(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.record(_asking(10.0, FAILED, act_s=9.0))
    metrics.record(_asking(11.0, FAILED))
    metrics.record(_asking(12.0, APPLIED, act_s=0.5))
    assert registry.get_sample_value("workerpool_reaction_seconds_count") == 1
    assert registry.get_sample_value("workerpool_reaction_seconds_sum") == 2.5
    assert registry.get_sample_value("workerpool_reaction_seconds_bucket", {"le": "2.5"}) == 1
    assert registry.get_sample_value("workerpool_reaction_seconds_bucket", {"le": "1.0"}) == 0
    events = {**POOL, "direction": "up", "reason": "WorkWaiting"}
    assert registry.get_sample_value("workerpool_scale_events_total", events) == 1


def test_a_wish_that_went_away_is_no_reaction(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.record(_asking(10.0, FAILED))
    metrics.record(make_record(at_s=11.0, outcome=UNCHANGED))
    metrics.record(_asking(100.0, APPLIED, act_s=0.25))
    assert registry.get_sample_value("workerpool_reaction_seconds_sum") == 0.25


def test_a_clock_set_back_makes_no_negative_time(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.record(_asking(100.0, FAILED))
    metrics.record(_asking(10.0, APPLIED, act_s=0.25))
    assert registry.get_sample_value("workerpool_reaction_seconds_sum") == 0.25


def test_a_budget_is_as_the_pool_that_was_decided_last_saw_it(metrics: Metrics, registry: CollectorRegistry) -> None:
    order, elsewhere = PoolKey(namespace="default", name="order"), PoolKey(namespace="test", name="email")
    metrics.record(sharing(make_record(at_s=2.0), used=5))
    metrics.record(sharing(make_record(at_s=1.0, key=order), used=3))
    metrics.record(sharing(make_record(at_s=9.0, key=elsewhere), used=1))
    here = {"namespace": "default", "budget": "db"}
    assert registry.get_sample_value("workerpool_budget_used_replicas", here) == 5
    assert registry.get_sample_value("workerpool_budget_max_replicas", here) == 6
    assert registry.get_sample_value("workerpool_budget_used_replicas", {**here, "namespace": "test"}) == 1
    for key in (EMAIL, order, elsewhere):
        metrics.forget(key)
    assert registry.get_sample_value("workerpool_budget_used_replicas", here) is None


def test_a_deleted_pool_leaves_no_series(metrics: Metrics, registry: CollectorRegistry) -> None:
    other = PoolKey(namespace="shop", name="order")
    metrics.record(_asking(0.0, APPLIED))
    metrics.record(make_record(key=other, ready=AWAY))
    metrics.problems(EMAIL, ["SecretMissing"], polled=True)
    assert 'pool="email"' in generate_latest(registry).decode()
    metrics.forget(EMAIL)
    metrics.forget(EMAIL)
    text = generate_latest(registry).decode()
    assert 'pool="email"' not in text
    assert 'pool="order"' in text


def test_a_pool_that_is_not_polled_has_its_problem_and_no_old_samples(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.record(_asking(0.0, APPLIED))
    metrics.problems(EMAIL, ["ApplyRefused"], polled=True)
    assert registry.get_sample_value("workerpool_broker_up", POOL) == 1
    metrics.problems(EMAIL, ["SecretMissing", "TargetNotFound", "SecretMissing"], polled=False)
    assert registry.get_sample_value("workerpool_broker_up", POOL) is None
    reasons = ("ApplyRefused", "SecretMissing", "TargetNotFound")
    found = [registry.get_sample_value("workerpool_problem", {**POOL, "reason": reason}) for reason in reasons]
    assert found == [None, 1, 1]
    metrics.problems(EMAIL, [], polled=True)
    assert 'pool="email"' not in generate_latest(registry).decode()


def test_one_that_stands_by_tells_of_no_pool(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.record(_asking(0.0, APPLIED))
    metrics.problems(PoolKey(namespace="shop", name="order"), ["SecretMissing"], polled=False)
    metrics.forget_all()
    assert "pool=" not in generate_latest(registry).decode()


def test_leading_and_standing_by_show(metrics: Metrics, registry: CollectorRegistry) -> None:
    for leads in (True, False):
        metrics.leader = leads
        assert registry.get_sample_value("workerpool_leader") == leads


def test_a_snapshot_does_not_change_with_the_store(metrics: Metrics) -> None:
    metrics.record(_asking(0.0, APPLIED))
    snapshot = metrics.snapshot()
    before = prometheus.render_snapshot(snapshot)
    metrics.record(_asking(1.0, APPLIED))
    metrics.forget(EMAIL)
    assert prometheus.render_snapshot(snapshot) == before


def test_the_board_renders_the_same_and_escapes_names() -> None:
    board = Board()
    board.record(make_record(ready=38, running=2, target=4, reason=Reason.WORK_WAITING))
    board.record(make_record(key=PoolKey(namespace="shop", name='o"\\\n'), ready=AWAY, running=AWAY))
    text = prometheus.render(board)
    assert 'workerpool_queue_ready_jobs{namespace="default",pool="email",queue="email"} 38.0\n' in text
    assert 'workerpool_scale_events_total{direction="up",namespace="default",pool="email",' in text
    assert "workerpool_poll_duration_seconds_count 2.0\n" in text
    other = '{namespace="shop",pool="o\\"\\\\\\n"'
    assert f"workerpool_broker_up{other}}} 0.0\n" in text
    assert f"workerpool_queue_ready_jobs{other}" not in text
    board.forget(EMAIL)
    assert 'pool="email"' not in prometheus.render(board)
