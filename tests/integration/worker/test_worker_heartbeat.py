"""What probes are told: ready once the worker has consumed, alive as long as its event loop turns."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.worker.bench import Bench, Worker, until
from tests.support.control_plane.local import free_port
from workerpool_operator.kube.render_env import HEALTH_PORT_VARIABLE, HEARTBEAT_VARIABLE
from workerpool_operator.kube.render_probes import probes
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.resource.worker import Worker as WorkerSpec
from workerpool_worker.models import Payment

pytestmark = pytest.mark.integration


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "heartbeat"


@pytest.fixture
def port() -> int:
    return free_port()


def start(bench: Bench, file: Path, port: int, **more: object) -> Worker:
    return bench.start(**{HEARTBEAT_VARIABLE: file, HEALTH_PORT_VARIABLE: port}, **more)


def probe(name: str, port: int) -> int:
    """What the kubelet would be told: the status of the probe's very request; 0 when nobody listens."""
    path = probes(WorkerSpec.model_construct(termination_grace_period_seconds=60))[name]["httpGet"]["path"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (ConnectionRefusedError, ConnectionResetError):
        return 0
    finally:
        connection.close()


def touched(file: Path, after_s: float) -> Callable[[], bool]:
    return lambda: file.exists() and file.stat().st_mtime > after_s


def test_a_worker_is_ready_once_it_consumes_and_what_was_left_in_the_file_is_void(
    bench: Bench, file: Path, port: int
) -> None:
    assert probe("readinessProbe", port) == probe("livenessProbe", port) == 0
    file.write_text("consuming\n")
    worker = start(bench, file, port, WORKERPOOL_BROKER_URL="redis://127.0.0.1:1/0")
    until(lambda: worker.said("cannot reach the broker"), what=bench.logs)
    assert probe("readinessProbe", port) == 503
    assert probe("livenessProbe", port) == 200
    until(touched(file, time.time()), what=bench.logs)
    other = free_port()
    start(bench, file.with_name("other"), other).ready()
    assert probe("readinessProbe", other) == 200
    assert probe("livenessProbe", other) == 200


def test_it_beats_while_a_job_runs_and_while_it_stops(bench: Bench, file: Path, port: int) -> None:
    worker = start(bench, file, port, SANDBOX_LATENCY_MS=6_000).ready()
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: bench.unacked() == 1, what=bench.logs)
    until(touched(file, time.time()), what=bench.logs)
    worker.terminate()
    until(lambda: worker.said("stopping"), what=bench.logs)
    until(touched(file, time.time()), what=bench.logs)
    assert bench.unacked() == 1
    assert probe("readinessProbe", port) == probe("livenessProbe", port) == 200
    assert worker.exit_status() == 0
    until(lambda: probe("livenessProbe", port) == 0, what=bench.logs)


def test_it_stays_ready_and_alive_while_the_broker_is_away(
    bench_on: Callable[[RedisServer], Bench], make_redis: Callable[..., RedisServer], file: Path, port: int
) -> None:
    server = make_redis()
    bench = bench_on(server)
    worker = start(bench, file, port).ready()
    server.stop()
    until(lambda: worker.said("cannot reach the broker"), what=bench.logs)
    until(touched(file, time.time() + 3), what=bench.logs)
    assert probe("readinessProbe", port) == 200
    assert probe("livenessProbe", port) == 200


@pytest.mark.timeout(300)
def test_a_broker_that_falls_silent_is_left_and_found_again(
    bench_on: Callable[[RedisServer], Bench], make_redis: Callable[..., RedisServer], file: Path, port: int
) -> None:
    """No connection is refused or reset: it takes what is sent and never answers, as one whose machine is gone."""
    server = make_redis()
    bench = bench_on(server)
    worker = start(bench, file, port).ready()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        until(lambda: worker.said("cannot reach the broker"), timeout_s=150, what=bench.logs)
        until(touched(file, time.time()), timeout_s=60, what=bench.logs)
        assert probe("readinessProbe", port) == probe("livenessProbe", port) == 200
    finally:
        os.kill(server.pid, signal.SIGCONT)
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: bench.charges() == ["p1"], timeout_s=40, what=bench.logs)


def test_a_hanging_event_loop_is_not_alive(bench: Bench, file: Path, port: int) -> None:
    worker = start(bench, file, port).ready()
    os.kill(worker.process.pid, signal.SIGSTOP)
    an_hour_ago_s = time.time() - 3_600
    os.utime(file, (an_hour_ago_s, an_hour_ago_s))
    assert probe("livenessProbe", port) == 503
    assert probe("readinessProbe", port) == 200
    os.kill(worker.process.pid, signal.SIGCONT)
    until(lambda: probe("livenessProbe", port) == 200, what=bench.logs)


def test_who_answers_ends_with_the_worker_however_that_ends(bench: Bench, file: Path, port: int) -> None:
    worker = start(bench, file, port).ready()
    worker.process.kill()
    until(lambda: probe("livenessProbe", port) == 0, what=bench.logs)


def test_a_port_that_is_taken_ends_the_start_with_one_line_that_names_it(bench: Bench, file: Path, port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("", port))
        taken.listen()
        worker = start(bench, file, port)
        assert worker.exit_status() == 2
    assert (f"WORKERPOOL_HEALTH_PORT: cannot listen on port {port}: Address already in use") in worker.log.read_text()


def test_a_file_that_cannot_be_written_is_told_once_and_ends_nothing(bench: Bench, tmp_path: Path, port: int) -> None:
    worker = start(bench, tmp_path / "missing" / "heartbeat", port).ready()
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: bench.charges() == ["p1"], what=bench.logs)
    assert len([line for line in worker.lines() if "heartbeat file" in line["message"]]) == 1
    assert probe("livenessProbe", port) == 503
