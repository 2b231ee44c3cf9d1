"""No-op jobs through the bundled worker and through bare Celery, beside each other in one run.

    .venv/bin/python -m benchmarks.worker_throughput [--jobs 5000] [--concurrency 1 2 4] [--rounds 3]

All jobs lie in one Redis of this run before a worker starts. Counted from the moment the warm-up's share is done until
nothing waits and nothing is unacknowledged. The contenders take turns in every round; the table has medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis
from benchmarks.workers.contenders import ALL, CELERY, QUEUE, SAFE, Contender, Running, running
from celery import Celery

from workerpool_operator.local.redis_server import RedisServer

_POLL_S = 0.02
_GIVE_UP_S = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one worker did with the jobs that count."""

    jobs_per_s: float
    parent_us: float
    children_us: float
    redis_us: float
    memory_mb: float
    commands: Mapping[str, float]


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description="No-op jobs through the bundled worker and through bare Celery.")
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--warm-up", type=int, default=500, help="jobs done before the counting begins")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    runs: dict[tuple[int, Contender], list[Run]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name) / "redis", append_fsync="everysec") as server:
        for number in range(options.rounds):
            for concurrency in options.concurrency:
                for contender in ALL:
                    folder = Path(name) / f"{number}-{concurrency}-{ALL.index(contender)}"
                    folder.mkdir()
                    runs[concurrency, contender].append(
                        _measure(contender, server.url, folder, concurrency=concurrency, options=options)
                    )
    _print_rates(runs)
    _print_commands(runs, options.concurrency[-1])


def _measure(contender: Contender, url: str, folder: Path, *, concurrency: int, options: argparse.Namespace) -> Run:
    with redis.Redis.from_url(url) as client:
        client.flushall()
        _send(url, options.jobs + options.warm_up)
        with running(contender, url=url, folder=folder, concurrency=concurrency) as worker:
            left, began_s = _until_left(client, contender, worker, options.jobs)
            before, redis_before = worker.use(), _redis_cpu_s(client)
            client.config_resetstat()
            polls, ended_s = _until_done(client, contender, worker)
            commands, redis_after, after = _commands(client), _redis_cpu_s(client), worker.use()
    for command in ("llen", "hlen"):
        commands[command] = commands.get(command, 0) - polls
    return Run(
        jobs_per_s=left / (ended_s - began_s),
        parent_us=(after.parent_cpu_s - before.parent_cpu_s) / left * 1e6,
        children_us=(after.children_cpu_s - before.children_cpu_s) / left * 1e6,
        redis_us=(redis_after - redis_before) / left * 1e6,
        memory_mb=after.memory_mb,
        commands={command: calls / left for command, calls in commands.items()},
    )


def _send(url: str, jobs: int) -> None:
    with Celery("bench-producer", broker=url, set_as_current=False) as app:
        for number in range(jobs):
            app.send_task("bench.noop", kwargs={"id": f"n{number}"}, task_id=f"noop-n{number}", queue=QUEUE)


def _until_left(client: redis.Redis, contender: Contender, worker: Running, jobs: int) -> tuple[int, float]:
    """Wait for the warm-up to be over: how many jobs were left then, and when that was."""
    deadline_s = time.monotonic() + _GIVE_UP_S
    while (left := _left(client, contender)) > jobs:
        worker.check()
        if time.monotonic() > deadline_s:
            raise SystemExit(f"{contender.name}: {left} jobs left after {_GIVE_UP_S:g} s: {worker.log.read_text()}")
        time.sleep(_POLL_S / 10)
    return left, time.monotonic()


def _until_done(client: redis.Redis, contender: Contender, worker: Running) -> tuple[int, float]:
    """Wait for the last job: how often was asked, and when it was done."""
    polls, deadline_s = 1, time.monotonic() + _GIVE_UP_S
    while left := _left(client, contender):
        worker.check()
        if time.monotonic() > deadline_s:
            raise SystemExit(f"{contender.name}: {left} jobs left after {_GIVE_UP_S:g} s: {worker.log.read_text()}")
        polls += 1
        time.sleep(_POLL_S)
    return polls, time.monotonic()


def _left(client: redis.Redis, contender: Contender) -> int:
    pipe = client.pipeline(transaction=False)
    pipe.llen(QUEUE)
    pipe.hlen(contender.unacked_key)
    return sum(pipe.execute())


def _redis_cpu_s(client: redis.Redis) -> float:
    cpu = client.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def _commands(client: redis.Redis) -> dict[str, int]:
    """Calls by command, those inside scripts too."""
    stats = client.info("commandstats")
    found = {name.removeprefix("cmdstat_"): int(values["calls"]) for name, values in stats.items()}
    return {name: calls for name, calls in found.items() if not name.startswith(("config", "info"))}


def _print_rates(runs: Mapping[tuple[int, Contender], Sequence[Run]]) -> None:
    print(
        "| jobs at a time | worker | jobs/s | of stock Celery | of safe Celery | parent, CPU µs a job "
        "| children, CPU µs a job | Redis, CPU µs a job | memory MB |\n|--:|---|--:|--:|--:|--:|--:|--:|--:|"
    )
    rates = {key: statistics.median(run.jobs_per_s for run in value) for key, value in runs.items()}
    for (concurrency, contender), some in runs.items():
        rate = rates[concurrency, contender]
        cells = [f"{rate:.0f}", *(f"{rate / rates[concurrency, base]:.2f}" for base in (CELERY, SAFE))]
        cells += [f"{_median(some, name):.0f}" for name in ("parent_us", "children_us", "redis_us", "memory_mb")]
        print(f"| {concurrency} | {contender.name} | {' | '.join(cells)} |")


def _median(runs: Sequence[Run], name: str) -> float:
    return float(statistics.median(getattr(run, name) for run in runs))


def _print_commands(runs: Mapping[tuple[int, Contender], Sequence[Run]], concurrency: int) -> None:
    names = sorted({name for (_, _), some in runs.items() for run in some for name in run.commands})
    print(
        f"\n| Redis command, calls a job with {concurrency} at a time | " + " | ".join(one.name for one in ALL) + " |"
    )
    print("|---|" + "--:|" * len(ALL))
    for name in [*names, "all of them"]:
        cells = []
        for contender in ALL:
            some = runs[concurrency, contender]
            cells.append(statistics.median(_calls(run, name) for run in some))
        if any(cell >= 0.005 for cell in cells):
            print(f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")


def _calls(run: Run, name: str) -> float:
    return sum(run.commands.values()) if name == "all of them" else run.commands.get(name, 0.0)


if __name__ == "__main__":
    main()
