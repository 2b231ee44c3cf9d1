"""Process groups: who is in one, and how one is ended.

A replica is started in a session of its own, so its process group has the main process' id and holds everything the
worker forks. A process that leaves the group (a daemon that calls ``setsid``) is no longer the replica's.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A live process of a group."""

    pid: int
    parent_pid: int


def group_of(pid: int) -> int | None:
    """The process group of a process, None when there is no such process here."""
    try:
        return os.getpgid(pid)
    except (OSError, OverflowError):  # gone, hidden, or no pid of this machine at all
        return None


def members(group: int) -> tuple[Member, ...]:
    """The live processes of a group.

    Zombies are not among them: in a container whose first process reaps nobody they stay for ever.
    """
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return ()
    except PermissionError:
        pass  # macOS says so when only zombies are left; the look below decides
    found: list[Member] = []
    for pid in psutil.pids():
        if group_of(pid) != group:
            continue
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(Member(pid=pid, parent_pid=process.ppid()))
    return tuple(found)


def signal_process(pid: int, number: signal.Signals) -> None:
    """Send a signal to one process; one that is gone needs none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def signal_tops(group: Collection[Member], number: signal.Signals) -> None:
    """Send a signal to those of a group whose parent is not in it.

    A worker ends its own children in good order; telling them directly would cut their jobs off.
    """
    pids = {member.pid for member in group}
    for member in group:
        if member.parent_pid not in pids:
            signal_process(member.pid, number)


def kill_group(group: int) -> None:
    """End a whole group at once, as the end of a container does; one that is gone needs nothing."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


class Ending:
    """The end of one process group, taken a step at a time so that nobody has to wait for it.

    The main process has been told to stop, or is gone. What is left of the group once it is gone is asked to stop too
    (a shell around a worker dies of its SIGTERM and leaves the worker, which then ends as gracefully as it would have
    alone); what is left at the deadline is killed.

    Args:
        group: The process group.
        deadline_s: When to kill, on the clock whose time :meth:`step` is given.
    """

    def __init__(self, *, group: int, deadline_s: float) -> None:
        self.group = group
        self.deadline_s = deadline_s
        self.killed = False
        self._asked_rest = False

    def step(self, now_s: float, *, main_alive: bool) -> bool:
        """Do what is due.

        Returns:
            Whether the group is gone.
        """
        rest = () if main_alive else members(self.group)
        if not main_alive and not rest:
            return True
        if now_s >= self.deadline_s:
            kill_group(self.group)
            self.killed = True
        elif rest and not self._asked_rest:
            self._asked_rest = True
            signal_tops(rest, signal.SIGTERM)
        return False
