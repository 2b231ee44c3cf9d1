"""Two pools at two brokers share a budget on a laptop: real Redis, real Celery workers, real processes."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery

from tests.support.local_run import SCRIPTS, LocalRun, pool_yaml
from tests.support.waiting import eventually
from workerpool_operator.local.redis_server import RedisServer

pytestmark = pytest.mark.integration

APP = """
    import os, time
    from celery import Celery
    app = Celery("tasks", broker=os.environ["BROKER_URL"])

    @app.task
    def work(seconds):
        with open("jobs.txt", "a") as f: f.write(f"{time.time()} 1\\n")
        time.sleep(seconds)
        with open("jobs.txt", "a") as f: f.write(f"{time.time()} -1\\n")
"""
JOBS = {"email": 70, "order": 8}


def shared(name: str, url: str, *, weight: int) -> str:
    """A pool that wants a replica a job, and shares three with others."""
    command = f"[celery, -A, tasks, worker, -Q, {name}, --concurrency, '1', --prefetch-multiplier, '1']"
    return pool_yaml(
        name,
        url=url,
        worker=f"{{command: {command}}}",
        scaling=f"budget: {{name: provider, maxReplicas: 3, weight: {weight}}}",
    )


def send(broker: RedisServer, queue: str, count: int, *, seconds: float) -> None:
    with Celery("producer", broker=broker.url) as producer:
        for _ in range(count):
            producer.send_task("tasks.work", args=[seconds], queue=queue)


def sizes(run: LocalRun) -> tuple[int, ...]:
    """The size of each pool at its last decision."""
    return tuple(run.decisions(name)[-1]["current"] if run.decisions(name) else 0 for name in JOBS)


def most_at_once(jobs: Path) -> int:
    """How many jobs ever ran at the same time."""
    running, most = 0, 0
    for line in sorted(jobs.read_text().splitlines(), key=lambda line: float(line.split()[0])):
        running += int(line.split()[1])
        most = max(most, running)
    return most


def test_two_hungry_pools_share_by_weight_and_an_idle_one_leaves_all_to_the_other(
    tmp_path: Path, make_redis: Callable[..., RedisServer]
) -> None:
    (tmp_path / "tasks.py").write_text(textwrap.dedent(APP))
    brokers = {"email": make_redis(), "order": make_redis()}
    for name, count in JOBS.items():
        send(brokers[name], name, count, seconds=0.5)
    pools = shared("email", brokers["email"].url, weight=2) + shared("order", brokers["order"].url, weight=1)
    with LocalRun(folder=tmp_path, pools=pools, env={"PATH": f"{SCRIPTS}:{os.environ['PATH']}"}) as run:
        eventually(lambda: sizes(run) == (2, 1), within_s=20, what="two and one")
        eventually(lambda: sizes(run) == (3, 0), within_s=40, what="all three for the one that has work")
        assert run.decisions("email")[-1]["ready"] > 0, "it still had work"
        ended = 2 * sum(JOBS.values())
        jobs = tmp_path / "jobs.txt"
        eventually(lambda: len(jobs.read_text().splitlines()) == ended, within_s=60, what="all jobs done")
        eventually(lambda: sizes(run) == (0, 0), within_s=20, what="back at zero")
        assert run.stop() == 0
    first = [run.decisions(name)[0] for name in JOBS]
    assert [(one["target"], one["reason"]) for one in first] == [(2, "BudgetExhausted"), (1, "BudgetExhausted")]
    assert "budget provider allows 2: its share of 3 is 2" in first[0]["message"]
    assert most_at_once(jobs) == 3
    assert "ReplicaKilled" not in run.out


def test_a_hungry_pool_gives_back_a_busy_worker_when_its_job_is_done(
    tmp_path: Path, make_redis: Callable[..., RedisServer]
) -> None:
    (tmp_path / "tasks.py").write_text(textwrap.dedent(APP))
    brokers = {"email": make_redis(), "order": make_redis()}
    pools = shared("email", brokers["email"].url, weight=2) + shared("order", brokers["order"].url, weight=1)
    jobs = tmp_path / "jobs.txt"
    send(brokers["email"], "email", 12, seconds=3.0)
    with LocalRun(folder=tmp_path, pools=pools, env={"PATH": f"{SCRIPTS}:{os.environ['PATH']}"}) as run:
        eventually(lambda: jobs.exists() and most_at_once(jobs) == 3, within_s=30, what="three at work")
        send(brokers["order"], "order", 6, seconds=0.5)
        eventually(lambda: sizes(run) == (2, 1), within_s=30, what="one was given back")
        assert run.decisions("email")[-1]["running"] > 0, "it still has work"
        eventually(lambda: len(jobs.read_text().splitlines()) == 2 * 18, within_s=60, what="all jobs done")
        assert run.stop() == 0
    assert most_at_once(jobs) == 3
    assert "ReplicaKilled" not in run.out
