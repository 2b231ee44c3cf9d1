"""What a worker counts of its jobs. Celery's main process keeps the numbers: it outlives every child.

Counting a job is a few look-ups in dictionaries and takes no library. Every two seconds, from the event loop and only
when something has changed, the numbers go to a page of shared memory. The process beside the worker that answers
probes reads it and makes of it what Prometheus asks for (`exposition.py`), so a scrape costs the event loop nothing.

All of it does nothing where no port is set, and in children.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping
from typing import Any, Literal

from celery import bootsteps
from celery.worker import state

from workerpool_worker.monitoring.metrics_store import Store
from workerpool_worker.monitoring.shared_page import SharedPage

Outcome = Literal["completed", "failed", "retried", "deferred", "lost", "dead"]

PUBLISH_S = 2.0

_log = logging.getLogger("workerpool_worker.metrics")


class _Publisher:
    """Brings the numbers to the page."""

    def __init__(self, store: Store, page: SharedPage, also: Callable[[], None]) -> None:
        self.store, self._page, self._also = store, page, also
        self._last = b""
        self._said = False

    def tick(self) -> None:
        """Publish what has changed, and see to what else is due."""
        self._also()
        content = self.store.snapshot(running=len(state.active_requests))
        if content == self._last:
            return
        if self._page.write(content):
            self._last = content
        elif not self._said:
            self._said = True
            _log.warning(
                "the metrics take %d bytes, which is more than there is room for; they stand still", len(content)
            )


_publisher: _Publisher | None = None


def begin(
    page: SharedPage,
    *,
    queues: Container[str],
    tasks: Container[str],
    fixed: Mapping[str, object],
    also: Callable[[], None] = lambda: None,
) -> None:
    """Count from now on; once, in the main process.

    Args:
        page: What the process beside the worker reads.
        queues: Queues the worker consumes.
        tasks: Tasks it knows.
        fixed: What is said of the worker itself; see `startup.fixed`.
        also: Called whenever the numbers are published.
    """
    global _publisher  # noqa: PLW0603 - one worker a process, and jobs end in many places
    _publisher = _Publisher(Store(queues, tasks, fixed), page, also)


def end() -> None:
    """Count no longer."""
    global _publisher  # noqa: PLW0603
    _publisher = None


def job_ended(
    *, queue: str, task: str, outcome: Outcome, seconds: float | None = None, wait_s: float | None = None
) -> None:
    """Count one try of a job; a job that is retried has several.

    Args:
        queue: Where it came from.
        task: Its name.
        outcome: How it ended.
        seconds: How long it ran; None where that is not known, as of a job whose worker died.
        wait_s: Seconds from its first sending to the start of its first try; None for further tries.
    """
    if _publisher is not None:
        _publisher.store.job_ended(queue, task, outcome, seconds, wait_s)


def dead_letters(counts: Mapping[str, int]) -> None:
    """Say how many dead letters each queue has now; with 0 for those that have none."""
    if _publisher is not None:
        _publisher.store.dead_letters(counts)


def tick() -> None:
    """Publish what has changed since the last time. Never raises."""
    if _publisher is None:
        return
    try:
        _publisher.tick()
    except Exception:  # noqa: BLE001 - what counts jobs must not end them
        _log.exception("cannot publish the metrics")


class MetricsStep(bootsteps.StartStopStep):
    """Publishes from the consumer's event loop, and tells whether there is a connection."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        self._timer: Any = None

    def start(self, c: Any) -> None:
        """Consuming; again after every reconnect."""
        self._connected(now=True)
        self._timer = c.timer.call_repeatedly(PUBLISH_S, tick)

    def stop(self, c: Any) -> None:
        """The connection is gone: the consumer publishes while it connects again."""
        if self._timer is not None:
            c.timer.cancel(self._timer)
            self._timer = None
        self._connected(now=False)

    @staticmethod
    def _connected(*, now: bool) -> None:
        if _publisher is not None:
            _publisher.store.connected = now
            tick()
