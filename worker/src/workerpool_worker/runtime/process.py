"""Which process this is: Celery's main process, which talks to Redis, or a child, which runs the jobs."""

from __future__ import annotations

import os

_main_pid: int | None = None


def mark_main() -> None:
    """Call once in the main process, before children are forked."""
    global _main_pid  # noqa: PLW0603 - a fact about this process
    _main_pid = os.getpid()


def is_main() -> bool:
    """Whether this is the main process of a worker. False in children and wherever no worker runs."""
    return os.getpid() == _main_pid


def is_child() -> bool:
    """Whether this is a child of a worker, which runs one job at a time."""
    return _main_pid is not None and os.getpid() != _main_pid
