"""Sending into a real Redis: what lies there, from threads and forks, and when Redis is silent, gone or refuses."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery, signals

from tests.integration.worker.bench import until
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.messages import keys
from workerpool_worker.models import Job, Payment
from workerpool_worker.producer import BrokerUnreachableError, Producer

pytestmark = pytest.mark.integration


def payment(id_: str) -> Payment:
    return Payment(id=id_, amount_minor=500)


@pytest.fixture
def producer(redis_server: RedisServer) -> Iterator[Producer]:
    with Producer(redis_server.url) as made:
        yield made


def messages(client: redis.Redis, key: str) -> list[dict[str, Any]]:
    raw: Any = client.lrange(key, 0, -1)
    return [json.loads(message) for message in raw]


def ids(client: redis.Redis, key: str) -> list[str]:
    return [message["headers"]["id"] for message in messages(client, key)]


def test_a_message_says_when_it_was_sent_and_what_it_belongs_to(producer: Producer, redis_client: redis.Redis) -> None:
    before = time.time()
    producer.send(payment("p1"), correlation_id="request-7")
    producer.send(payment("p2"), job_id="mine")
    mine, first = messages(redis_client, "payment")
    assert before <= first["headers"]["enqueued_at"] <= time.time()
    assert (first["headers"]["id"], first["headers"]["correlation_id"]) == ("payment-p1", "request-7")
    assert (mine["headers"]["id"], mine["headers"]["correlation_id"]) == ("mine", "mine")
    assert json.loads(base64.b64decode(first["body"]))[1]["amount_minor"] == 500
    # Headers are shown by tools that look on; what is in the arguments is for the job only.
    assert "tok_visa" not in json.dumps(first["headers"])


def test_a_priority_is_a_list_of_its_own(producer: Producer, redis_client: redis.Redis) -> None:
    for priority in (None, 0, 3, 5, 6, 9):
        producer.send(payment(f"p{priority}"), priority=priority)
    producer.send_many([payment("many")], priority=9)
    assert ids(redis_client, "payment") == ["payment-p0", "payment-pNone"]
    assert ids(redis_client, "payment\x06\x163") == ["payment-p5", "payment-p3"]
    assert ids(redis_client, "payment\x06\x166") == ["payment-p6"]
    assert ids(redis_client, "payment\x06\x169") == ["payment-many", "payment-p9"]


def test_a_job_with_a_time_lies_in_the_delayed_set(producer: Producer, redis_client: redis.Redis) -> None:
    began = time.time()
    producer.send(payment("later"), delay_s=600, priority=9)
    producer.send_many([payment("m1"), payment("m2")], delay_s=1200)
    producer.send(payment("past"), delay_s=-5)
    assert ids(redis_client, "payment") == ["payment-past"]
    waiting: Any = redis_client.zrange(keys.delayed("payment"), 0, -1, withscores=True)
    assert [round(score - began, -1) for _, score in waiting] == [600, 1200, 1200]
    entries: Any = redis_client.hgetall(keys.delayed_messages("payment"))
    assert sorted(entries) == sorted(tag for tag, _ in waiting)
    place, _, message = entries[waiting[0][0]].partition("\n")
    assert place == "payment\x06\x169"
    assert json.loads(message)["headers"]["id"] == "payment-later"


def test_many_threads_send_at_once_and_share_the_connections(producer: Producer, redis_client: redis.Redis) -> None:
    def send(thread: int) -> None:
        for number in range(50):
            producer.send(payment(f"{thread}-{number}"))
        producer.send_many(payment(f"{thread}-many-{number}") for number in range(50))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = ids(redis_client, "payment")
    assert len(sent) == len(set(sent)) == 800
    clients: Any = redis_client.client_list()
    # kombu's channel keeps two; not one for each job.
    assert 1 <= sum(client["name"] == "workerpool-producer" for client in clients) <= 2 * 8


def test_a_thread_that_waits_for_a_silent_redis_keeps_no_other_waiting(redis_server: RedisServer) -> None:
    with Producer(redis_server.url, timeout_s=1.0) as producer:
        producer.ping()
        took: list[float] = []

        def send(number: int) -> None:
            began = time.monotonic()
            with pytest.raises(BrokerUnreachableError):
                producer.send(payment(f"p{number}"))
            took.append(time.monotonic() - began)

        assert redis_server.pid is not None
        os.kill(redis_server.pid, signal.SIGSTOP)
        try:
            threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            os.kill(redis_server.pid, signal.SIGCONT)
    # One after the other it would be six times a second and more.
    assert len(took) == 6
    assert max(took) < 5


def test_a_process_that_forks_after_the_first_job_sends_from_both_sides(redis_server: RedisServer) -> None:
    """As gunicorn does with `preload_app`: the sockets of the parent must not be used by its children."""
    program = """
