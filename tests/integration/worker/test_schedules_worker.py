"""Schedules through real workers: put in by any of them, done by those of the queue, shown by the command."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.worker.bench import COMMAND, Bench, until
from tests.support.smtp import Mailbox

pytestmark = pytest.mark.integration

EVERY_FIVE = "*/5 * * * *"
YEARLY = """
- name: hello
  cron: "0 0 1 1 *"
  timeZone: Europe/Rome
  task: email.send
  arguments: {to: ops@example.org, subject: Happy new year, text: Hello}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "schedules.yaml"
    made.write_text(YEARLY)
    return made


def lying(bench: Bench, queue: str) -> list[str]:
    found: Any = bench.redis.zrange(f"workerpool:delayed:{queue}", 0, -1)
    return [tag.rpartition("-")[0] for tag in found]


def come_due(bench: Bench, queue: str, name: str) -> str:
    """As if its time had come; the job's id."""
    key = f"workerpool:delayed:{queue}"
    found: Any = bench.redis.zrange(key, 0, -1)
    (tag,) = [tag for tag in found if tag.startswith(f"cron-{name}-")]
    bench.redis.zadd(key, {tag: time.time() - 1}, xx=True)
    return str(tag)


def command(bench: Bench, *arguments: str, **environ: object) -> subprocess.CompletedProcess[str]:
    environment = bench.environment(**({"WORKERPOOL_RECOVER_CRON": EVERY_FIVE} | environ))
    return subprocess.run(
        [COMMAND, *arguments],
        env=environment, cwd=bench.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_workers_of_any_queue_put_in_and_those_of_the_queue_do(bench: Bench, mailbox: Mailbox, file: Path) -> None:
    bench.start(
        WORKERPOOL_QUEUES="order",
        WORKERPOOL_POOL="orders",
        WORKERPOOL_SCHEDULES_FILE=file,
        WORKERPOOL_RECOVER_CRON=EVERY_FIVE,
    )
    until(lambda: lying(bench, "email") == ["cron-hello"], what=bench.logs)
    assert sorted(lying(bench, "maintenance")) == ["cron-cleanup", "cron-recover"]
    job = come_due(bench, "email", "hello")
    shown = command(bench, "schedules", WORKERPOOL_SCHEDULES_FILE=file).stdout
    assert "waits" in shown
    # Nobody consumes the queue yet: the operator sees a job that is due, and makes a worker.
    worker = bench.start(WORKERPOOL_QUEUES="email,maintenance", WORKERPOOL_SCHEDULES_FILE=file).ready()
    until(lambda: (job, "sent") in worker.outcomes(), what=bench.logs)
    assert [str(mail["Subject"]) for mail in mailbox.mails] == ["Happy new year"]
    # It came before its time here, so the next one is a year off and not put in yet.
    assert lying(bench, "email") == []


def test_recovery_runs_and_comes_again(bench: Bench) -> None:
    worker = bench.start(WORKERPOOL_RECOVER_CRON=EVERY_FIVE).ready()
    until(lambda: "cron-recover" in lying(bench, "maintenance"), what=bench.logs)
    job = come_due(bench, "maintenance", "recover")
    # It was due just now, as far as the schedule knows.
    bench.redis.hset("workerpool:cron", "recover", int(time.time()) - 1)
    until(lambda: (job, "recovered") in worker.outcomes(), what=bench.logs)
    until(lambda: "cron-recover" in lying(bench, "maintenance"), timeout_s=25, what=bench.logs)
    assert not [line for line in worker.lines() if line["level"] in {"warning", "error"}]


def test_a_schedule_that_was_taken_out_of_the_file_is_taken_out_of_redis(bench: Bench, file: Path) -> None:
    first = bench.start(WORKERPOOL_SCHEDULES_FILE=file)
    until(lambda: lying(bench, "email") == ["cron-hello"], what=bench.logs)
    file.write_text("[]")
    second = bench.start(WORKERPOOL_SCHEDULES_FILE=file).ready()
    until(lambda: lying(bench, "email") == [], what=bench.logs)
    assert second.said("hello: is no schedule any more")
    # The first worker still has it. It says whose word counts, and does not bring it back.
    until(lambda: first.said("schedule hello: workers of this pool have another"), timeout_s=25, what=bench.logs)
    assert lying(bench, "email") == []


def test_a_report_by_hand(bench: Bench, mailbox: Mailbox) -> None:
    settings: dict[str, object] = {"REPORT_EMAIL": "ops@example.org"}
    for business_id in ("x", "y"):
        sent = command(bench, "enqueue", "job", "maintenance.report", "--id", business_id, "day=2026-10-25")
        assert sent.returncode == 0, sent.stderr
    bench.start(**settings)
    until(lambda: len(bench.outcomes()) == 4, what=bench.logs)
    assert sorted(bench.outcomes()) == [
        ("email-report-2026-10-25", "sent"), ("email-report-2026-10-25", "sent"),
        ("maintenance-report-x", "reported"), ("maintenance-report-y", "reported"),
    ]  # fmt: skip
    (mail,) = mailbox.to("ops@example.org")
    assert mail["Subject"] == "2026-10-25: 0 jobs completed, 0 failed"


def test_the_table(bench: Bench, file: Path) -> None:
    shown = command(bench, "schedules", WORKERPOOL_SCHEDULES_FILE=file, WORKERPOOL_CLEANUP_CRON="off")
    assert shown.returncode == 0
    head, recover, hello = shown.stdout.splitlines()
    assert head.split()[:2] == ["NAME", "CRON"]
    assert recover.startswith("recover  */5 * * * *  UTC")
    assert "Europe/Rome  email.send" in hello
    assert hello.endswith("never")
    bench.start(WORKERPOOL_SCHEDULES_FILE=file)
    until(lambda: lying(bench, "email") == ["cron-hello"], what=bench.logs)
    (hello,) = [
        line
        for line in command(bench, "schedules", WORKERPOOL_SCHEDULES_FILE=file).stdout.splitlines()
        if line.startswith("hello")
    ]
    assert "-01-01 00:00 (waits) by default/shop" in hello


def test_forgetting_by_the_command(bench: Bench, file: Path) -> None:
    worker = bench.start(WORKERPOOL_SCHEDULES_FILE=file)
    until(lambda: lying(bench, "email") == ["cron-hello"], what=bench.logs)
    worker.kill_group()
    assert "hello" in command(bench, "schedules").stdout
    done = command(bench, "schedules", "--forget", "hello")
    assert (done.returncode, done.stdout.startswith("hello: forgotten")) == (0, True)
    assert lying(bench, "email") == []
    again = command(bench, "schedules", "--forget", "hello")
    assert again.returncode == 1
    assert again.stderr.startswith("workerpool-worker: Redis knows no schedule hello")


def test_without_redis_the_table_says_what_it_knows(bench: Bench) -> None:
    shown = command(bench, "schedules", WORKERPOOL_BROKER_URL="redis://127.0.0.1:9/0")
    assert shown.returncode == 1
    assert "recover" in shown.stdout
    assert "unknown" in shown.stdout
    (line,) = shown.stderr.splitlines()
    assert line.startswith("workerpool-worker: cannot reach Redis at 127.0.0.1:9: ")


def test_a_wrong_file_stops_the_start(bench: Bench, file: Path) -> None:
    file.write_text(YEARLY.replace("0 0 1 1 *", "0 0 1 13 *"))
    refused = command(bench, "run", WORKERPOOL_SCHEDULES_FILE=file)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "schedules.yaml: entry 1 (hello): cron: " in line
    assert "month 13 must be 1 to 12" in line
