"""What a real worker serves to Prometheus, while it works and while things break."""

from __future__ import annotations

import http.client
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from celery import Celery
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.worker.bench import Bench, Worker, until
from tests.support.control_plane.local import free_port
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.models import Payment

pytestmark = pytest.mark.integration

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def port() -> int:
    return free_port()


def ask(port: int, path: str, *, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, str, str]:
    """Status, content type and text; a status of 0 when nobody listens."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
    except (OSError, http.client.HTTPException):  # it ends in the middle of an answer
        return 0, "", ""
    finally:
        connection.close()


def scraped(port: int) -> Samples:
    """Values by the sample's name and the labels queue, task and outcome."""
    _, _, text = ask(port, "/metrics")
    found = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    names = ("queue", "task", "outcome")
    return {(one.name, *(one.labels[name] for name in names if name in one.labels)): one.value for one in found}


def jobs(port: int, outcome: str = "completed") -> float:
    return scraped(port).get(("workerpool_jobs_total", "payment", "payment.process", outcome), 0)


def start(bench: Bench, port: int, **more: object) -> Worker:
    return bench.start(WORKERPOOL_HEALTH_PORT=port, **more)


def beside(worker: Worker, port: int) -> psutil.Process:
    """The process that answers: the one of the worker's children that listens."""
    children = psutil.Process(worker.process.pid).children()
    [found] = [one for one in children if any(c.laddr.port == port for c in one.net_connections("tcp"))]
    return found


def test_jobs_are_counted_with_their_times(bench: Bench, port: int) -> None:
    worker = start(bench, port, SANDBOX_LATENCY_MS=60, WORKERPOOL_CONCURRENCY=2).ready()
    bench.producer.send_many(Payment(id=f"p{n}", amount_minor=500) for n in range(20))
    until(lambda: jobs(port) == 20, what=bench.logs)
    found = scraped(port)
    assert found["workerpool_job_duration_seconds_count", "payment", "payment.process"] == 20
    assert 1.2 <= found["workerpool_job_duration_seconds_sum", "payment", "payment.process"] < 30
    assert found["workerpool_job_wait_seconds_count", "payment"] == 20
    assert found["workerpool_worker_concurrency",] == 2
    assert found["workerpool_worker_broker_connected",] == 1
    assert found["workerpool_worker_heartbeat_age_seconds",] < 60
    until(lambda: scraped(port)["workerpool_worker_running_jobs",] == 0, what=bench.logs)
    main = psutil.Process(worker.process.pid)
    assert found["process_start_time_seconds",] == pytest.approx(main.create_time(), abs=2)


def test_a_job_that_runs_is_told_of(bench: Bench, port: int) -> None:
    start(bench, port, SANDBOX_LATENCY_MS=5_000).ready()
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: scraped(port).get(("workerpool_worker_running_jobs",)) == 1, what=bench.logs)


def test_numbers_outlive_the_children(bench: Bench, port: int) -> None:
    worker = start(bench, port).ready()
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: jobs(port) == 1, what=bench.logs)
    server = beside(worker, port)
    for child in psutil.Process(worker.process.pid).children():
        if child.pid != server.pid:
            child.kill()
    bench.producer.payment(Payment(id="p2", amount_minor=500))
    until(lambda: jobs(port) == 2, timeout_s=40, what=bench.logs)


def test_a_message_of_a_stranger_makes_no_series(bench: Bench, port: int) -> None:
    start(bench, port).ready()
    with Celery(broker=bench.url, set_as_current=False) as app:
        app.send_task("somebody.elses-1", queue="payment")
        app.send_task("somebody.elses-2", queue="payment")
    named = ("workerpool_jobs_total", "payment", "unknown", "dead")
    until(lambda: scraped(port).get(named) == 2, what=bench.logs)
    assert "elses" not in ask(port, "/metrics")[2]


def test_dead_letters_are_counted_also_by_workers_that_saw_none_die(bench: Bench, port: int) -> None:
    start(bench, port).ready()
    until(lambda: scraped(port).get(("workerpool_dead_letter_jobs", "payment")) == 0, what=bench.logs)
    with Celery(broker=bench.url, set_as_current=False) as app:
        app.send_task("payment.process", kwargs={"id": "p1"}, queue="payment")
    until(lambda: jobs(port, "dead") == jobs(port, "failed") == 1, what=bench.logs)
    until(lambda: scraped(port)["workerpool_dead_letter_jobs", "payment"] == 1, what=bench.logs)
    other = free_port()
    start(bench, other).ready()
    until(lambda: scraped(other).get(("workerpool_dead_letter_jobs", "payment")) == 1, what=bench.logs)
    assert jobs(other, "dead") == 0


