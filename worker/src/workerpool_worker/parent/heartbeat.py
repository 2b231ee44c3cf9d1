"""A file that says that the worker lives: what Kubernetes probes look at.

Its time says when the event loop last came round: it is touched every two seconds, also while the worker waits for a
broker that is away, since a restart would not bring that back. It is empty until the worker consumes for the first
time and has content from then on, however long it may lose its broker: a probe that asks for content alone holds
while jobs run.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from celery import bootsteps

BEAT_S = 2.0

_log = logging.getLogger("workerpool_worker.heartbeat")


class Heartbeat:
    """The file; without a path, nothing. A file that cannot be written is told once and never ends a worker."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._said = False

    def begin(self) -> None:
        """The process has started: what one before it left in the file is void."""
        self._write(b"")

    def consuming(self) -> None:
        """Jobs are fetched."""
        self._write(b"consuming\n")

    def beat(self) -> None:
        """The event loop came round."""
        self._write(None)

    def _write(self, content: bytes | None) -> None:
        if self._path is None:
            return
        try:
            if content is None:
                self._path.touch()
            else:
                self._path.write_bytes(content)
        except OSError as error:
            if not self._said:
                self._said = True
                _log.warning("cannot write the heartbeat file %s: %s; probes will fail", self._path, error.strerror)


class HeartbeatStep(bootsteps.StartStopStep):
    """Beats from the consumer's event loop."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        self._heartbeat = heartbeat_of(c.app)
        self._timer: Any = None

    def start(self, c: Any) -> None:
        """Begin to beat; again after every reconnect."""
        self._heartbeat.consuming()
        self._timer = c.timer.call_repeatedly(BEAT_S, self._heartbeat.beat)

    def stop(self, c: Any) -> None:
        """The connection is gone: the consumer beats while it connects again."""
        if self._timer is not None:
            c.timer.cancel(self._timer)
            self._timer = None


def heartbeat_of(app: Any) -> Heartbeat:
    """The heartbeat of a worker; one that does nothing for an app that has none."""
    found = getattr(app, "workerpool_heartbeat", None)
    return found if isinstance(found, Heartbeat) else Heartbeat(None)
