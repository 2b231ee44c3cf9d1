"""One owner at a time for a folder of data: two Redis servers that append to one file lose each other's jobs.

The lock is on an open file that a child process inherits, so it lasts as long as the child does, whatever becomes of
the process that started it, and is never left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

_NAME = "lock"
_POLL_S = 0.02


class FolderInUseError(Exception):
    """Another process holds the folder."""


@contextlib.contextmanager
def locked(folder: Path, *, wait_s: float = 0.0) -> Iterator[int]:
    """Hold a folder; the file descriptor given is to be inherited by the process that is to go on holding it.

    Where the file system knows no locks, nothing is locked.

    Raises:
        FolderInUseError: Another process still holds it after ``wait_s`` seconds.
        OSError: The lock file cannot be made.
    """
    descriptor = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline_s = time.monotonic() + wait_s
        while not _lock(descriptor):
            if time.monotonic() >= deadline_s:
                raise FolderInUseError(str(folder))
            time.sleep(_POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)


def in_use(folder: Path) -> bool:
    """Whether another process holds a folder; one that does not exist is held by nobody."""
    try:
        with locked(folder):
            return False
    except FolderInUseError:
        return True
    except OSError:
        return False


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # NFS without a lock daemon, say: as before there were locks
        return True
    return True
