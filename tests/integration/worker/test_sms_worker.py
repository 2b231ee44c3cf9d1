"""Text messages through a real worker: consumed when asked for, sent once, and no number in its log."""

from __future__ import annotations

import subprocess

import pytest
import sqlalchemy as sa

from tests.integration.worker.bench import COMMAND, Bench, until
from workerpool_worker.jobs.sms.sandbox import messages
from workerpool_worker.models import Sms
from workerpool_worker.runtime.database import make_engine

pytestmark = pytest.mark.integration

NUMBER, TEXT = "+393331234567", "Your parcel is here"


def sent(bench: Bench) -> list[tuple[str, str]]:
    engine = make_engine(f"sqlite:///{bench.folder / 'workerpool.db'}", read_only=True)
    try:
        with engine.connect() as connection:
            rows = connection.execute(sa.select(messages).order_by(messages.c.id)).all()
    finally:
        engine.dispose()
    return [(row.reference, row.to) for row in rows]


def test_text_messages_are_sent_once_by_a_worker_that_is_told_to(bench: Bench) -> None:
    jobs = [Sms(id=f"s{number}", to=NUMBER, text=TEXT) for number in range(20)]
    bench.producer.send_many([*jobs, Sms(id="gone", to="+15005550001", text=TEXT)])
    worker = bench.start(WORKERPOOL_QUEUES="sms").ready()
    until(lambda: len(worker.outcomes()) == 21, what=bench.logs)
    assert sorted(sent(bench)) == sorted((job.id, NUMBER) for job in jobs)
    assert ("sms-gone", "failed") in worker.outcomes()
    # The same jobs again change nothing.
    bench.producer.send_many(jobs)
    until(lambda: len(worker.outcomes()) == 41, what=bench.logs)
    assert len(sent(bench)) == 20
    log = bench.logs()
    assert "has opted out" not in log
    assert "not a telephone number" in log
    assert all(word not in log for word in (NUMBER[1:], "15005550001", TEXT))


def test_the_default_queues_leave_text_messages_alone(bench: Bench) -> None:
    bench.producer.send(Sms(id="s1", to=NUMBER, text=TEXT))
    worker = bench.start().ready()
    until(lambda: worker.said("consuming email,order,payment"), what=bench.logs)
    assert bench.redis.llen("sms") == 1


def test_a_text_message_from_the_command_line(bench: Bench) -> None:
    def enqueue(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, "enqueue", "sms", *arguments],
            env=bench.environment(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    done = enqueue("--id", "s1", "--to", NUMBER, "--text", TEXT)
    assert (done.returncode, done.stdout) == (0, "sms-s1\n")
    refused = enqueue("--id", "s2", "--to", "0333 123", "--text", TEXT)
    assert refused.returncode == 2
    assert refused.stderr.startswith("workerpool-worker: to: ")
    assert bench.redis.llen("sms") == 1