import os, sys
from workerpool_worker.models import Payment
from workerpool_worker.producer import Producer
producer = Producer(sys.argv[1])
producer.send(Payment(id="before", amount_minor=1))
children = []
for child in range(3):
    pid = os.fork()
    if not pid:
        for number in range(100):
            producer.send(Payment(id=f"child-{child}-{number}", amount_minor=1))
        os._exit(0)
    children.append(pid)
for number in range(100):
    producer.send(Payment(id=f"parent-{number}", amount_minor=1))
sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, redis_server.url], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        sent = ids(client, "payment")
    assert len(sent) == len(set(sent)) == 401


def test_a_programs_own_celery_tasks_are_what_they_were(producer: Producer, redis_client: redis.Redis) -> None:
    url = redis_client.connection_pool.connection_kwargs
    app = Celery("theirs", broker=f"redis://{url['host']}:{url['port']}/0", set_as_current=False)
    told: list[str] = []

    def tell(sender: str = "", **_: object) -> None:
        told.append(sender)

    signals.before_task_publish.connect(tell)
    try:
        producer.send(payment("p1"))
        app.send_task("their.task", queue="theirs")
    finally:
        signals.before_task_publish.disconnect(tell)
        app.close()
    (theirs,) = messages(redis_client, "theirs")
    assert not {"enqueued_at", "correlation_id", "workerpool"} & theirs["headers"].keys()
    # What they hang on Celery's signals, such as tracing, hears of our jobs too.
    assert told == ["payment.process", "their.task"]


@pytest.mark.parametrize(
    "send",
    [
        lambda producer: producer.send(payment("p")),
        lambda producer: producer.send_many([payment("p"), payment("q")]),
        lambda producer: producer.ping(),
    ],
    ids=["send", "send_many", "ping"],
)
def test_a_redis_that_is_gone_is_one_error_and_back_it_is_used_again(
    redis_server: RedisServer, send: Callable[[Producer], object]
) -> None:
    with Producer(redis_server.url) as producer:
        send(producer)
        redis_server.kill()
        for _ in range(2):
            with pytest.raises(BrokerUnreachableError, match=f"127.0.0.1:{redis_server.port}.*WORKERPOOL_BROKER_URL"):
                send(producer)
        redis_server.start()
        send(producer)


def test_a_redis_that_takes_no_job_says_why(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis()
    with Producer(server.url) as producer, redis.Redis.from_url(server.url) as admin:
        producer.ping()
        admin.config_set("maxmemory", 1)
        for send in (lambda: producer.send(payment("p")), lambda: producer.send_many([payment("p")])):
            with pytest.raises(BrokerUnreachableError, match="full: raise its maxmemory"):
                send()
        admin.config_set("maxmemory", 0)
        producer.send(payment("p"))


def test_an_error_of_the_callers_own_is_the_callers(producer: Producer, redis_client: redis.Redis) -> None:
    def jobs() -> Iterator[Job]:
        yield payment("p1")
        raise OSError("their file")

    with pytest.raises(OSError, match=r"^their file$"):
        producer.send_many(jobs())
    assert redis_client.llen("payment") == 0


def test_a_closed_producer_lets_its_connections_go(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    producer = Producer(redis_server.url)
    producer.send(payment("p1"))
    producer.close()

    def left() -> int:
        clients: Any = redis_client.client_list()
        return sum(client["name"] == "workerpool-producer" for client in clients)

    until(lambda: left() == 0)