def test_a_broker_that_is_away_is_told_and_the_numbers_stay(
    bench_on: Callable[[RedisServer], Bench], make_redis: Callable[..., RedisServer], port: int
) -> None:
    server = make_redis()
    bench = bench_on(server)
    start(bench, port).ready()
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: jobs(port) == 1, what=bench.logs)
    server.stop()
    until(lambda: scraped(port)["workerpool_worker_broker_connected",] == 0, what=bench.logs)
    assert jobs(port) == 1
    assert (ask(port, "/healthz")[0], ask(port, "/readyz")[0]) == (200, 200)
    server.start()
    until(lambda: scraped(port)["workerpool_worker_broker_connected",] == 1, timeout_s=40, what=bench.logs)
    assert jobs(port) == 1


def test_a_worker_without_a_broker_is_scraped_too(bench: Bench, port: int) -> None:
    start(bench, port, WORKERPOOL_BROKER_URL="redis://127.0.0.1:1/0")
    until(lambda: scraped(port).get(("workerpool_worker_broker_connected",)) == 0, what=bench.logs)


def test_whoever_answers_is_replaced_when_it_is_killed(bench: Bench, port: int) -> None:
    worker = start(bench, port).ready()
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: jobs(port) == 1, what=bench.logs)
    first = beside(worker, port)
    first.kill()
    until(lambda: ask(port, "/healthz")[0] == 200, timeout_s=30, what=bench.logs)
    assert worker.said("the process that answers probes had ended; started another")
    second = beside(worker, port)
    assert second.pid != first.pid
    assert not first.is_running(), "what has ended is waited for"
    assert jobs(port) == 1
    sockets = [one for one in second.net_connections() if one.status == psutil.CONN_ESTABLISHED and one.raddr]
    assert not [one for one in sockets if one.raddr.port == bench.redis.connection_pool.connection_kwargs["port"]]
    bench.producer.payment(Payment(id="p2", amount_minor=500))
    until(lambda: jobs(port) == 2, what=bench.logs)
    worker.terminate()
    assert worker.exit_status() == 0
    until(lambda: ask(port, "/healthz")[0] == 0, what=bench.logs)


def test_signals_to_the_whole_group_are_the_workers(bench: Bench, port: int) -> None:
    worker = start(bench, port).ready()
    server = beside(worker, port)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(server.pid, number)
    assert ask(port, "/healthz")[0] == 200
    assert beside(worker, port).pid == server.pid


def test_what_can_be_asked(bench: Bench, port: int) -> None:
    start(bench, port).ready()
    status, kind, text = ask(port, "/metrics?name[]=x")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "# TYPE workerpool_jobs_total counter" in text
    assert ask(port, "/metrics", method="HEAD")[2] == ""
    assert ask(port, "/healthz?verbose")[::2] == (200, "alive\n")
    assert ask(port, "/")[::2] == (404, "/healthz, /readyz, /metrics are all there is\n")
    assert ask(port, "/metrics", method="POST")[0] == 501


def test_both_families_of_addresses_are_answered(bench: Bench, port: int) -> None:
    start(bench, port).ready()
    hosts = ["127.0.0.1", *(["::1"] if socket.has_dualstack_ipv6() else [])]
    assert {host: ask(port, "/readyz", host=host)[0] for host in hosts} == dict.fromkeys(hosts, 200)


def test_a_worker_says_what_it_runs_with_when_it_starts(bench: Bench, port: int, tmp_path: Path) -> None:
    worker = start(bench, port, SMTP_PASSWORD="mail-password-1").ready()
    [line] = [line for line in worker.lines() if line["message"] == "worker starting"]
    assert line["pool"] == "default/shop"
    assert line["health"] == {"port": port, "paths": "/healthz /readyz /metrics"}
    assert line["database"]["file"] == str(tmp_path / "workerpool.db")
    assert any(sentence.startswith("no DATABASE_URL: SQLite in ") for sentence in line["missing"])
    assert "mail-password-1" not in worker.log.read_text()
