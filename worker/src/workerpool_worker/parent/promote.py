"""Brings delayed jobs into their queues when they come due, from the event loop of every worker."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import bootsteps

from workerpool_worker.messages.delayed import PROMOTED_AT_ONCE, promote

LONGEST_S = 1.0
"""Anybody may put a job in at any time, so a worker looks at least this often; sooner when one comes due sooner."""
SHORTEST_S = 0.02

_log = logging.getLogger("workerpool_worker.delayed")


class PromoteStep(bootsteps.StartStopStep):
    """Looks, and looks again when the next job comes due."""

    requires = ("workerpool_worker.parent.fetch:FetchStep",)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        self._timer: Any = None

    def start(self, c: Any) -> None:
        """Begin to look; again after every reconnect."""
        self._again(c, 0.0)

    def stop(self, c: Any) -> None:
        """No connection, no look."""
        if self._timer is not None:
            c.timer.cancel(self._timer)
            self._timer = None

    def _again(self, c: Any, in_s: float) -> None:
        self._timer = c.timer.call_after(in_s, self._look, (c,))

    def _look(self, c: Any) -> None:
        wait_s = LONGEST_S
        try:
            channel = c.task_consumer.channel
            channel.settlement.settle_pending()
            with channel.conn_or_acquire() as client:
                found = promote(client, c.app.workerpool_settings.queues)
            channel.ahead_s = found.now_s - time.time()
            if found.next_in_s is not None:
                # More than one look may bring were due: look again at once.
                wait_s = SHORTEST_S if found.count >= PROMOTED_AT_ONCE else found.next_in_s
        except Exception as error:  # noqa: BLE001 - the consumer notices a lost connection itself
            _log.warning("cannot look for delayed jobs: %s; trying again", error)
        self._again(c, min(max(wait_s, SHORTEST_S), LONGEST_S))
