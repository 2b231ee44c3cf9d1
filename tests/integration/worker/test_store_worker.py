"""The status of jobs that a real worker does, as the commands show it."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest
from celery import Celery

from tests.integration.worker.bench import COMMAND, Bench, until
from workerpool_worker.models import Payment

pytestmark = pytest.mark.integration


def show(bench: Bench, job_id: str) -> dict[str, Any]:
    command = [COMMAND, "jobs", "show", job_id, "--json"]
    done = subprocess.run(
        command, env=bench.environment(), cwd=bench.folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"state": None, "said": done.stderr}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_job_is_seen_waiting_active_and_completed(bench: Bench) -> None:
    assert show(bench, "payment-p1")["state"] is None
    before = time.time()
    bench.producer.send(Payment(id="p1", amount_minor=500))
    waiting = show(bench, "payment-p1")
    assert (waiting["state"], waiting["place"]["ahead"], waiting["attempts"]) == ("waiting", 0, 0)
    bench.start(SANDBOX_LATENCY_MS=4_000)
    until(lambda: show(bench, "payment-p1")["state"] == "active", timeout_s=60, what=bench.logs)
    until(lambda: show(bench, "payment-p1")["state"] == "completed", timeout_s=60, what=bench.logs)
    done = show(bench, "payment-p1")
    assert (done["attempts"], done["percent"], done["queue"]) == (1, 100.0, "payment")
    assert done["result"]["outcome"] == "succeeded"
    assert before <= done["enqueued_at"] <= done["started_at"] <= done["finished_at"] - 4 <= time.time()


def test_a_job_that_is_given_up_is_failed_and_has_its_letter(bench: Bench) -> None:
    bench.start().ready()
    # By a plain Celery program: the package's own producer would refuse it.
    with Celery(broker=bench.url, set_as_current=False) as app:
        arguments = {"id": "p9", "amount_minor": -1}
        app.send_task("payment.process", kwargs=arguments, queue="payment", task_id="payment-p9")
    until(lambda: show(bench, "payment-p9")["state"] == "failed", timeout_s=60, what=bench.logs)
    failed = show(bench, "payment-p9")
    assert failed["error_class"] == "InvalidJobError"
    assert failed["place"]["kind"] == "dead letters"
