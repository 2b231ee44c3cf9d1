"""What SIGTERM does to a worker and to its jobs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.integration.worker.bench import Bench, until
from tests.support.smtp import Mailbox
from workerpool_worker.models import Email, Payment

pytestmark = pytest.mark.integration


def test_a_running_job_is_finished_and_nothing_more_is_fetched(bench: Bench) -> None:
    worker = bench.start(SANDBOX_LATENCY_MS=2_500).ready()
    bench.producer.send_many([Payment(id=f"p{number}", amount_minor=500) for number in range(3)])
    until(lambda: bench.unacked() == 1, what=bench.logs)
    worker.terminate()
    assert worker.exit_status() == 0
    assert bench.charges() == ["p0"]
    assert (bench.waiting(), bench.unacked(), bench.holders()) == (2, 0, {})
    assert worker.outcomes() == [("payment-p0", "succeeded")]


def test_a_job_that_outlasts_the_grace_goes_back_and_is_done_once_by_the_next_worker(bench: Bench) -> None:
    worker = bench.start(SANDBOX_LATENCY_MS=60_000, WORKERPOOL_GRACE_SECONDS=2).ready()
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: bench.effects.effects_by_state() == {"claimed": 1}, what=bench.logs)
    worker.terminate()
    began = time.monotonic()
    assert worker.exit_status() == 0
    assert time.monotonic() - began < 5
    assert (bench.waiting(), bench.unacked(), bench.holders()) == (1, 0, {})
    bench.start(SANDBOX_LATENCY_MS=0).ready()
    until(lambda: bench.charges() == ["p1"] and bench.all_done(), what=bench.logs)


def test_a_second_signal_ends_the_wait(bench: Bench) -> None:
    worker = bench.start(SANDBOX_LATENCY_MS=60_000, WORKERPOOL_GRACE_SECONDS=600).ready()
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: bench.unacked() == 1, what=bench.logs)
    worker.terminate()
    until(lambda: worker.said("stopping"), what=bench.logs)
    worker.terminate()
    assert worker.exit_status() == 0
    assert (bench.waiting(), bench.unacked()) == (1, 0)


def test_an_idle_worker_leaves_at_once(bench: Bench) -> None:
    worker = bench.start(WORKERPOOL_GRACE_SECONDS=600).ready()
    worker.terminate()
    began = time.monotonic()
    assert worker.exit_status() == 0
    assert time.monotonic() - began < 4


def test_the_lease_is_renewed_while_a_stopping_worker_finishes(bench: Bench) -> None:
    stopping = bench.start(SANDBOX_LATENCY_MS=9_000).ready()
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: bench.unacked() == 1, what=bench.logs)
    stopping.terminate()
    bench.start(SANDBOX_LATENCY_MS=0).ready()
    assert stopping.exit_status() == 0
    assert bench.outcomes() == [("payment-p1", "succeeded")]
    assert "restored" not in bench.logs()


def test_a_job_waiting_for_its_next_try_holds_nobody_up(bench: Bench, mailbox: Mailbox) -> None:
    mailbox.answers["later@example.org"] = "451 not now"
    worker = bench.start(WORKERPOOL_RETRY_BASE_MS=60_000, WORKERPOOL_RETRY_CAP_MS=60_000).ready()
    sent_at = time.time()
    bench.producer.email(Email(id="m1", to="later@example.org", subject="Hi", text="Hi"))
    until(lambda: ("email-m1", "retried") in worker.outcomes() and bench.unacked() == 0, what=bench.logs)
    worker.terminate()
    assert worker.exit_status() == 0
    assert (bench.waiting(), bench.unacked()) == (0, 0)
    delayed: Any = bench.redis.hvals("workerpool:delayed:email:messages")
    (message,) = delayed
    headers = json.loads(message.partition("\n")[2])["headers"]
    assert headers["retries"] == 1
    assert sent_at <= headers["enqueued_at"] <= sent_at + 2


def test_sigterm_while_the_broker_is_away_ends_the_worker(bench: Bench) -> None:
    worker = bench.start(WORKERPOOL_BROKER_URL="redis://127.0.0.1:1/0")
    until(lambda: worker.said("cannot reach the broker"), what=bench.logs)
    worker.terminate()
    assert worker.exit_status() == 0
