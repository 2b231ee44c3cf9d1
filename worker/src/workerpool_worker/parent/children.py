"""Celery's pool of children, without a fault of it that ends a worker."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

from celery.concurrency import asynpool, prefork

_Pool: Any = asynpool.AsynPool  # celery-types does not know it
_TaskPool: Any = prefork.TaskPool


class Children(_Pool):  # type: ignore[misc]
    """The children, watched from the event loop."""

    def _track_child_process(self, proc: Any, hub: Any) -> None:
        """Watch a child, unless it is gone.

        After a lost connection all are watched anew. One that ended just then is still listed, and its descriptor is
        None: Celery 5.7 asks the loop to watch that, and the worker ends. The pool replaces such a child by itself.
        """
        if getattr(proc, "_sentinel_poll", 0) is not None:
            super()._track_child_process(proc, hub)

    def flush(self) -> None:
        """After a lost connection: forget what no child has begun, and end those that would begin it all the same.

        Celery forgets jobs that lie in a child's pipe already. The child would run such a job, which is given back to
        its queue, without time limits and without anybody to end it.
        """
        for job in tuple(self._cache.values()):
            child = getattr(job, "_write_to", None)
            if not job._accepted and child is not None and child._is_alive():  # noqa: SLF001 - billiard's names
                with suppress(OSError):
                    os.kill(child.pid, signal.SIGTERM)
        super().flush()


class ChildPool(_TaskPool):  # type: ignore[misc]
    """What Celery is told to use as its pool."""

    Pool = Children
