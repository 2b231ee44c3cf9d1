"""JOBS_MODE=inline: jobs run in the process that sends them, by the code and with the promises of a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.integration.worker.bench import COMMAND, Bench
from tests.integration.worker.outbox_world import fresh_database, rows
from tests.support.smtp import Mailbox
from workerpool_worker.effects import EffectsReader
from workerpool_worker.jobs.email.smtp import SmtpTransport
from workerpool_worker.jobs.orders.stock import read_stock, set_stock
from workerpool_worker.models import Email, Order, OrderLine, Payment, Refund, Sms
from workerpool_worker.producer import Producer
from workerpool_worker.runtime.database import make_engine
from workerpool_worker.runtime.errors import EffectMismatchError, InvalidJobError, JobError, MailServerError
from workerpool_worker.settings import load_settings

pytestmark = pytest.mark.integration


def an_order(number: int = 1, **more: object) -> Order:
    lines = (OrderLine(sku="tea", quantity=2, unit_price_minor=499),)
    return Order.model_validate(
        {"id": f"o{number}", "customer": "Ada", "email": f"c{number}@example.org", "lines": lines, **more}
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    postgres = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    return fresh_database(request.param, tmp_path, postgres)


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    made = make_engine(url)
    set_stock(made, "tea", 100)
    yield made
    made.dispose()


@pytest.fixture
def effects(url: str, engine: sa.Engine) -> Iterator[EffectsReader]:
    made = EffectsReader(url)
    yield made
    made.close()


@pytest.fixture
def producer(url: str, mailbox: Mailbox) -> Iterator[Producer]:
    """No Redis anywhere near."""
    environ = {
        "JOBS_MODE": "inline",
        "DATABASE_URL": url,
        "SMTP_PORT": str(mailbox.port),
        "WORKERPOOL_BROKER_URL": "redis://127.0.0.1:1/0",
    }
    settings = load_settings(environ)
    with Producer.from_settings(settings) as made:
        yield made
    # Kept by the process for its next mail.
    SmtpTransport(settings)._leave()


def test_an_order_is_done_with_all_that_follows_when_send_returns(
    producer: Producer, effects: EffectsReader, engine: sa.Engine, mailbox: Mailbox
) -> None:
    for _ in range(2):
        assert producer.order(an_order()) == "order-o1"
        # The second time everything is there, and nothing is done again.
        assert effects.orders_by_state() == {"paid": 1}
        assert effects.stock() == {"tea": 98}
        assert [entry.kind for entry in effects.ledger_entries()] == ["charge"]
        assert len(effects.invoices()) == 1
        assert mailbox.ids() == ["email-order-confirmation-o1", "email-receipt-o1"]
        assert rows(engine) == []
    producer.refund(Refund(id="r1", payment_id="o1"))
    assert effects.orders_by_state() == {"refunded": 1}


def test_many_threads_of_a_web_server_take_each_order_once(
    producer: Producer, effects: EffectsReader, engine: sa.Engine, mailbox: Mailbox
) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: producer.order(an_order(number)), range(8)))
    assert effects.orders_by_state() == {"paid": 8}
    assert read_stock(engine) == {"tea": 84}
    assert len(mailbox.ids()) == len(set(mailbox.ids())) == 16


def test_the_error_of_a_job_is_the_callers_and_sending_again_goes_on_where_it_stopped(
    producer: Producer, effects: EffectsReader, mailbox: Mailbox
) -> None:
    mailbox.answers["c1@example.org"] = "451 try later"
    mail = Email(id="m1", to="c1@example.org", subject="Hello", text="Hello.")
    with pytest.raises(MailServerError):
        producer.send(mail)
    mailbox.answers.clear()
    producer.send(mail)
    producer.send(mail)
    assert mailbox.ids() == ["email-m1"]
    with pytest.raises(EffectMismatchError):
        producer.send(Email(id="m1", to="c1@example.org", subject="Hello", text="Something else."))


def test_follow_up_jobs_all_get_their_turn_and_the_first_error_is_raised_with_its_place(
    producer: Producer, effects: EffectsReader, mailbox: Mailbox
) -> None:
    mailbox.answers["c1@example.org"] = "451 try later"
    with pytest.raises(MailServerError) as failed:
        producer.order(an_order())
    # The confirmation came first and failed; the payment's receipt had its turn nonetheless, after the payment.
    assert failed.value.__notes__ == ["in email-order-confirmation-o1, a follow-up of order-o1, which itself is done"]
    assert effects.orders_by_state() == {"paid": 1}
    mailbox.answers.clear()
    producer.order(an_order())
    assert mailbox.ids() == ["email-order-confirmation-o1", "email-receipt-o1"]
    assert len(effects.ledger_entries()) == 1


def test_times_and_priorities_do_not_count(producer: Producer, effects: EffectsReader) -> None:
    producer.send(Payment(id="p1", amount_minor=500), delay_s=3600, priority=9)
    assert [entry.payment for entry in effects.ledger_entries()] == ["p1"]


def test_of_several_those_before_the_one_that_fails_are_done(producer: Producer, effects: EffectsReader) -> None:
    jobs = [
        Payment(id="p1", amount_minor=5),
        Sms(id="s1", to="+393331234567", text="x" * 1600),
        Payment(id="p2", amount_minor=5),
    ]
    with pytest.raises(InvalidJobError):
        producer.send_many(jobs)
    assert [entry.payment for entry in effects.ledger_entries()] == ["p1"]


def test_a_task_nobody_knows_is_an_error(producer: Producer) -> None:
    class Unknown(Payment):
        task = "no.such"

    with pytest.raises(JobError, match=r"no such task: no\.such"):
        producer.send(Unknown(id="p1", amount_minor=5))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_process_forked_while_another_thread_runs_a_job_runs_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    running, go_on = threading.Event(), threading.Event()

    def attempt(*_: object, job_id: str, **__: object) -> dict[str, object]:
        if job_id == "payment-slow":
            running.set()
            assert go_on.wait(20)
        return {"outcome": "done"}

    monkeypatch.setattr("workerpool_worker.runtime.attempt.attempt", attempt)
    with Producer("redis://127.0.0.1:1/0", mode="inline") as producer:
        slow = threading.Thread(target=producer.send, args=(Payment(id="slow", amount_minor=1),))
        slow.start()
        assert running.wait(20)
        pid = os.fork()
        if not pid:
            signal.alarm(10)
            producer.send(Payment(id="of-the-child", amount_minor=1))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        go_on.set()
        slow.join(20)
    assert status == 0


def run(bench: Bench, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], env=bench.environment(**more), cwd=bench.folder,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_command_line_runs_a_job_at_once_and_says_so(bench: Bench, mailbox: Mailbox) -> None:
    nowhere = "redis://127.0.0.1:1/0"
    inline: dict[str, Any] = {"JOBS_MODE": "inline", "WORKERPOOL_BROKER_URL": nowhere}
    assert run(bench, "stock", "tea=10").returncode == 0
    done = run(bench, "enqueue", "order", "--id", "o1", "--item", "tea:2", **inline)
    assert (done.returncode, done.stdout) == (0, "order-o1: run here (JOBS_MODE is inline)\n"), done.stderr
    assert bench.charges() == ["o1"]
    assert [line.count('"outcome"') for line in done.stderr.splitlines()] == [1, 1, 1, 1]
    many = run(bench, "enqueue", "payment", "--id", "p", "--amount", "5", "--count", "3", **inline)
    assert many.stdout.startswith("3 jobs run here (JOBS_MODE is inline) in ")
    mailbox.answers["a@example.org"] = "451 try later"
    failed = run(bench, "enqueue", "email", "--id", "m1", "--to", "a@example.org", **inline)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.splitlines()[-1].startswith("workerpool-worker: MailServerError: ")


def test_the_command_line_drops_a_job_and_says_so(bench: Bench) -> None:
    done = run(bench, "enqueue", "payment", "--id", "p1", "--amount", "5", JOBS_MODE="off")
    assert (done.returncode, done.stdout) == (0, "payment-p1: dropped (JOBS_MODE is off)\n")
    assert done.stderr.count("\n") == 1
    assert "job payment-p1 dropped: JOBS_MODE is off" in done.stderr
    assert bench.waiting() == 0


def test_a_bad_mode_on_the_command_line_is_one_line(bench: Bench) -> None:
    done = run(bench, "enqueue", "payment", "--id", "p1", "--amount", "5", JOBS_MODE="eager")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("workerpool-worker: JOBS_MODE: ")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--in", "10"], "--in 10: write a number and its unit"),
        (["--in", "10m", "--at", "2026-12-01T08:00:00Z"], "name --in or --at, not both"),
        (["--in", "999999999d"], "is beyond the year 9999"),
        (["--at", "tomorrow"], "--at tomorrow: write a time such as"),
        (["--at", "2026-12-01T08:00:00"], "--at 2026-12-01T08:00:00: say in which time zone"),
        (["--priority", "10"], "10 is not in the range 0<=x<=9"),
    ],
)
def test_a_time_or_priority_that_cannot_be_is_refused(bench: Bench, options: list[str], says: str) -> None:
    done = run(bench, "enqueue", "payment", "--id", "p1", "--amount", "5", *options)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert bench.waiting() == 0


def test_times_and_priorities_from_the_command_line(bench: Bench) -> None:
    job = ["enqueue", "payment", "--amount", "5"]
    assert run(bench, *job, "--id", "p1", "--priority", "9", "--correlation-id", "request-7").returncode == 0
    assert [header["correlation_id"] for header in bench.headers("payment\x06\x169")] == ["request-7"]
    assert run(bench, *job, "--id", "p2", "--in", "2h").returncode == 0
    assert run(bench, *job, "--id", "p3", "--at", "2999-01-01T00:00:00+01:00").returncode == 0
    assert run(bench, "enqueue", "job", "payment.process", "--id", "p4", "amount_minor=5", "--in", "1d").returncode == 0
    assert bench.redis.zcard("workerpool:delayed:payment") == 3
    assert bench.waiting() == 0
