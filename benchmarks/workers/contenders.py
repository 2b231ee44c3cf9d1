"""The workers that are compared: how each is started, and what of it is looked at from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
POOL = "bench"
QUEUE = "bench"
_UNACKED = {True: f"workerpool:default:{POOL}:unacked", False: "unacked"}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way to run the no-op job."""

    name: str
    ours: bool
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def unacked_key(self) -> str:
        """Where it keeps what it has fetched and not acknowledged."""
        return _UNACKED[self.ours]

    def command(self, concurrency: int) -> list[str]:
        """How it is started."""
        if self.ours:
            return [sys.executable, "-m", "workerpool_worker.cli", "run", "--concurrency", str(concurrency)]
        worker = [sys.executable, "-m", "celery", "-A", "benchmarks.workers.plain", "worker"]
        return [*worker, "-c", str(concurrency), "-Q", QUEUE, "-n", f"bench-{time.monotonic_ns()}@%h"]


CELERY = Contender(name="Celery, stock settings", ours=False)
SAFE = Contender(name="Celery, acks_late and prefetch 1", ours=False, environment=(("BENCH_SAFE", "1"),))
OURS = Contender(name="workerpool-worker", ours=True)
ALL = (CELERY, SAFE, OURS)


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a worker's processes have used so far, children that are gone included; and the memory it has now."""

    parent_cpu_s: float
    children_cpu_s: float
    memory_mb: float


@dataclass
class Running:
    """A worker that was started."""

    process: subprocess.Popen[bytes]
    began_at: float
    """Unix seconds."""
    log: Path

    def use(self) -> Use:
        """CPU time so far, and memory shared pages counted once (PSS)."""
        parent = psutil.Process(self.process.pid)
        children, times = parent.children(recursive=True), parent.cpu_times()
        return Use(
            parent_cpu_s=_cpu_s(parent),
            children_cpu_s=sum(map(_cpu_s, children)) + times.children_user + times.children_system,
            memory_mb=sum(one.memory_full_info().pss for one in (parent, *children)) / 1e6,
        )

    def check(self) -> None:
        """Fail where it has ended by itself."""
        if self.process.poll() is not None:
            raise SystemExit(f"the worker ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")


@contextmanager
def running(
    contender: Contender,
    *,
    url: str,
    folder: Path,
    concurrency: int,
    python: Sequence[str] = (),
    more: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Running]:
    """Start a worker, and end it with SIGTERM.

    Args:
        contender: Which.
        url: Of the broker.
        folder: For its state and its log.
        concurrency: Jobs at a time.
        python: Options of the interpreter.
        more: For its environment; PYTHONPATH goes before what it has.
    """
    path = (more.get("PYTHONPATH"), str(ROOT), os.environ.get("PYTHONPATH"))
    environment = {
        **os.environ,
        "WORKERPOOL_BROKER_URL": url,
        "WORKERPOOL_POOL": POOL,
        "WORKERPOOL_QUEUES": QUEUE,
        "WORKERPOOL_STATE_DIR": str(folder),
        "WORKERPOOL_JOBS": "benchmarks.workers.noop:JOBS",
        "PYTHONWARNINGS": "ignore",  # Celery says at length that it should not be run as root
        **dict(contender.environment),
        **more,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
    }
    program, *arguments = contender.command(concurrency)
    log = folder / "worker.log"
    with log.open("wb") as file:
        began_at = time.time()
        process = subprocess.Popen(
            [program, *python, *arguments], env=environment, cwd=ROOT, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield Running(process, began_at, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
