"""Puts the next occurrences of the schedules in, from the worker's event loop."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery import bootsteps

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

TICK_S = 15.0
# The first job is not to wait for this.
_FIRST_S = 0.5

_log = logging.getLogger("workerpool_worker.schedules")


class ScheduleStep(bootsteps.StartStopStep):
    """Keeps the schedules of the app's settings; see `schedules.occurrences`."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        settings: Settings = c.app.workerpool_settings
        self._schedules = settings.schedules
        self._source = f"{settings.namespace}/{settings.pool}" if settings.pool else ""
        self._starting = True
        self._told: set[str] = set()
        self._timers: list[Any] = []

    def start(self, c: Any) -> None:
        """Begin; again after every reconnect."""
        self._timers = [
            c.timer.call_after(_FIRST_S, self._tick, (c,)),
            c.timer.call_repeatedly(TICK_S, self._tick, (c,)),
        ]

    def stop(self, c: Any) -> None:
        """The connection is gone, or the worker goes."""
        for timer in self._timers:
            c.timer.cancel(timer)
        self._timers = []

    def _tick(self, c: Any) -> None:
        # The consumer notices a lost connection itself; an error here must never end it.
        try:
            self._keep(c)
        except Exception as error:  # noqa: BLE001 - whatever it is, the jobs go on
            _log.warning("schedules: %s: %s; next try in %g s", type(error).__name__, error, TICK_S)

    def _keep(self, c: Any) -> None:
        from workerpool_worker.schedules.occurrences import keep, now_of  # noqa: PLC0415 - not before the first job

        with c.task_consumer.channel.conn_or_acquire() as client:
            found = keep(
                client,
                c.app,
                self._schedules,
                source=self._source,
                starting=self._starting,
                now_s=now_of(client),
            )
        self._starting = False
        for kept in found:
            if kept.answer == "put":
                _log.debug("%s: next at %d", kept.name, kept.due_s)
            elif kept.answer == "removed":
                _log.info("%s: is no schedule any more; its occurrence was taken out", kept.name)
            self._tell_of_another(kept.name, kept.whose if kept.answer == "other" else None)

    def _tell_of_another(self, name: str, whose: str | None) -> None:
        """Say once that this worker's definition is not the one in force, and once more if that comes again."""
        if whose is None:
            self._told.discard(name)
        elif name not in self._told:
            self._told.add(name)
            where = "workers of this pool" if whose == self._source else f"pool {whose}" if whose else "others"
            _log.warning("schedule %s: %s have another definition, which is in force", name, where)
