"""`workerpool-worker relay` as a process: killed, stopped, without Redis, and what it says meanwhile."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.integration.worker import outbox_killed
from tests.integration.worker.bench import COMMAND, Bench, until
from tests.integration.worker.outbox_world import fresh_database, relay_process, rows, write
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.effects import EffectsReader
from workerpool_worker.runtime.database import make_engine

pytestmark = pytest.mark.integration


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, bench: Bench) -> str:
    postgres = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    return fresh_database(request.param, bench.folder, postgres)


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    made = make_engine(url)
    yield made
    made.dispose()


def run(bench: Bench, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    environment = bench.environment(**more)
    return subprocess.run(
        [COMMAND, "relay", *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_killed_between_sending_and_deleting_nothing_is_lost_and_each_is_charged_once(
    bench: Bench, url: str, engine: sa.Engine
) -> None:
    write(engine, *range(20))
    program = [sys.executable, outbox_killed.__file__, bench.url, url]
    for _ in range(3):
        died = subprocess.run(program, env=bench.environment(), timeout=60, check=False, capture_output=True)
        assert died.returncode == -signal.SIGKILL, died.stderr
        # Redis has them, and the outbox still has them.
        assert len(rows(engine)) == 20
    assert bench.waiting() == 60
    assert run(bench, "--once", DATABASE_URL=url).stdout == "20 jobs sent\n"
    assert rows(engine) == []
    bench.start(DATABASE_URL=url, WORKERPOOL_CONCURRENCY=2).ready()
    until(bench.all_done, timeout_s=60, what=bench.logs)
    effects = EffectsReader(url)
    charged = Counter(entry.payment for entry in effects.ledger_entries() if entry.kind == "charge")
    effects.close()
    assert charged == {f"p{number}": 1 for number in range(20)}


def test_relays_killed_at_random_lose_nothing(bench: Bench, url: str, engine: sa.Engine, tmp_path: Path) -> None:
    rng = random.Random(6)
    wanted = 0
    environment = bench.environment(DATABASE_URL=url, WORKERPOOL_OUTBOX_BATCH=5, WORKERPOOL_OUTBOX_POLL_MS=10)
    log = tmp_path / "relay.log"
    for _ in range(6):
        with relay_process(environment, log) as relay:
            until(lambda: "relaying the outbox" in log.read_text(), what=log.read_text)
            until_s = time.monotonic() + rng.uniform(0.1, 0.4)
            while time.monotonic() < until_s:
                write(engine, *range(wanted, wanted + 7))
                wanted += 7
            relay.process.kill()
            relay.process.wait(10)
        log.write_text("")
    with relay_process(environment, log):
        until(lambda: not rows(engine), what=log.read_text)
    sent = Counter(header["id"] for header in bench.headers("payment"))
    assert set(sent) == {f"payment-p{number}" for number in range(wanted)}
    # At most one batch a kill goes again.
    assert sum(sent.values()) - wanted <= 6 * 5


def test_it_goes_on_until_sigterm_and_ends_in_order(bench: Bench, url: str, engine: sa.Engine, tmp_path: Path) -> None:
    environment = bench.environment(DATABASE_URL=url)
    with relay_process(environment, tmp_path / "relay.log") as relay:
        for number in range(3):
            write(engine, number)
            until(lambda: not rows(engine), what=relay.log.read_text)
            assert bench.waiting() == number + 1
        relay.process.send_signal(signal.SIGTERM)
        assert relay.process.wait(10) == 0
        assert relay.messages() == ["relaying the outbox, looking every 0.5 s", "stopped"]
        assert relay.lines()[-1]["sent"] == 3


def test_a_redis_that_is_away_is_one_line_and_one_when_it_is_back(
    bench: Bench, redis_server: RedisServer, url: str, engine: sa.Engine, tmp_path: Path
) -> None:
    beats = tmp_path / "heartbeat"
    environment = bench.environment(DATABASE_URL=url, WORKERPOOL_OUTBOX_POLL_MS=10, WORKERPOOL_HEARTBEAT_FILE=beats)
    with relay_process(environment, tmp_path / "relay.log") as relay:
        write(engine, 0)
        until(lambda: bench.waiting() == 1, what=relay.log.read_text)
        redis_server.stop()
        stopped_at = time.time()
        write(engine, *range(1, 8))
        until(lambda: len(rows(engine)) == 7 and rows(engine)[0].tries >= 4, what=relay.log.read_text)
        # A probe must not restart it for that.
        assert beats.stat().st_mtime > stopped_at
        redis_server.start()
        until(lambda: not rows(engine), what=relay.log.read_text)
        until(lambda: relay.messages()[-1] == "the outbox moves again", what=relay.log.read_text)
        _, waits, moves = relay.lines()
        assert waits["message"].startswith("the outbox waits: cannot send to Redis at 127.0.0.1:")
        assert (waits["level"], waits["waiting"]) == ("warning", 7)
        assert moves["tries"] >= 4
        assert bench.waiting() == 8


def test_a_database_that_cannot_be_used_is_waited_for(bench: Bench, tmp_path: Path) -> None:
    url = fresh_database("sqlite", bench.folder, None)
    environment = bench.environment(DATABASE_URL=url, WORKERPOOL_OUTBOX_POLL_MS=10)
    with relay_process(environment, tmp_path / "relay.log") as relay:
        until(lambda: "relaying the outbox, looking every 0.01 s" in relay.messages(), what=relay.log.read_text)
        engine = make_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE outbox RENAME TO elsewhere")
        until(lambda: any("the outbox waits: no such table" in text for text in relay.messages()))
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO outbox")
        write(engine, 1)
        until(lambda: bench.waiting() == 1, what=relay.log.read_text)
        until(lambda: relay.messages()[-1] == "the outbox moves again", what=relay.log.read_text)
        assert len(relay.messages()) == 3
        engine.dispose()


def test_once_without_redis_is_one_line_and_status_one(bench: Bench, redis_server: RedisServer) -> None:
    url = fresh_database("sqlite", bench.folder, None)
    engine = make_engine(url)
    write(engine, 1, 2)
    redis_server.stop()
    done = run(bench, "--once", DATABASE_URL=url)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "WORKERPOOL_BROKER_URL" in done.stderr
    assert done.stderr.endswith("; 2 jobs wait in the outbox\n")
    engine.dispose()


@pytest.mark.parametrize(
    ("more", "says", "status"),
    [
        ({"JOBS_MODE": "off"}, "workerpool-worker: JOBS_MODE: the relay puts jobs into Redis", 2),
        ({"JOBS_MODE": "inline"}, "workerpool-worker: JOBS_MODE: the relay puts jobs into Redis", 2),
        ({"WORKERPOOL_OUTBOX_BATCH": "0"}, "workerpool-worker: WORKERPOOL_OUTBOX_BATCH: ", 2),
        ({"WORKERPOOL_OUTBOX_POLL_MS": "often"}, "workerpool-worker: WORKERPOOL_OUTBOX_POLL_MS: ", 2),
        ({"DATABASE_URL": "sqlite:////proc/no/such.db"}, "workerpool-worker: cannot use the database", 1),
    ],
)
def test_what_cannot_be_used_ends_it_with_one_line(bench: Bench, more: dict[str, str], says: str, status: int) -> None:
    done = run(bench, **more)
    assert (done.returncode, done.stderr.count("\n")) == (status, 1)
    assert done.stderr.startswith(says)
