"""Where a job's message is, found in a real Redis, and what database and Redis say together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.messages import delayed, keys, wire
from workerpool_worker.messages.history import HISTORY
from workerpool_worker.messages.letters import Letter
from workerpool_worker.models import Payment
from workerpool_worker.producer import Producer
from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.store.jobs import begun, ended
from workerpool_worker.store.places import Place, search
from workerpool_worker.store.records import Ending, Try
from workerpool_worker.store.status import JobStatus, status

pytestmark = pytest.mark.integration

COMMAND = str(Path(sys.executable).with_name("workerpool-worker"))
QUEUES = ("email", "payment")
UNACKED = "workerpool:shop:payment-pool:unacked"


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as made:
        yield made


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = make_engine(f"sqlite:///{tmp_path / 'workerpool.db'}")
    create_tables(made)
    yield made
    made.dispose()


@pytest.fixture
def producer(redis_server: RedisServer) -> Iterator[Producer]:
    with Producer(redis_server.url) as made:
        yield made


def pay(number: int) -> Payment:
    return Payment(id=f"p{number}", amount_minor=5)


def found(client: redis.Redis, job_id: str, **more: Any) -> Place:
    place = search(client, job_id, queues=QUEUES, **more).live
    assert place is not None
    return place


def letter(job_id: str, *, copy: int = 1, died_at: float) -> Letter:
    name = job_id if copy == 1 else f"{job_id}~{copy}"
    return Letter(
        id=name, job_id=job_id, task="payment.process", queue="payment", list_key="payment", error="CardError",
        text="no money", attempts=5, died_at=died_at, enqueued_at=died_at - 9,
    )  # fmt: skip


def bury(client: redis.Redis, dead: Letter) -> None:
    client.sadd(keys.DEAD_LETTER_QUEUES, dead.queue)
    client.zadd(keys.dead_letters(dead.queue), {dead.id: dead.died_at})
    client.hset(keys.dead_letter_bodies(dead.queue), dead.id, dead.encode())


def test_a_job_in_its_list_and_how_many_are_before_it(client: redis.Redis, producer: Producer) -> None:
    for number in range(5):
        producer.send(pay(number))
    place = found(client, "payment-p3")
    assert (place.kind, place.key, place.queue, place.task) == ("queue", "payment", "payment", "payment.process")
    assert place.ahead == 3
    assert place.enqueued_at == pytest.approx(time.time(), abs=60)
    assert search(client, "payment-p30", queues=QUEUES).live is None
    # Its id in the correlation id or text of another job is not the job.
    assert search(client, "payment-p", queues=QUEUES).live is None


def test_a_job_of_a_lower_priority_waits_behind_the_others(client: redis.Redis, producer: Producer) -> None:
    for number in range(3):
        producer.send(pay(number))
    client.lpush("payment\x06\x166", client.rpop("payment"))  # type: ignore[arg-type]
    place = found(client, "payment-p0")
    assert (place.key, place.ahead) == ("payment\x06\x166", 2)
    assert search(client, "payment-p0", queues=QUEUES, priority_steps=(0, 3)).live is None


def raw_message(client: redis.Redis) -> bytes:
    raw: Any = client.rpop("payment")
    return bytes(raw)


def test_a_delayed_job_and_one_in_the_hands_of_a_worker(client: redis.Redis, producer: Producer) -> None:
    producer.send(pay(1))
    message = json.loads(raw_message(client))
    message["headers"][HISTORY] = {"tries": 4}
    due = time.time() + 600
    delayed.add(client, "payment", tag="t1", list_key="payment", message=wire.encode(message), due_s=due)
    place = found(client, "payment-p1")
    assert (place.kind, place.tries) == ("delayed", 4)
    assert place.due_at == pytest.approx(due)
    producer.send(pay(2))
    client.hset(UNACKED, "t2", json.dumps([json.loads(raw_message(client)), "", "payment"]))
    place = found(client, "payment-p2")
    assert (place.kind, place.key, place.queue) == ("unacked", UNACKED, "payment")


def test_what_a_worker_of_the_app_itself_holds_under_a_prefix(client: redis.Redis, producer: Producer) -> None:
    producer.send(pay(1))
    client.hset("shop-unacked", "t", json.dumps([json.loads(raw_message(client)), "", "payment"]))
    assert search(client, "payment-p1", queues=QUEUES).live is None
    assert found(client, "payment-p1", prefix="shop-").key == "shop-unacked"


def test_the_latest_of_a_jobs_dead_letters(client: redis.Redis) -> None:
    bury(client, letter("payment-p1", died_at=50.0))
    bury(client, letter("payment-p1", copy=3, died_at=90.0))
    bury(client, letter("payment-p10", died_at=99.0))
    place = search(client, "payment-p1", queues=QUEUES).letter
    assert place is not None
    assert (place.died_at, place.tries, place.error_class, place.error) == (90.0, 5, "CardError", "no money")
    client.hset(keys.dead_letter_bodies("payment"), "payment-p2", "no letter")
    assert search(client, "payment-p2", queues=QUEUES).letter is None


def test_too_much_to_read_is_said(client: redis.Redis, producer: Producer) -> None:
    producer.send_many(pay(number) for number in range(1_000))
    seen = search(client, "payment-p900", queues=QUEUES, most=400)
    assert (seen.live, seen.gave_up) == (None, ("payment",))
    assert search(client, "payment-p399", queues=QUEUES, most=400).live is not None
    seen = search(client, "payment-p900", queues=QUEUES)
    assert (seen.live is not None, seen.gave_up) == (True, ())


def test_what_is_no_message_is_passed_over(client: redis.Redis, producer: Producer) -> None:
    producer.send(pay(1))
    for junk in (b"payment-p1 \xff\x00", b'"payment-p1"', b'{"headers": "payment-p1"}', b"[]", b"[" * 50_000):
        client.rpush("payment", junk)
        client.hset(keys.delayed_messages("payment"), junk, junk)
        client.hset(UNACKED, junk, junk)
    assert found(client, "payment-p1").ahead == 5


def ask(engine: sa.Engine, client: redis.Redis, job_id: str) -> JobStatus:
    return status(engine, client, job_id, queues=QUEUES)


def a_try(job_id: str, attempt: int = 1) -> Try:
    sent = time.time() - 60
    return Try(
        job_id=job_id, task="payment.process", queue="payment", attempt=attempt, enqueued_at=sent, started_at=sent + 1
    )


def test_both_together(engine: sa.Engine, client: redis.Redis, producer: Producer) -> None:
    assert not ask(engine, client, "payment-p1").known
    producer.send(pay(1))
    seen = ask(engine, client, "payment-p1")
    assert (seen.state, seen.record) == ("waiting", None)
    raw = raw_message(client)
    client.hset(UNACKED, "t", b"[" + raw + b', "", "payment"]')
    assert ask(engine, client, "payment-p1").state == "active"
    begun(engine, a_try("payment-p1"))
    client.hdel(UNACKED, "t")
    lost = ask(engine, client, "payment-p1")
    assert (lost.state, lost.place) == ("active", None)
    assert "at none of the places" in lost.note
    bury(client, letter("payment-p1", died_at=time.time()))
    dead = ask(engine, client, "payment-p1")
    assert (dead.state, dead.record and dead.record.state) == ("failed", "active")
    ended(engine, a_try("payment-p1"), Ending(state="completed", at=time.time()))
    assert ask(engine, client, "payment-p1").state == "completed"


def test_a_queue_nobody_named_is_found_by_the_row_or_its_dead_letters(engine: sa.Engine, client: redis.Redis) -> None:
    begun(engine, a_try("payment-p1"))
    message = {"headers": {"id": "payment-p1", "task": "t"}, "properties": {}, "body": ""}
    client.lpush("payment", json.dumps(message))
    assert status(engine, client, "payment-p1").state == "waiting"
    bury(client, letter("payment-p2", died_at=5.0))
    assert status(engine, client, "payment-p2").state == "failed"


def test_a_job_that_moves_on_between_two_looks_is_found(
    engine: sa.Engine, client: redis.Redis, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer.send(pay(1))
    raw = raw_message(client)
    client.hset(UNACKED, "t", b"[" + raw + b', "", "payment"]')
    scan = client.hscan

    def moved_meanwhile(name: Any, *arguments: Any, **more: Any) -> Any:
        # The look at the lists is over; before this one, the job goes back to its list.
        if name == UNACKED and client.hdel(UNACKED, "t"):
            client.lpush("payment", raw)
        return scan(name, *arguments, **more)

    monkeypatch.setattr(client, "hscan", moved_meanwhile)
    assert ask(engine, client, "payment-p1").state == "waiting"


def run(engine: sa.Engine, url: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    database = engine.url.render_as_string(hide_password=False)
    environment = {**os.environ, "DATABASE_URL": database, "WORKERPOOL_BROKER_URL": url, **more}
    return subprocess.run([COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_the_commands(engine: sa.Engine, redis_server: RedisServer, producer: Producer) -> None:
    url = redis_server.url
    producer.send(pay(7))
    failed = Ending(state="failed", at=time.time(), error_class="CardError", error="no\nmoney " * 20)
    ended(engine, a_try("payment-p1", 3), failed)
    ended(engine, a_try("payment-p2"), Ending(state="completed", at=time.time() - 5, result={"outcome": "charged"}))
    listed = run(engine, url, "jobs", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    lines = listed.stdout.splitlines()
    assert lines[0].split()[:6] == ["ID", "STATE", "QUEUE", "TASK", "TRIES", "DONE"]
    assert [line.split()[0] for line in lines[1:]] == ["payment-p1", "payment-p2"]
    assert "CardError: no money" in lines[1]
    assert lines[1].endswith("…")
    first = run(engine, url, "jobs", "list", "--limit", "1", "--json")
    assert json.loads(first.stdout)["id"] == "payment-p1"
    cursor = first.stderr.strip().removeprefix("there are more: --cursor ").strip("'")
    rest = run(engine, url, "jobs", "list", "--cursor", cursor, "--json")
    assert [json.loads(line)["result"] for line in rest.stdout.splitlines()] == [{"outcome": "charged"}]
    only = run(engine, url, "jobs", "list", "--state", "completed", "--queue", "payment", "--task", "payment.process")
    assert len(only.stdout.splitlines()) == 2
    wrong = run(engine, url, "jobs", "list", "--cursor", "x")
    assert (wrong.returncode, wrong.stderr) == (2, "workerpool-worker: --cursor: 'x' is no cursor of a page before\n")
    counted = run(engine, url, "jobs", "counts")
    assert [line.split() for line in counted.stdout.splitlines()] == [
        ["QUEUE", "WAITING", "DELAYED", "ACTIVE", "COMPLETED", "FAILED"],
        ["payment", "0", "0", "0", "1", "1"],
    ]
    counted = run(engine, url, "jobs", "counts", "--json")
    assert json.loads(counted.stdout.splitlines()[0]) == {"queue": "payment", "state": "completed", "count": 1}
    shown = run(engine, url, "jobs", "show", "payment-p7")
    assert "state      waiting\n" in shown.stdout
    assert "message    in the list payment, 0 before it\n" in shown.stdout
    shown = run(engine, url, "jobs", "show", "payment-p1", "--json")
    assert (json.loads(shown.stdout)["state"], json.loads(shown.stdout)["attempts"]) == ("failed", 3)


def test_the_commands_say_what_is_wrong_in_one_line(engine: sa.Engine, redis_server: RedisServer) -> None:
    unknown = run(engine, redis_server.url, "jobs", "show", "payment-p9")
    assert (unknown.returncode, unknown.stdout, unknown.stderr.count("\n")) == (1, "", 1)
    assert "no job payment-p9: looked in the database sqlite:///" in unknown.stderr
    assert "in the queues email, order, payment, " in unknown.stderr
    ended(engine, a_try("payment-p1"), Ending(state="completed", at=time.time()))
    away = run(engine, "redis://127.0.0.1:1/0", "jobs", "show", "payment-p1")
    assert (away.returncode, away.stderr.count("\n")) == (0, 1)
    assert "state      completed" in away.stdout
    assert "cannot ask Redis at" in away.stderr
    away = run(engine, "redis://127.0.0.1:1/0", "jobs", "show", "payment-p9")
    assert (away.returncode, away.stderr.count("\n")) == (1, 1)
    assert "cannot ask Redis at" in away.stderr
    off = run(engine, redis_server.url, "jobs", "list", WORKERPOOL_JOB_STATUS="off")
    assert (off.returncode, "WORKERPOOL_JOB_STATUS is off" in off.stderr) == (0, True)
    nowhere = run(engine, redis_server.url, "jobs", "list", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (1, 1)
    assert "check DATABASE_URL" in nowhere.stderr
