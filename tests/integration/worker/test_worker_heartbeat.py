"""The file that probes look at: empty until the worker consumes, then touched as long as its event loop turns."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.worker.bench import Bench, Worker, until
from workerpool_operator.kube.render_env import HEARTBEAT_VARIABLE
from workerpool_operator.kube.render_probes import probes
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.resource.worker import Worker as WorkerSpec
from workerpool_worker.models import Payment

pytestmark = pytest.mark.integration


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "heartbeat"


def start(bench: Bench, file: Path, **more: object) -> Worker:
    return bench.start(**{HEARTBEAT_VARIABLE: file}, **more)


def probe(name: str, file: Path) -> int:
    """What the kubelet would find: the status of the probe's very command."""
    command = probes(WorkerSpec.model_construct(termination_grace_period_seconds=60))[name]["exec"]["command"]
    environment = {"PATH": os.environ["PATH"], HEARTBEAT_VARIABLE: str(file)}
    return subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode


def touched(file: Path, after_s: float) -> Callable[[], bool]:
    return lambda: file.exists() and file.stat().st_mtime > after_s


def test_a_worker_is_ready_once_it_consumes_and_what_was_left_in_the_file_is_void(bench: Bench, file: Path) -> None:
    assert probe("readinessProbe", file) == probe("livenessProbe", file) == 1
    file.write_text("consuming\n")
    worker = start(bench, file, WORKERPOOL_BROKER_URL="redis://127.0.0.1:1/0")
    until(lambda: worker.said("cannot reach the broker"), what=bench.logs)
    assert probe("readinessProbe", file) == 1
    assert probe("livenessProbe", file) == 0
    until(touched(file, time.time()), what=bench.logs)
    other = file.with_name("other")
    start(bench, other).ready()
    assert probe("readinessProbe", other) == 0
    assert probe("livenessProbe", other) == 0


def test_it_beats_while_a_job_runs_and_while_it_stops(bench: Bench, file: Path) -> None:
    worker = start(bench, file, SANDBOX_LATENCY_MS=6_000).ready()
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: bench.unacked() == 1, what=bench.logs)
    until(touched(file, time.time()), what=bench.logs)
    worker.terminate()
    until(lambda: worker.said("stopping"), what=bench.logs)
    until(touched(file, time.time()), what=bench.logs)
    assert bench.unacked() == 1
    assert worker.exit_status() == 0


def test_it_stays_ready_and_alive_while_the_broker_is_away(
    bench_on: Callable[[RedisServer], Bench], make_redis: Callable[..., RedisServer], file: Path
) -> None:
    server = make_redis()
    bench = bench_on(server)
    worker = start(bench, file).ready()
    server.stop()
    until(lambda: worker.said("cannot reach the broker"), what=bench.logs)
    until(touched(file, time.time() + 3), what=bench.logs)
    assert probe("readinessProbe", file) == 0
    assert probe("livenessProbe", file) == 0


def test_a_hanging_event_loop_is_not_alive(bench: Bench, file: Path) -> None:
    worker = start(bench, file).ready()
    os.kill(worker.process.pid, signal.SIGSTOP)
    an_hour_ago_s = time.time() - 3_600
    os.utime(file, (an_hour_ago_s, an_hour_ago_s))
    assert probe("livenessProbe", file) == 1
    assert probe("readinessProbe", file) == 0
    os.kill(worker.process.pid, signal.SIGCONT)
    until(lambda: probe("livenessProbe", file) == 0, what=bench.logs)


def test_a_file_that_cannot_be_written_is_told_once_and_ends_nothing(bench: Bench, tmp_path: Path) -> None:
    worker = start(bench, tmp_path / "missing" / "heartbeat").ready()
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    until(lambda: bench.charges() == ["p1"], what=bench.logs)
    assert len([line for line in worker.lines() if "heartbeat file" in line["message"]]) == 1
