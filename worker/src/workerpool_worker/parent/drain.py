"""A graceful stop that keeps the event loop running.

SIGTERM or SIGINT: no new job is fetched, the running ones go on, and the worker leaves the moment the last of them is
acknowledged: at once when idle. What still runs after `drain_seconds` is ended and goes back to its queue, in time
before the platform's SIGKILL. A second signal ends the wait.

Celery's own soft shutdown sleeps through its whole timeout inside the signal handler, even when idle. Nothing is
acknowledged and no lease or heartbeat is renewed in that time, so other workers would take over jobs that still run.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any

from celery import bootsteps
from celery.worker import state as _state

# celery-types lags behind: it has None for `should_stop`.
state: Any = _state

_log = logging.getLogger("workerpool_worker.drain")
_CHECK_S = 0.1


def held_tags(qos: Any) -> frozenset[str]:
    """Delivery tags a consumer channel has fetched and neither acknowledged nor given back.

    kombu keeps them in `_delivered`; acknowledged ones stay there, marked `_dirty`, until its next fetch.
    """
    return frozenset(qos._delivered.keys() - qos._dirty)  # noqa: SLF001 - no public view of it


class DrainStep(bootsteps.StartStopStep):
    """Installs the signal handlers and winds the consumer down from its own loop."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        self._drain_s: float = getattr(c.app, "workerpool_drain_seconds", 20.0)
        self._signals = 0
        self._deadline: float | None = None
        self._pipe: tuple[int, int] | None = None
        self._timer: Any = None
        self._consumer = c

    def start(self, c: Any) -> None:
        """Listen for signals; runs again after every reconnect, when the hub has forgotten its readers."""
        if self._pipe is None:
            reader, writer = os.pipe()
            os.set_blocking(reader, False)
            os.set_blocking(writer, False)
            self._pipe = (reader, writer)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
        if c.hub is not None:
            c.hub.add_reader(self._pipe[0], self._on_wake, c)
        if self._signals:
            self._begin(c)

    def stop(self, c: Any) -> None:
        """Forget the timer of a connection that is gone. Lost while stopping, there is nothing left to wait for."""
        if self._signals:
            state.should_stop = 0
        if self._timer is not None:
            c.timer.cancel(self._timer)
            self._timer = None

    def _on_signal(self, *_: object) -> None:
        # Nothing but a note: the interrupted code may be half-way through a Redis command or hold a lock.
        self._signals += 1
        if self._consumer.connection is None:
            # Waiting for a broker that is away: nothing runs, and the loop that would wake is not running.
            state.should_stop = 0
        elif self._pipe is not None:
            os.write(self._pipe[1], b"x")

    def _on_wake(self, c: Any) -> None:
        if self._pipe is not None:
            os.read(self._pipe[0], 64)
        if self._deadline is None:
            self._begin(c)
        elif self._signals > 1:
            self._deadline = 0.0

    def _begin(self, c: Any) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + self._drain_s
        running = len(state.active_requests)
        _log.info("stopping: %d running, given %g s", running, self._drain_s)
        c.task_consumer.cancel()
        if self._timer is None:
            self._timer = c.timer.call_repeatedly(_CHECK_S, self._check, (c,))
        self._check(c)

    def _check(self, c: Any) -> None:
        # "Nothing held" rather than "nothing running": a job that has ended is acknowledged one turn of the loop later.
        channel = c.task_consumer.channel if c.task_consumer is not None else None
        if channel is None or (not held_tags(channel.qos) and not state.active_requests):
            state.should_stop = 0
        elif self._deadline is not None and time.monotonic() >= self._deadline:
            _log.warning("stopping: %d did not end in time and go back to their queue", len(state.active_requests))
            c.cancel_active_requests()
            state.should_stop = 0
