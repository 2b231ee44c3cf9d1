from __future__ import annotations

import subprocess
from collections import Counter

import pytest

from tests.integration.worker.bench import COMMAND, Bench, until
from workerpool_worker.jobs.orders.invoices import keep_invoice
from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.rush import STOCK_EACH

pytestmark = pytest.mark.integration


def run(bench: Bench, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        env=bench.environment(**more),
        cwd=bench.folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("command", [["run"], ["settings"], ["enqueue", "payment", "--id", "p", "--amount", "1"]])
def test_a_bad_setting_is_one_line_and_status_two(bench: Bench, command: list[str]) -> None:
    done = run(bench, *command, WORKERPOOL_CONCURRENCY="many")
    assert done.returncode == 2
    assert done.stderr.startswith("workerpool-worker: WORKERPOOL_CONCURRENCY: ")
    assert done.stderr.count("\n") == 1


def test_no_redis_is_one_line_that_says_where_and_what_to_do(bench: Bench) -> None:
    done = run(
        bench, "enqueue", "payment", "--id", "p", "--amount", "1", WORKERPOOL_BROKER_URL="redis://:pw@127.0.0.1:1/0"
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "127.0.0.1:1" in done.stderr
    assert "WORKERPOOL_BROKER_URL" in done.stderr
    assert "pw" not in done.stderr.replace("workerpool", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["order", "--id", "a/b", "--item", "tea:1"], "id: "),
        (["order", "--id", "a", "--item", "tea"], "write SKU:QUANTITY"),
        (["order", "--id", "a", "--item", "tea:0"], "lines.0.quantity: "),
        (["payment", "--id", "a", "--amount", "0"], "amount_minor: "),
    ],
)
def test_a_bad_job_is_refused_before_it_is_sent(bench: Bench, arguments: list[str], says: str) -> None:
    done = run(bench, "enqueue", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert bench.waiting() == 0


def test_a_database_that_cannot_be_opened_is_one_line(bench: Bench) -> None:
    done = run(bench, "stock", "tea=1", DATABASE_URL="sqlite:////proc/no/such.db")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "DATABASE_URL" in done.stderr


def test_jobs_from_the_command_line_are_done(bench: Bench) -> None:
    assert run(bench, "stock", "tea=10").stdout == "tea\t10\n"
    assert run(bench, "enqueue", "order", "--id", "o1", "--item", "tea:2:499").stdout == "order-o1\n"
    many = run(bench, "enqueue", "payment", "--id", "p", "--amount", "500", "--count", "3")
    assert many.stdout.startswith("3 jobs sent in ")
    bench.start().ready()
    until(lambda: sorted(bench.charges()) == ["o1", "p-1", "p-2", "p-3"] and bench.all_done(), what=bench.logs)
    run(bench, "enqueue", "refund", "--id", "r1", "--payment", "p-1", "--amount", "200")
    run(bench, "enqueue", "email", "--id", "m1", "--to", "a@example.org")
    until(lambda: len(bench.effects.ledger_entries()) == 5 and bench.all_done(), what=bench.logs)


def test_a_rush_from_the_command_line_is_done_and_is_the_same_when_sent_again(bench: Bench) -> None:
    rush = ["enqueue", "rush", "--id", "r1", "--orders", "6", "--payments", "2", "--welcomes", "3", "--stock"]
    for _ in range(2):
        done = run(bench, *rush)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("r1: 6 orders, 2 payments and 3 welcome mails sent in ")
        assert done.stdout.endswith(", 31 jobs in all\n")
    bench.start(WORKERPOOL_CONCURRENCY=2).ready()
    ids = [f"r1-{number}" for number in range(1, 7)]
    wanted = sorted([*ids, "r1-payment-1", "r1-payment-2"])
    until(lambda: sorted(bench.charges()) == wanted and bench.all_done(), timeout_s=30, what=bench.logs)
    assert bench.effects.orders_by_state() == {"paid": 6}
    assert sorted(invoice.order_id for invoice in bench.effects.invoices()) == ids
    moved = Counter[str]()
    for move in bench.effects.stock_movements():
        moved[move.sku] += move.quantity
    assert bench.effects.stock() == {sku: STOCK_EACH + moved[sku] for sku in bench.effects.stock()}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--orders", "0"], "a rush of nothing"), (["--id", "a b"], "id: "), (["--orders", "-1"], "--orders")],
)
def test_a_rush_that_cannot_be_is_refused_before_anything_is_sent(
    bench: Bench, arguments: list[str], says: str
) -> None:
    done = run(bench, "enqueue", "rush", "--id", "r", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert bench.waiting() == 0


def test_an_invoice_is_written_as_a_file_or_to_stdout(bench: Bench) -> None:
    engine = make_engine(f"sqlite:///{bench.folder / 'workerpool.db'}")
    create_tables(engine)
    keep_invoice(engine, "o1", number="INV-000001", issued_at_s=1.0, render=lambda: b"%PDF-1\n")
    engine.dispose()
    assert run(bench, "invoice", "o1").stdout == "o1.pdf\n"
    assert run(bench, "invoice", "o1", "--output", "here/it.pdf").stdout == "here/it.pdf\n"
    assert run(bench, "invoice", "o1", "-o", "-").stdout == "%PDF-1\n"
    for file in ("o1.pdf", "here/it.pdf"):
        assert (bench.folder / file).read_bytes() == b"%PDF-1\n"
    missing = run(bench, "invoice", "o2")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert missing.stderr.startswith("workerpool-worker: no invoice for order o2 in sqlite:///")
    nowhere = run(bench, "invoice", "o1", "-o", "/proc/no/such.pdf")
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (1, 1)
    assert nowhere.stderr.startswith("workerpool-worker: cannot write /proc/no/such.pdf: ")


def test_secrets_are_not_in_the_table(bench: Bench) -> None:
    done = run(bench, "settings", SMTP_PASSWORD="hunter2", DATABASE_URL="postgresql://u:hunter2@h/d")
    assert done.returncode == 0
    assert "hunter2" not in done.stdout
    assert "SMTP_PASSWORD" in done.stdout
