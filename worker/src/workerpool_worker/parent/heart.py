"""Celery's heartbeat, which tells the autoscaler who is busy, with how long jobs ran added to it."""

from __future__ import annotations

from typing import Any

from celery.utils.sysinfo import load_average
from celery.worker import heartbeat
from celery.worker.consumer import heart
from celery.worker.state import SOFTWARE_INFO, active_requests, all_total_count

from workerpool_worker.monitoring.run_times import OURS

_Heart: Any = heartbeat.Heart  # celery-types knows little of them
_HeartStep: Any = heart.Heart


class Heart(_Heart):  # type: ignore[misc]
    """Sends a worker's signs of life."""

    def _send(self, event: str, retry: bool = True) -> Any:
        """Send one, with what Celery sends and the times of the jobs.

        A broker that no longer answers ends the connection, which the consumer then makes again, beating. Celery tries
        again right here, in the event loop, for ever: a Redis that vanished without a word (its pod and Service gone, a
        firewall) held the loop until the liveness probe ended the worker.
        """
        if self._send_sent_signal is not None:
            self._send_sent_signal(sender=self)
        once = event == "worker-heartbeat"
        if once:
            self.eventer.buffer_while_offline = False  # else it would keep the error to itself
        try:
            return self.eventer.send(
                event,
                freq=self.interval,
                active=len(active_requests),
                processed=all_total_count[0],
                loadavg=load_average(),
                retry=retry and not once,
                **OURS.fields(),
                **SOFTWARE_INFO,
            )
        finally:
            if once:
                self.eventer.buffer_while_offline = True


class HeartStep(_HeartStep):  # type: ignore[misc]
    """Stands where Celery's own step stood."""

    def start(self, c: Any) -> None:
        """Begin to send; again after every reconnect."""
        c.heart = Heart(c.timer, c.event_dispatcher, self.heartbeat_interval)
        c.heart.start()
