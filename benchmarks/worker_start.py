"""From the start of a worker's process to its first job, and where the time goes; beside bare Celery.

    .venv/bin/python -m benchmarks.worker_start [--rounds 5]

A job waits in Redis when a worker is started. Noted from outside the code that is measured: by audit events of the
interpreter (forks, connections), by the score of the job in Redis (when it was fetched) and by the job itself. The
first start of each is not counted: it fills the caches of the disk. The second table is of `-X importtime`.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import redis
from benchmarks.workers.contenders import OURS, QUEUE, ROOT, SAFE, Contender, Running, running
from celery import Celery

from workerpool_operator.local.redis_server import RedisServer

_WAIT_S = 60.0
_MARKS = ROOT / "benchmarks" / "workers" / "marks"
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| +([\w.]+)")
PHASES = (
    "interpreter",
    "imports, to the first fork",
    "forks, to the connection",
    "to the first fetch",
    "to the first job",
)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description="From the start of a worker's process to its first job.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=1)
    options = parser.parse_args()
    times: dict[str, list[list[float]]] = defaultdict(list)
    packages: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name) / "redis", append_fsync="no") as server:
        for number in range(options.rounds + 1):
            for contender in (SAFE, OURS):
                folder = Path(name) / f"{number}-{contender.ours}"
                folder.mkdir()
                phases = _start(contender, server.url, folder, concurrency=options.concurrency)
                if number:
                    times[contender.name].append(phases)
        for contender in (SAFE, OURS):
            folder = Path(name) / f"imports-{contender.ours}"
            folder.mkdir()
            packages[contender.name] = _imports(contender, server.url, folder, concurrency=options.concurrency)
    _print_phases(times)
    _print_imports(packages)


def _start(contender: Contender, url: str, folder: Path, *, concurrency: int) -> list[float]:
    """Seconds of each phase."""
    marks, first = folder / "marks", folder / "first"
    more = {"BENCH_MARKS": str(marks), "BENCH_FIRST": str(first), "PYTHONPATH": str(_MARKS)}
    with redis.Redis.from_url(url) as client:
        client.flushall()
        _send(url)
        with running(contender, url=url, folder=folder, concurrency=concurrency, more=more) as worker:
            child, began_at = _first_job(first, worker).split()
            fetched_at = client.zrange(f"{contender.unacked_key}_index", 0, 0, withscores=True)[0][1]
            first.unlink()
    noted = [line.split() for line in marks.read_text().splitlines()]
    parent = str(worker.process.pid)
    python_at = next(float(at) for name, pid, at in noted if name == "python" and pid == parent)
    forked_at = next(float(at) for name, pid, at in noted if name == "fork" and pid == parent)
    connected_at = next(float(at) for name, pid, at in noted if name == "connect" and pid == parent)
    if child == parent:
        raise SystemExit(f"{contender.name} ran the job in its main process")
    moments = [worker.began_at, python_at, forked_at, max(connected_at, forked_at), fetched_at, float(began_at)]
    return [after - before for before, after in pairwise(moments)]


def _imports(contender: Contender, url: str, folder: Path, *, concurrency: int) -> Counter[str]:
    """Microseconds of importing, by the package at the top, of parent and child together."""
    first = folder / "first"
    with redis.Redis.from_url(url) as client:
        client.flushall()
        _send(url)
        options = {"python": ("-X", "importtime"), "more": {"BENCH_FIRST": str(first)}}
        with running(contender, url=url, folder=folder, concurrency=concurrency, **options) as worker:  # type: ignore[arg-type]
            _first_job(first, worker)
            first.unlink()
    found: Counter[str] = Counter()
    for own, module in _IMPORT.findall(worker.log.read_text(errors="replace")):
        found[module.partition(".")[0]] += int(own)
    return found


def _send(url: str) -> None:
    with Celery("bench-producer", broker=url, set_as_current=False) as app:
        app.send_task("bench.first", kwargs={"id": "f1"}, task_id="first-f1", queue=QUEUE)


def _first_job(first: Path, worker: Running) -> str:
    deadline_s = time.monotonic() + _WAIT_S
    while not (first.exists() and (text := first.read_text())):
        worker.check()
        if time.monotonic() > deadline_s:
            raise SystemExit(f"no job began in {_WAIT_S:g} s: {worker.log.read_text()[-3000:]}")
        time.sleep(0.002)
    return text


def _print_phases(times: Mapping[str, Sequence[Sequence[float]]]) -> None:
    names = list(times)
    print("| from process start to first job, ms | " + " | ".join(names) + " |\n|---|" + "--:|" * len(names))
    for number, phase in enumerate(PHASES):
        cells = [statistics.median(run[number] for run in times[name]) * 1e3 for name in names]
        print(f"| {phase} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |")
    sums = [[sum(run) for run in times[name]] for name in names]
    print("| all of it, median | " + " | ".join(f"{statistics.median(some) * 1e3:.0f}" for some in sums) + " |")
    print("| all of it, range | " + " | ".join(f"{min(s) * 1e3:.0f}-{max(s) * 1e3:.0f}" for s in sums) + " |")


def _print_imports(packages: Mapping[str, Counter[str]]) -> None:
    names = list(packages)
    print("\n| importing, ms (`-X importtime`, own time) | " + " | ".join(names) + " |\n|---|" + "--:|" * len(names))
    most = sorted({one for found in packages.values() for one, _ in found.most_common(12)})
    most.sort(key=lambda one: -max(found[one] for found in packages.values()))
    for one in most[:14]:
        print(f"| {one} | " + " | ".join(f"{packages[name][one] / 1e3:.0f}" for name in names) + " |")
    print("| all | " + " | ".join(f"{packages[name].total() / 1e3:.0f}" for name in names) + " |")


if __name__ == "__main__":
    main()
