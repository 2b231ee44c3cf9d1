"""What ends the workers when local mode itself dies: a small process that outlives it, then ends them and itself.

It holds the reading end of a pipe whose only writing end is in local mode. However that process ends, ``kill -9``
included, the pipe closes; the guardian then does what local mode would have done: SIGTERM to each worker, so that it
finishes its job, its grace period, SIGKILL to what is left of its group.

Linux' ``PR_SET_PDEATHSIG`` was the alternative. It is not used because it follows the *thread* that forked (workers are
started from threads, so that forking does not hold up the loop), is lost by the children of a wrapper such as
``sh -c "cd app && celery ..."``, sends one signal and never looks again, and does not exist on macOS. Both together
would send SIGTERM twice, which some workers take for "at once".

The protocol is one line a message: ``+ pid grace_s`` watch, ``t pid`` it was told to stop already, ``l pid grace_s``
watch and end last (the Redis of local mode: the others need it to acknowledge their jobs), ``- pid`` it is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

_STEP_S = 0.1
_RESTART_EVERY_S = 5.0
_CLOSE_S = 2.0


@dataclass(kw_only=True, slots=True)
class Ward:
    """A process group under guard."""

    grace_s: float
    told: bool = False
    last: bool = False


def apply(wards: dict[int, Ward], line: str) -> None:
    """Take one message into account. A line that was cut off by the other side's death is ignored."""
    kind, _, rest = line.strip().partition(" ")
    fields = rest.split()
    with contextlib.suppress(ValueError, IndexError, KeyError):
        pid = int(fields[0])
        if kind in ("+", "l"):
            wards[pid] = Ward(grace_s=float(fields[1]), last=kind == "l")
        elif kind == "t":
            wards[pid].told = True
        elif kind == "-":
            del wards[pid]


def end_all(wards: dict[int, Ward]) -> None:
    """End every group: all at once, those marked last after the others; return when all are gone."""
    for last in (False, True):
        _end({pid: ward for pid, ward in wards.items() if ward.last is last})


def _end(wards: dict[int, Ward]) -> None:
    if not wards:
        return
    # Not at the top: psutil costs memory that a guardian which is never needed should not hold.
    from workerpool_operator.local import groups  # noqa: PLC0415

    for pid, ward in wards.items():
        if not ward.told:
            groups.signal_process(pid, signal.SIGTERM)
    now_s = time.monotonic()
    endings = {pid: groups.Ending(group=pid, deadline_s=now_s + ward.grace_s) for pid, ward in wards.items()}
    while endings:
        for pid, ending in list(endings.items()):
            alive = any(member.pid == pid for member in groups.members(pid))
            if ending.step(time.monotonic(), main_alive=alive):
                del endings[pid]
        time.sleep(_STEP_S)


def watch(lines: Iterable[str]) -> None:
    """Follow the messages until they end, then end what is still under guard."""
    wards: dict[int, Ward] = {}
    for line in lines:
        apply(wards, line)
    end_all(wards)


class Guardian:
    """Local mode's side of the guardian. Safe for use by several threads."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._wards: dict[int, Ward] = {}
        self._lock = threading.Lock()
        self._started_s = float("-inf")

    @property
    def pid(self) -> int | None:
        """The guardian's process, None while there is none."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process unless it runs.

        Raises:
            OSError: It could not be started.
        """
        with self._lock:
            self._start()

    def watch(self, pid: int, *, grace_s: float, last: bool = False) -> None:
        """Guard a process group; ``last`` ones are ended after all others."""
        with self._lock:
            self._wards[pid] = Ward(grace_s=grace_s, last=last)
            self._send(_watch_line(pid, self._wards[pid]))

    def told(self, pid: int) -> None:
        """Note that it was asked to stop, so that it is not asked a second time."""
        with self._lock:
            if pid in self._wards:
                self._wards[pid].told = True
                self._send(f"t {pid}")

    def forget(self, pid: int) -> None:
        """Guard it no longer: it is gone."""
        with self._lock:
            if self._wards.pop(pid, None) is not None:
                self._send(f"- {pid}")

    def check(self) -> None:
        """Start the process again if something ended it, at most every few seconds; forget those that are gone."""
        with self._lock:
            self._forget_gone()
            if self._process is None or self._process.poll() is None:
                return
            if time.monotonic() - self._started_s >= _RESTART_EVERY_S:
                with contextlib.suppress(OSError):
                    self._start()

    def close(self) -> None:
        """Let it end. Those to be ended last are released: from here on they are the caller's to stop.

        Any other process still under guard (one that even SIGKILL did not end in time) stays its business.
        """
        with self._lock:
            for pid in [pid for pid, ward in self._wards.items() if ward.last]:
                del self._wards[pid]
                self._send(f"- {pid}")
            process, self._process = self._process, None
        if process is not None:
            _close_input(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_CLOSE_S)

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            _close_input(self._process)
        # -P: a folder named like one of our imports, where the user happens to stand, must not be imported.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C and the end of the terminal must not reach it
        )
        self._started_s = time.monotonic()
        for pid, ward in self._wards.items():
            self._send(_watch_line(pid, ward))
            if ward.told:
                self._send(f"t {pid}")

    def _forget_gone(self) -> None:
        # Workers are forgotten by whoever reaps them. A Redis may be stopped by others; its pid will belong to somebody
        # else one day, who must not be ended in its place.
        for pid in [pid for pid, ward in self._wards.items() if ward.last]:
            try:
                os.killpg(pid, 0)
            except ProcessLookupError:
                del self._wards[pid]
                self._send(f"- {pid}")
            except PermissionError:
                continue  # macOS: only a zombie is left, whose pid nobody can have yet

    def _send(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            # A guardian that is gone is replaced by check(), which tells the new one everything.
            with contextlib.suppress(OSError):
                self._process.stdin.write(f"{line}\n".encode())


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _watch_line(pid: int, ward: Ward) -> str:
    return f"{'l' if ward.last else '+'} {pid} {ward.grace_s:g}"


if __name__ == "__main__":
    watch(sys.stdin)
