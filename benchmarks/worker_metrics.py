"""What a worker's metrics cost: the event loop, a job at a time and every two seconds; a scrape, beside it."""

from __future__ import annotations

import os
import time
import timeit
from collections.abc import Callable
from pathlib import Path

from workerpool_worker.monitoring import metrics, startup
from workerpool_worker.monitoring.exposition import Exposition
from workerpool_worker.monitoring.shared_page import SharedPage
from workerpool_worker.settings import load_settings

QUEUES = ("email", "order", "payment", "sms", "maintenance")
TASKS = tuple(f"shop.task_{number}" for number in range(20))


def count(queue: str, task: str) -> None:
    """One job, as the worker counts it."""
    metrics.job_ended(queue=queue, task=task, outcome="completed", seconds=0.031, wait_s=0.4)


def each_us(run: Callable[[], object], number: int) -> float:
    """Microseconds of a call: the best of five rounds, since other programs only add."""
    return min(timeit.repeat(run, number=number, repeat=5)) / number * 1e6


def main() -> None:
    """Print the figures."""
    print(f"a job that is not counted (no port): {each_us(lambda: count('email', TASKS[0]), 200_000):.2f} us")
    page = SharedPage()
    metrics.begin(page, queues=QUEUES, tasks=frozenset(TASKS), fixed=startup.fixed(load_settings({})))
    print(f"a job that is counted: {each_us(lambda: count('email', TASKS[0]), 200_000):.2f} us")
    for number, task in enumerate(TASKS):
        count(QUEUES[number % len(QUEUES)], task)

    def publish() -> None:
        count("email", TASKS[0])
        metrics.tick()

    print(f"publishing, every 2 s, 20 tasks on 5 queues: {each_us(publish, 500):.0f} us, {len(page.read()):,} bytes")
    shown = Exposition(os.getpid(), Path("/dev/null"))
    began = time.perf_counter()
    text = shown.render(page.read())
    first_ms = (time.perf_counter() - began) * 1e3
    again = each_us(lambda: shown.render(page.read()), 20) / 1e3
    print(f"a scrape of it, in the process beside the worker: {again:.1f} ms ({first_ms:.1f} ms the first time)")
    print(f"its answer: {len(text):,} bytes, {sum(line[:1] != b'#' for line in text.splitlines()):,} samples")


if __name__ == "__main__":
    main()
