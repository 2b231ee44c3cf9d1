"""``workerpool local`` as a user runs it: real Redis, real Celery workers, real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from celery import Celery

from tests.support.local_run import SCRIPTS, LocalRun, pool_yaml
from tests.support.waiting import eventually
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.effects import EffectsReader
from workerpool_worker.models import Payment
from workerpool_worker.producer import Producer

pytestmark = pytest.mark.integration

FOREIGN_APP = """
    import time
    from celery import Celery
    app = Celery("tasks", broker={url!r})

    @app.task
    def work(number, seconds):
        with open("begun.txt", "a") as f: f.write(f"{{number}}\\n")
        time.sleep(seconds)
        with open("ended.txt", "a") as f: f.write(f"{{number}}\\n")
"""


def lines(path: Path) -> Counter[str]:
    return Counter(path.read_text().split()) if path.exists() else Counter()


def test_a_foreign_celery_app_is_scaled_up_and_down_without_killing_a_busy_worker(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    (tmp_path / "tasks.py").write_text(textwrap.dedent(FOREIGN_APP.format(url=redis_server.url)))
    worker = "{command: [celery, -A, tasks, worker, --concurrency, '1'], terminationGracePeriodSeconds: 30}"
    pools = pool_yaml("mine", url=redis_server.url, worker=worker, queue="celery", spec="maxReplicas: 4")
    with (
        Celery("producer", broker=redis_server.url) as producer,
        LocalRun(folder=tmp_path, pools=pools, env={"PATH": f"{SCRIPTS}:{os.environ['PATH']}"}) as run,
    ):
        run.wait_decision(lambda d: d["target"] == 0, what="a first decision, at zero")
        for number in range(12):
            # one long job among short ones: its worker must outlive the others
            producer.send_task("tasks.work", args=[number, 8 if number == 0 else 0.5])
        eventually(lambda: lines(tmp_path / "ended.txt").total() == 12, within_s=60, what="all jobs done")
        run.wait_decision(lambda d: d["target"] == 0 and d["current"] == 0, what="back at zero")
        assert run.stop() == 0
    targets = [decision["target"] for decision in run.decisions()]
    assert max(targets) == 4
    assert lines(tmp_path / "begun.txt") == lines(tmp_path / "ended.txt") == Counter(map(str, range(12)))
    assert "ReplicaKilled" not in run.out
    assert "every worker ended in order" in run.out


def bundled_env(folder: Path, url: str, *, latency_ms: int) -> dict[str, str]:
    return {
        "BROKER_URL": url,
        "DATABASE_URL": f"sqlite:///{folder / 'shop.db'}",
        "WORKERPOOL_INVOICE_DIR": str(folder / "invoices"),
        "SANDBOX_LATENCY_MS": str(latency_ms),
        "SMTP_PORT": "1",
    }


def charges(folder: Path) -> Counter[str]:
    reader = EffectsReader(f"sqlite:///{folder / 'shop.db'}")
    try:
        return Counter(entry.payment for entry in reader.ledger_entries() if entry.kind == "charge")
    finally:
        reader.close()


def test_a_pool_at_zero_with_only_stranded_work_wakes_and_finishes_it(
    tmp_path: Path, redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    env = bundled_env(tmp_path, redis_server.url, latency_ms=1_500)
    names = {"WORKERPOOL_POOL": "payment", "WORKERPOOL_NAMESPACE": "default", "WORKERPOOL_QUEUES": "payment"}
    with Producer(redis_server.url) as producer:
        producer.payment(Payment(id="p1", amount_minor=100))
    worker = subprocess.Popen(
        [SCRIPTS / "workerpool-worker", "run"],
        cwd=tmp_path,
        env={**os.environ, **env, **names},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: redis_client.hlen("workerpool:default:payment:unacked"), within_s=20, what="the job fetched")
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    assert redis_client.llen("payment") == 0

    pools = pool_yaml("payment", url=redis_server.url)
    with LocalRun(folder=tmp_path, pools=pools, env=env) as run:
        eventually(lambda: charges(tmp_path), within_s=40, what="the stranded job done")
        run.wait_decision(lambda d: d["target"] == 0 and d["current"] == 0, what="back at zero")
        assert run.stop() == 0
    assert charges(tmp_path) == Counter({"p1": 1})
    assert any(d["reason"] == "StrandedWork" and d["target"] == 1 for d in run.decisions())


def test_ctrl_c_lets_a_worker_finish_its_job(tmp_path: Path, redis_server: RedisServer) -> None:
    pools = pool_yaml("payment", url=redis_server.url)
    with LocalRun(folder=tmp_path, pools=pools, env=bundled_env(tmp_path, redis_server.url, latency_ms=3_000)) as run:
        with Producer(redis_server.url) as producer:
            producer.payment(Payment(id="p1", amount_minor=100))
        run.wait_decision(lambda d: d["running"] == 1, what="the job running")
        assert not charges(tmp_path)
        assert run.stop() == 0
    assert charges(tmp_path) == Counter({"p1": 1})


def test_jobs_of_an_embedded_redis_survive_a_restart_of_local_mode(tmp_path: Path) -> None:
    pools = pool_yaml("payment", spec="replicas: 0")
    with LocalRun(folder=tmp_path, pools=pools) as run:
        eventually(lambda: "export BROKER_URL=" in run.out, within_s=20, what="the address of the Redis")
        url = run.out.split("export BROKER_URL=")[1].split(")")[0]
        with Producer(url) as producer:
            producer.payment(Payment(id="p1", amount_minor=100))
        run.wait_decision(
            lambda d: d["ready"] == 1 and d["target"] == 0 and d["reason"] == "Pinned", what="pinned at 0"
        )
        assert run.stop() == 0
    (tmp_path / "decisions.jsonl").unlink()
    env = bundled_env(tmp_path, "", latency_ms=0)
    with LocalRun(folder=tmp_path, pools=pool_yaml("payment"), env=env) as run:
        eventually(lambda: charges(tmp_path), within_s=40, what="the job of the first run done by the second")


def test_one_broker_away_leaves_the_pools_of_another_alone(
    tmp_path: Path, make_redis: Callable[..., RedisServer]
) -> None:
    well, sick = make_redis(), make_redis()
    pools = pool_yaml("payment", url=well.url) + pool_yaml("order", url=sick.url, spec="minReplicas: 1")
    with LocalRun(folder=tmp_path, pools=pools, env=bundled_env(tmp_path, well.url, latency_ms=0)) as run:
        run.wait_decision(lambda d: d["pool"] == "order" and d["current"] == 1, what="order at its minimum")
        sick.stop()
        run.wait_decision(lambda d: d["pool"] == "order" and d["reason"] == "BrokerUnreadable", what="order unreadable")
        with Producer(well.url) as producer:
            producer.payment(Payment(id="p1", amount_minor=100))
        eventually(lambda: charges(tmp_path), within_s=40, what="payment works on")
        unreadable = [d for d in run.decisions("order") if d["reason"] == "BrokerUnreadable"]
        assert all(d["ready"] is None and d["target"] == d["current"] == 1 for d in unreadable)
        sick.start()
        back_s = time.time()
        run.wait_decision(lambda d: d["pool"] == "order" and d["ready"] == 0, what="order readable again")
        after = [d for d in run.decisions("order") if d["time"] >= back_s]
        assert any(d["ready"] == 0 for d in after[:2]), "recovered within two polls"
        run.stop()


def test_a_crashing_worker_is_reported_and_started_again(tmp_path: Path, redis_server: RedisServer) -> None:
    worker = "{command: [sh, -c, 'echo out of beans >&2; exit 3']}"
    with LocalRun(
        folder=tmp_path, pools=pool_yaml("email", url=redis_server.url, worker=worker, spec="minReplicas: 1")
    ) as run:
        eventually(lambda: run.out.count("ReplicaCrashed") >= 2, within_s=20, what="two crashes reported")
        assert "out of beans" in run.out
        assert "status 3" in run.out
        run.stop()
