"""JOBS_MODE without a Redis: what is dropped says so, and a bad value is one line."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from celery import current_app, signals

from workerpool_worker.models import Payment
from workerpool_worker.producer import Producer
from workerpool_worker.runtime.errors import HandOverError
from workerpool_worker.settings import SettingsError, load_settings

pytestmark = pytest.mark.unit
NOWHERE = "redis://127.0.0.1:1/0"


def test_off_drops_each_job_with_a_line_that_tells_nobodys_data(caplog: pytest.LogCaptureFixture) -> None:
    with Producer(NOWHERE, mode="off") as producer, caplog.at_level(logging.WARNING):
        producer.ping()
        assert producer.send(Payment(id="p1", amount_minor=1, email="ada@example.org")) == "payment-p1"
        assert producer.send_many(Payment(id=f"q{n}", amount_minor=1) for n in range(3))[-1] == "payment-q2"
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"job payment-{id_} dropped: JOBS_MODE is off" for id_ in ("p1", "q0", "q1", "q2")]
    fields: Any = caplog.records[0]
    assert fields.fields == {
        "job_id": "payment-p1",
        "task": "payment.process",
        "queue": "payment",
        "correlation_id": "payment-p1",
    }


def test_a_bad_mode_is_one_line_that_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS_MODE", "eager")
    with pytest.raises(SettingsError, match=r"^JOBS_MODE: .*'queue', 'inline' or 'off' \(got 'eager'\)$"):
        Producer(NOWHERE)
    with pytest.raises(SettingsError, match=r"^JOBS_MODE: "):
        load_settings()


def test_the_environment_says_the_mode_unless_the_program_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS_MODE", "off")
    with Producer(NOWHERE) as by_environment, Producer(NOWHERE, mode="queue") as by_program:
        assert (by_environment.mode, by_program.mode) == ("off", "queue")
    with Producer.from_settings(load_settings({"JOBS_MODE": "inline"})) as given:
        assert given.mode == "inline"


def test_a_program_that_sends_jobs_needs_none_of_a_workers_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENT_PROVIDER", "stripe")
    monkeypatch.delenv("STRIPE_API_KEY", raising=False)
    Producer(NOWHERE).close()
    with pytest.raises(SettingsError, match="STRIPE_API_KEY"):
        Producer(NOWHERE, mode="inline")


@pytest.mark.parametrize("mode", ["queue", "inline", "off"])
def test_a_producer_leaves_the_celery_of_its_program_alone(mode: Any) -> None:
    app: Any = current_app
    mine = app._get_current_object()
    before = [list(signal.receivers) for signal in (signals.before_task_publish, signals.setup_logging)]
    Producer(NOWHERE, mode=mode).close()
    assert [list(signal.receivers) for signal in (signals.before_task_publish, signals.setup_logging)] == before
    assert app._get_current_object() is mine


def test_a_long_job_that_hands_over_goes_on_at_once_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def attempt(*_: object, job_id: str, **__: object) -> dict[str, object]:
        tries.append(job_id)
        if len(tries) < 4:
            raise HandOverError("a part is done")
        return {"outcome": "done"}

    monkeypatch.setattr("workerpool_worker.runtime.attempt.attempt", attempt)
    with Producer(NOWHERE, mode="inline") as producer:
        producer.send(Payment(id="p1", amount_minor=1))
    assert tries == ["payment-p1"] * 4
