"""What is counted, and what is told of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from workerpool_worker.monitoring import metrics, startup
from workerpool_worker.monitoring.exposition import Exposition
from workerpool_worker.monitoring.metrics_store import DURATION_BUCKETS_S, UNKNOWN, WAIT_BUCKETS_S, Store
from workerpool_worker.monitoring.shared_page import SharedPage
from workerpool_worker.settings import load_settings

pytestmark = pytest.mark.unit

POOL = {"namespace": "shop", "pool": "mail"}
ENVIRON = {
    "WORKERPOOL_POOL": "mail",
    "WORKERPOOL_NAMESPACE": "shop",
    "WORKERPOOL_CONCURRENCY": "3",
    "WORKERPOOL_QUEUES": "email,order",
}


@pytest.fixture
def page() -> Iterator[SharedPage]:
    """What a worker publishes that counts from now on."""
    made = SharedPage()
    fixed = startup.fixed(load_settings(ENVIRON))
    metrics.begin(made, queues=("email", "order"), tasks={"email.send", "order.process"}, fixed=fixed)
    yield made
    metrics.end()


def told(page: SharedPage, heartbeat: Path = Path("/nowhere")) -> dict[str, Metric]:
    metrics.tick()
    text = Exposition(os.getpid(), heartbeat).render(page.read()).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(family: Metric, name: str | None = None) -> dict[tuple[str, ...], float]:
    """Values by the labels that are not the pool's."""
    found = [sample for sample in family.samples if sample.name == (name or sample.name)]
    assert all(sample.labels | POOL == sample.labels for sample in found)
    order = ("queue", "task", "outcome", "le")
    return {tuple(sample.labels[name] for name in order if name in sample.labels): sample.value for sample in found}


def end(queue: str = "email", task: str = "email.send", **more: Any) -> None:
    metrics.job_ended(queue=queue, task=task, **{"outcome": "completed", **more})


def test_jobs_are_counted_by_queue_task_and_outcome(page: SharedPage) -> None:
    for _ in range(3):
        end()
    end(outcome="retried")
    end(queue="order", task="order.process", outcome="dead")
    assert samples(told(page)["workerpool_jobs"]) == {
        ("email", "email.send", "completed"): 3,
        ("email", "email.send", "retried"): 1,
        ("order", "order.process", "dead"): 1,
    }


def test_times_are_histograms(page: SharedPage) -> None:
    for seconds in (0.01, 0.3, 0.3, 5_000.0):
        end(seconds=seconds, wait_s=seconds)
    end()  # its times are not known: counted, without a time
    families = told(page)
    duration, wait = families["workerpool_job_duration_seconds"], families["workerpool_job_wait_seconds"]
    buckets = samples(duration, "workerpool_job_duration_seconds_bucket")
    assert len(buckets) == len(DURATION_BUCKETS_S) + 1
    shown = {le: buckets["email", "email.send", le] for le in ("0.01", "0.25", "0.5", "3600.0", "+Inf")}
    assert shown == {"0.01": 1, "0.25": 1, "0.5": 3, "3600.0": 3, "+Inf": 4}
    assert samples(duration, "workerpool_job_duration_seconds_count") == {("email", "email.send"): 4}
    assert samples(duration, "workerpool_job_duration_seconds_sum") == {("email", "email.send"): 5_000.61}
    assert samples(wait, "workerpool_job_wait_seconds_count") == {("email",): 4}
    assert len(samples(wait, "workerpool_job_wait_seconds_bucket")) == len(WAIT_BUCKETS_S) + 1


def test_a_time_before_its_beginning_is_none_at_all(page: SharedPage) -> None:
    end(wait_s=-3.0)
    assert samples(told(page)["workerpool_job_wait_seconds"], "workerpool_job_wait_seconds_sum") == {("email",): 0}


def test_messages_of_strangers_make_no_series(page: SharedPage) -> None:
    for number in range(1_000):
        end(queue=f"queue-{number}", task=f"task.{number}", outcome="dead", seconds=1.0, wait_s=1.0)
    families = told(page)
    assert samples(families["workerpool_jobs"]) == {(UNKNOWN, UNKNOWN, "dead"): 1_000}
    assert samples(families["workerpool_job_wait_seconds"], "workerpool_job_wait_seconds_count") == {(UNKNOWN,): 1_000}
    assert len(page.read()) < 2_000


