from __future__ import annotations

import subprocess

import pytest

from tests.integration.worker.bench import COMMAND, Bench, until

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


def test_secrets_are_not_in_the_table(bench: Bench) -> None:
    done = run(bench, "settings", SMTP_PASSWORD="hunter2", DATABASE_URL="postgresql://u:hunter2@h/d")
    assert done.returncode == 0
    assert "hunter2" not in done.stdout
    assert "SMTP_PASSWORD" in done.stdout
