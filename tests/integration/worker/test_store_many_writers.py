"""Many processes that write the status of the same jobs at once, out of order, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import sqlalchemy as sa

from workerpool_worker.runtime.database import create_tables
from workerpool_worker.store.queries import counts, find

pytestmark = pytest.mark.integration

WRITER = """
import json, random, sys
from workerpool_worker.runtime.database import engine_for
from workerpool_worker.store.jobs import begun, ended, progressed
from workerpool_worker.store.records import Ending, Try

url, number = sys.argv[1], int(sys.argv[2])
engine = engine_for(url)
random.seed(number)
news = 0
work = [(job, attempt) for job in range(20) for attempt in range(1, 7) if attempt % 3 == number % 3]
random.shuffle(work)
for job, attempt in work:
    at = 1000.0 + 10 * attempt
    this = Try(job_id=f"j{job}", task="t", queue="q", attempt=attempt, enqueued_at=900.0, started_at=at)
    begun(engine, this)
    progressed(engine, this.job_id, 50, "half", attempt=attempt, at=at + 1)
    last = Ending(state="completed", at=at + 2, result={"attempt": attempt})
    news += ended(engine, this, last if attempt == 6 else Ending(state="delayed", at=at + 2, due_at=at + 10))
print(news)
"""


def test_many_processes_write_at_once_and_the_last_try_is_what_is_known(database: sa.Engine, database_url: str) -> None:
    create_tables(database)
    # Two for each third of the tries: most writes are repeated, all are out of order.
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, database_url, str(number)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(6)
    ]  # fmt: skip
    try:
        ends = [process.communicate(timeout=120) for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    assert [process.returncode for process in running] == [0] * 6, "\n".join(error for _, error in ends)
    assert sum(json.loads(out) for out, _ in ends) >= 20
    for number in range(20):
        found = find(database, f"j{number}")
        assert found is not None
        assert (found.state, found.attempts, found.result) == ("completed", 6, {"attempt": 6})
    assert [count.count for count in counts(database)] == [20]
