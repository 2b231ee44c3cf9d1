"""A stretch of a job that an orderly end must not cut in two: an effect outside, and the commit that remembers it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

# SIGTERM is how Celery ends a child's job when the broker's connection is lost; SIGUSR1 is the soft time limit.
_WAITING = frozenset({signal.SIGTERM, signal.SIGUSR1})


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let SIGTERM and the soft time limit wait until the block is over; SIGKILL, the hard limit, does not wait.

    A mail that was accepted by its server and then not committed would be sent a second time. Keep the block short:
    what is in it has to have time-outs of its own.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
