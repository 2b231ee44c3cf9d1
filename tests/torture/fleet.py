"""The workers: real processes that are started, ended, killed and stopped like pods."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

COMMAND = str(Path(sys.executable).with_name("workerpool-worker"))
GRACE_S = 12.0
# Both of Celery's event loop: a child that died just before it ran, at the start or after a lost connection.
_FAULTS_OF_CELERY = (b"Could not start worker processes", b"file descriptor is None")
_DEAD = {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}


@dataclass
class Worker:
    """One `workerpool-worker run`, the leader of a session of its own."""

    number: int
    process: subprocess.Popen[bytes]
    log: Path
    resume_at_s: float | None = None
    kill_at_s: float | None = None
    """When it is killed if it has not left by itself."""

    @property
    def stopped(self) -> bool:
        """Whether it was stopped (SIGSTOP) and not yet resumed."""
        return self.resume_at_s is not None

    @property
    def leaving(self) -> bool:
        """Whether it was told to leave."""
        return self.kill_at_s is not None

    def signal_all(self, number: int) -> None:
        """Signal the main process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def children(self) -> list[psutil.Process]:
        """Its children that live."""
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self.process.pid).children()
            return [child for child in found if child.status() not in _DEAD]
        return []


@dataclass
class Fleet:
    """As many workers as asked for, whatever happens to them.

    Attributes:
        folder: Where their logs go.
        environments: The environment of each new worker, one after another in turn.
        target: How many there shall be.
    """

    folder: Path
    environments: tuple[Mapping[str, str], ...]
    target: int = 0
    workers: list[Worker] = field(default_factory=list)
    started: int = 0
    ended_badly: list[str] = field(default_factory=list)
    """Workers that ended though nobody ended them, or with a status other than 0 after SIGTERM."""
    ended_by_celery: int = 0
    """Workers that ended by themselves, by a fault of Celery's own that a platform mends with another worker."""
    _remains: list[tuple[float, Worker]] = field(default_factory=list)
    _expected_gone: set[int] = field(default_factory=set)

    def tick(self, *, harmful_jobs: bool = True) -> None:
        """See to it that there are as many as there shall be; wake and kill whose time has come."""
        now = time.monotonic()
        for worker in tuple(self.workers):
            if worker.process.poll() is not None:
                self._bury(worker, harmful_jobs=harmful_jobs)
            elif worker.kill_at_s is not None and now > worker.kill_at_s:
                self.ended_badly.append(f"worker {worker.number} had not left {GRACE_S:g} s after SIGTERM")
                self.kill(worker)
            elif worker.resume_at_s is not None and now > worker.resume_at_s:
                self.resume(worker)
        for due_s, worker in tuple(self._remains):
            if now > due_s:
                worker.signal_all(signal.SIGKILL)
                self._remains.remove((due_s, worker))
        while len(self.staying()) < self.target:
            self._start()
        for worker in self.staying()[self.target :]:
            self.terminate(worker)

    def staying(self) -> list[Worker]:
        """Those that were not told to leave."""
        return [worker for worker in self.workers if not worker.leaving]

    def awake(self) -> list[Worker]:
        """Those that run."""
        return [worker for worker in self.workers if not worker.stopped]

    def _start(self) -> None:
        self.started += 1
        log = self.folder / f"worker-{self.started:04d}.log"
        environment = self.environments[self.started % len(self.environments)]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [COMMAND, "run"],
                env=dict(environment),
                stdout=file,
                stderr=file,
                cwd=self.folder,
                start_new_session=True,
            )
        self.workers.append(Worker(self.started, process, log))

    def _bury(self, worker: Worker, *, harmful_jobs: bool) -> None:
        status = worker.process.returncode
        # A job that kills its worker looks like this too.
        by_a_job = harmful_jobs and status == -signal.SIGKILL
        log = worker.log.read_bytes()
        if status == 1 and any(fault in log for fault in _FAULTS_OF_CELERY):
            self.ended_by_celery += 1
        elif worker.leaving and status == -signal.SIGTERM and not log:
            pass  # told to leave before its interpreter had read a line
        elif worker.number not in self._expected_gone and not by_a_job and not (worker.leaving and status == 0):
            self.ended_badly.append(f"worker {worker.number} ended with status {status}")
        worker.signal_all(signal.SIGKILL)  # a container ends with its first process
        self.workers.remove(worker)

    def kill(self, worker: Worker) -> None:
        """SIGKILL to all its processes: a machine that went away."""
        self._expected_gone.add(worker.number)
        worker.signal_all(signal.SIGKILL)
        worker.process.wait(10)
        self.workers.remove(worker)

    def behead(self, worker: Worker, *, remains_s: float) -> None:
        """SIGKILL to the main process; its children are left for a while, as a container's are."""
        self._expected_gone.add(worker.number)
        worker.process.kill()
        worker.process.wait(10)
        self.workers.remove(worker)
        self._remains.append((time.monotonic() + remains_s, worker))

    def kill_child(self, worker: Worker, dice: random.Random) -> int | None:
        """SIGKILL to one of its children; its pid."""
        if children := worker.children():
            child = dice.choice(children)
            with contextlib.suppress(psutil.Error):
                child.kill()
                return child.pid
        return None

    def stop(self, worker: Worker, *, seconds: float) -> None:
        """SIGSTOP to all its processes for a while: a node without a processor to spare."""
        worker.signal_all(signal.SIGSTOP)
        worker.resume_at_s = time.monotonic() + seconds
        if worker.kill_at_s is not None:
            worker.kill_at_s += seconds  # its own clock stands still too

    def resume(self, worker: Worker) -> None:
        """Let it go on."""
        worker.signal_all(signal.SIGCONT)
        worker.resume_at_s = None

    def terminate(self, worker: Worker) -> None:
        """SIGTERM, and SIGKILL when the grace is over."""
        worker.process.terminate()
        extra_s = max(worker.resume_at_s - time.monotonic(), 0.0) if worker.resume_at_s is not None else 0.0
        # The worker knows of GRACE_S; what a busy machine adds is no fault of its.
        worker.kill_at_s = time.monotonic() + 3 * GRACE_S + extra_s

    def heal(self) -> None:
        """Wake all that were stopped; end what beheaded ones left."""
        for worker in self.workers:
            if worker.stopped:
                self.resume(worker)
        for _, worker in self._remains:
            worker.signal_all(signal.SIGKILL)
        self._remains.clear()

    def end(self) -> None:
        """SIGKILL to whatever is left."""
        for worker in (*self.workers, *(one for _, one in self._remains)):
            worker.signal_all(signal.SIGKILL)
        for worker in self.workers:
            worker.process.wait(10)
        self.workers.clear()


def logs_of(fleet_folder: Path) -> Iterable[Path]:
    """The logs of all workers there ever were."""
    return sorted(fleet_folder.glob("worker-*.log"))