def test_dead_letters_are_as_they_were_said_last(page: SharedPage) -> None:
    metrics.dead_letters({"email": 2, "order": 1})
    assert samples(told(page)["workerpool_dead_letter_jobs"]) == {("email",): 2, ("order",): 1}
    metrics.dead_letters({"email": 0, "a": 4, "b": 5})
    assert samples(told(page)["workerpool_dead_letter_jobs"]) == {("email",): 0, (UNKNOWN,): 9}


def test_what_is_not_known_has_no_sample(page: SharedPage) -> None:
    families = told(page)
    for name in ("workerpool_jobs", "workerpool_job_wait_seconds", "workerpool_dead_letter_jobs"):
        assert families[name].samples == []
    assert families["workerpool_worker_heartbeat_age_seconds"].samples == []


def test_the_worker_is_told_of(page: SharedPage, tmp_path: Path) -> None:
    heartbeat = tmp_path / "beat"
    heartbeat.touch()
    families = told(page, heartbeat)
    assert samples(families["workerpool_worker_concurrency"]) == {(): 3}
    assert samples(families["workerpool_worker_running_jobs"]) == {(): 0}
    assert samples(families["workerpool_worker_broker_connected"]) == {(): 0}
    [age] = families["workerpool_worker_heartbeat_age_seconds"].samples
    assert 0 <= age.value < 60
    [info] = families["workerpool_worker_info"].samples
    assert info.value == 1
    assert info.labels | POOL | {"payments": "sandbox", "database": "sqlite", "queues": "email,order"} == (info.labels)
    [started] = families["process_start_time_seconds"].samples
    assert started.value > 1_600_000_000


def test_without_a_pool_the_labels_are_empty() -> None:
    fixed = startup.fixed(load_settings({}))
    assert (fixed["namespace"], fixed["pool"]) == ("", "")


def test_a_worker_that_has_published_nothing_is_a_process() -> None:
    text = Exposition(os.getpid(), Path("/nowhere")).render(b"").decode()
    assert "process_start_time_seconds" in text
    assert "workerpool_" not in text


def test_names_that_need_it_are_escaped(page: SharedPage) -> None:
    strange = 'a"b\\c\nd é'
    metrics.begin(page, queues={strange}, tasks=(), fixed=startup.fixed(load_settings(ENVIRON)))
    end(queue=strange)
    assert (strange, UNKNOWN, "completed") in samples(told(page)["workerpool_jobs"])


def test_nothing_is_published_that_has_not_changed(page: SharedPage, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(page, "write", lambda content: not written.append(content))  # type: ignore[func-returns-value]
    metrics.tick()
    metrics.tick()
    assert len(written) == 1
    end()
    metrics.tick()
    assert len(written) == 2
    assert json.loads(written[-1])["jobs"] == [["email", "email.send", {"completed": 1}]]


def test_numbers_without_room_are_told_once_and_end_nothing(caplog: pytest.LogCaptureFixture) -> None:
    page = SharedPage(100)
    metrics.begin(page, queues=(), tasks=(), fixed=startup.fixed(load_settings(ENVIRON)))
    try:
        metrics.tick()
        end()
        metrics.tick()
    finally:
        metrics.end()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "more than there is room for" in caplog.text
    assert page.read() == b""


def test_what_goes_wrong_in_counting_ends_no_worker(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("no")

    metrics.begin(SharedPage(), queues=(), tasks=(), fixed=startup.fixed(load_settings({})), also=fail)
    try:
        metrics.tick()
    finally:
        metrics.end()
    assert "cannot publish the metrics" in caplog.text


def test_without_a_port_nothing_is_counted() -> None:
    end(seconds=1.0, wait_s=1.0)
    metrics.dead_letters({"email": 1})
    metrics.tick()
    page = SharedPage()
    metrics.begin(page, queues=("email",), tasks=(), fixed=startup.fixed(load_settings(ENVIRON)))
    try:
        assert told(page)["workerpool_jobs"].samples == []
    finally:
        metrics.end()


def test_the_parent_need_not_know_the_library() -> None:
    store = Store(("email",), ("email.send",), {"namespace": "", "pool": ""})
    store.job_ended("email", "email.send", "completed", 0.2, 0.1)
    content = json.loads(store.snapshot(running=2))
    assert content["running"] == 2
    [[queue, task, counts, total]] = content["durations"]
    assert (queue, task, sum(counts), total) == ("email", "email.send", 1, 0.2)
