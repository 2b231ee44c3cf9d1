"""Runs the image's program from a copy of its code that can be written to, and again whenever that copy changes.

The root file system is read-only and the user is not root, so the code as the image has it cannot be edited. At start
it is copied below /tmp, which the pod may write to, and found there first by Python. Tilt writes edited files into the
copy; the program is then asked to stop, which lets a worker finish its job, and started again. The pod stays.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

SHIPPED: Final = Path("/opt/workerpool/project")
COPY: Final = Path("/tmp/reload")  # noqa: S108 - the pod's own volume
_DONE: Final = ".copied"
_LOOK_EVERY_S: Final = 0.25
_PATIENCE_S: Final = 60.0

Snapshot = dict[str, tuple[int, int, int]]


def copy_code(shipped: Path = SHIPPED, copy: Path = COPY) -> None:
    """Copy every package, once in a pod's life. A file that is there came from Tilt in the meantime, and stays."""
    if (copy / _DONE).exists():
        return
    for package in sorted(path.parent for path in shipped.glob("*/__init__.py")):
        for source in package.rglob("*"):
            target = copy / source.relative_to(shipped)
            # Bytecode stays behind: it may be marked as valid whatever becomes of its source.
            if source.is_file() and "__pycache__" not in source.parts and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
    copy.mkdir(parents=True, exist_ok=True)
    (copy / _DONE).touch()


def look(copy: Path = COPY) -> Snapshot:
    """What the copy is made of now."""
    seen: Snapshot = {}
    for path in copy.rglob("*"):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if path.is_file() and "__pycache__" not in path.parts:
            seen[str(path)] = (found.st_mtime_ns, found.st_size, found.st_ino)
    return seen


class Supervisor:
    """One program, started again with every change of its code."""

    def __init__(self, command: list[str], copy: Path = COPY) -> None:
        """Nothing is started yet."""
        self.command = command
        self.copy = copy
        self.pid: int | None = None
        self.stopping = False

    def run(self) -> int:
        """Until the program ends by itself, or this process is told to; the exit status to end with."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._pass_on)
        original = running = look(self.copy)
        self._start()
        while True:
            time.sleep(_LOOK_EVERY_S)
            status = self._ended()
            if status is not None:
                # Edited code that does not start waits for the next edit: a pod that is gone could not be written to.
                if self.stopping or status == 0 or running == original:
                    return status
                say(f"ended with status {status}; waiting for the next change")
            now = look(self.copy)
            if now != running and not self.stopping:
                running = self._settle(now)
                changed = sum(original.get(name) != value for name, value in running.items())
                say(f"code changed ({changed} files differ from the image's): starting again")
                self._stop()
                self._start()

    def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(self.copy)}
        # A process group of its own: what the program leaves behind is found by it.
        self.pid = os.posix_spawnp(self.command[0], self.command, environment, setpgroup=0)

    def _ended(self) -> int | None:
        """The status of the program if it has ended. As process 1 it also collects the children of others."""
        while self.pid is not None:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return None
            if pid == self.pid:
                self.pid = None
                _sweep(group=pid)
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        return None

    def _stop(self) -> None:
        if self.pid is None:
            return
        os.kill(self.pid, signal.SIGTERM)
        give_up_s = time.monotonic() + _PATIENCE_S
        while self._ended() is None and self.pid is not None:
            if time.monotonic() > give_up_s:
                say(f"did not stop within {_PATIENCE_S:g} s: killed")
                os.kill(self.pid, signal.SIGKILL)
                give_up_s = float("inf")
            time.sleep(0.05)

    def _settle(self, seen: Snapshot) -> Snapshot:
        """Wait until nothing more comes: several files are written one after the other."""
        while (now := look(self.copy)) != seen:
            seen = now
            time.sleep(_LOOK_EVERY_S)
        return now

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self.stopping = True
        if self.pid is None:
            sys.exit(128 + number)
        os.kill(self.pid, number)


def _sweep(group: int) -> None:
    """End what the program left running: a container would end with it, and the next one wants the same ports."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


def say(what: str) -> None:
    """One line beside the program's own."""
    sys.stderr.write(f"reload: {what}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    copy_code()
    sys.exit(Supervisor([os.environ["WORKERPOOL_RELOAD_PROGRAM"], *sys.argv[1:]]).run())
