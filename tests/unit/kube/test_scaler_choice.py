"""Which pods go, and what an owned object is compared by: pure parts of the scaler and of what pools own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool_operator.kube.draining import annotation, read_annotation
from workerpool_operator.kube.objects import PodObject
from workerpool_operator.kube.owned import STAMP, contains, stamped
from workerpool_operator.kube.victims import choose, first_back
from workerpool_operator.ports import WorkerBeat

pytestmark = pytest.mark.unit


def a_pod(name: str, *, ready: bool = True) -> PodObject:
    return PodObject(
        name=("shop", name), version=1, labels={}, ready=ready, leaving=False, ended=False, deletion_cost=0
    )


def a_beat(pod: str, active: int, *, age_s: float = 0.5) -> WorkerBeat:
    return WorkerBeat(hostname=f"celery@{pod}", pid=1, active=active, processed=9, age_s=age_s)


@given(st.lists(st.tuples(st.booleans(), st.none() | st.integers(0, 3)), max_size=12), st.integers(0, 12))
def test_a_busy_pod_goes_only_when_no_other_is_left(states: list[tuple[bool, int | None]], count: int) -> None:
    pods = [a_pod(f"p{n}", ready=ready) for n, (ready, _) in enumerate(states)]
    beats = [a_beat(f"p{n}", jobs) for n, (_, jobs) in enumerate(states) if jobs is not None]
    victims = {name for _, name in choose(pods, beats, count)}
    assert len(victims) == min(count, len(pods))
    busy = {f"p{n}" for n, (ready, jobs) in enumerate(states) if ready and jobs}
    if victims & busy:
        assert {pod.name[1] for pod in pods} - busy <= victims


def test_unready_then_idle_then_silent_then_the_least_busy() -> None:
    pods = [a_pod("busy"), a_pod("busier"), a_pod("silent"), a_pod("idle"), a_pod("new", ready=False)]
    beats = [a_beat("busy", 1), a_beat("busier", 2), a_beat("idle", 0), a_beat("silent", 0, age_s=60.0)]
    order = ["new", "idle", "silent", "busy", "busier"]
    for count in range(6):
        assert {name for _, name in choose(pods, beats, count)} == set(order[:count])


def test_of_the_equally_busy_the_one_with_the_oldest_work_and_the_deaf_last() -> None:
    pods = [a_pod("late"), a_pod("deaf"), a_pod("early"), a_pod("two")]
    beats = [a_beat("late", 1), a_beat("deaf", 1), a_beat("early", 1), a_beat("two", 2)]
    since_s = {("celery@late", 1): 30.0, ("celery@deaf", 1): 1.0, ("celery@early", 1): 20.0, ("celery@two", 1): 5.0}
    chosen = choose(pods, beats, 4, since_s=since_s, deaf={"deaf"})
    assert [name for _, name in chosen] == ["early", "late", "two", "deaf"]


def test_the_idle_come_back_first_then_those_with_the_latest_work() -> None:
    beats = {"late": [a_beat("late", 1)], "early": [a_beat("early", 1)], "idle": [a_beat("idle", 0)]}
    since_s = {("celery@late", 1): 30.0, ("celery@early", 1): 20.0, ("celery@idle", 1): 1.0}
    assert first_back(beats, beats, 9, since_s=since_s) == ("idle", "late", "early")
    assert first_back(beats, beats, 1, since_s=since_s) == ("idle",)


@pytest.mark.parametrize(
    "text", ["", "yes", "null", "[]", "7", '{"celery@a": "mail"}', '{"celery@a": null}', "{" * 10000]
)
def test_an_annotation_that_somebody_else_wrote_cordons_nothing(text: str) -> None:
    assert read_annotation(text) == {}


def test_an_annotation_says_what_is_to_be_given_back() -> None:
    queues = {"celery@a": frozenset({"sms", "mail"}), "other@a": frozenset[str]()}
    assert annotation(queues) == '{"celery@a": ["mail", "sms"], "other@a": []}'
    assert read_annotation(annotation(queues)) == queues


@pytest.mark.parametrize(
    ("whole", "part", "held"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": [{"x": 1, "default": 0}]}, {"a": [{"x": 1}]}, True),
        ({"a": [{"x": 1}, {"x": 2}]}, {"a": [{"x": 1}]}, False),
        ({}, {"a": {}}, True),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, False),
        ({"a": "xyz"}, {"a": "x"}, False),
    ],
)
def test_what_contains_what(whole: Any, part: Any, held: bool) -> None:
    assert contains(whole, part) is held


def test_a_field_that_is_no_longer_rendered_changes_the_stamp() -> None:
    body: dict[str, Any] = {"metadata": {"annotations": {"a": "b"}}, "spec": {"x": 1, "y": 2}}
    fewer = {"metadata": {"annotations": {"a": "b"}}, "spec": {"x": 1}}
    assert contains(body["spec"], fewer["spec"])
    assert stamped(body)["metadata"]["annotations"][STAMP] != stamped(fewer)["metadata"]["annotations"][STAMP]
    assert stamped(body) == stamped(body)
    assert body["metadata"]["annotations"] == {"a": "b"}
