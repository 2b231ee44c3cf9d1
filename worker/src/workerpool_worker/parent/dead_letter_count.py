"""Counts the dead letters of the queues this worker consumes, for its metrics."""

from __future__ import annotations

import logging
from typing import Any

from celery import bootsteps

from workerpool_worker.messages import keys
from workerpool_worker.monitoring import metrics

EVERY_S = 10.0

_log = logging.getLogger("workerpool_worker.dead_letters")


class DeadLetterCountStep(bootsteps.StartStopStep):
    """Counts where somebody can see the number: with a health port."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        self.enabled = bool(c.app.workerpool_settings.health_port)
        self._timer: Any = None

    def start(self, c: Any) -> None:
        """Begin; again after every reconnect."""
        self._timer = c.timer.call_repeatedly(EVERY_S, self._count, (c,))
        self._count(c)

    def stop(self, c: Any) -> None:
        """The connection is gone."""
        if self._timer is not None:
            c.timer.cancel(self._timer)
            self._timer = None

    @staticmethod
    def _count(c: Any) -> None:
        queues = c.app.workerpool_settings.queues
        try:
            with c.task_consumer.channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
                for queue in queues:
                    pipe.zcard(keys.dead_letters(queue))
                metrics.dead_letters(dict(zip(queues, pipe.execute(), strict=True)))
        except Exception as error:  # noqa: BLE001 - the consumer notices a lost connection itself
            _log.warning("cannot count the dead letters: %s", error)
