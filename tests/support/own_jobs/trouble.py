"""Jobs that go wrong, for a worker whose WORKERPOOL_JOBS names `trouble:JOBS`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import ClassVar

from workerpool_worker.api import Job, JobSpec


class Trouble(Job):
    """Writes a line to `file`, then does what `kind` says."""

    task: ClassVar[str] = "trouble.make"
    queue: ClassVar[str] = "email"
    prefix: ClassVar[str] = "trouble"

    kind: str
    file: str


JOBS = (JobSpec(Trouble, "trouble:make"),)


def make(context: object, job: Trouble) -> dict[str, object]:
    """One try; each is a line of the file."""
    with Path(job.file).open("a") as file:
        file.write(f"{os.getpid()}\n")
    if job.kind == "kill child":
        os.kill(os.getpid(), signal.SIGKILL)
    if job.kind == "kill worker":
        os.killpg(os.getpgid(0), signal.SIGKILL)
    if job.kind == "raise":
        raise KeyError("nobody foresaw this")
    if job.kind == "unpicklable":
        raise Unpicklable(lambda: None)
    if job.kind == "hang":
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # deaf to the soft limit
        time.sleep(600)
    if job.kind.startswith("until "):
        while not Path(job.kind.removeprefix("until ")).exists():
            time.sleep(0.02)
    return {"outcome": "done"}


class Unpicklable(Exception):  # noqa: N818 - not an error of ours
    """An exception that no pipe can carry."""
