"""Celery's pool of children, without a fault of it that ends a worker."""

from __future__ import annotations

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


class ChildPool(_TaskPool):  # type: ignore[misc]
    """What Celery is told to use as its pool."""

    Pool = Children
