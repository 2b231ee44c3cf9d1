"""Celery's heartbeat, which tells the autoscaler who is busy, with how long jobs ran added to it.

A worker that takes no more jobs and ends its last one is waited for: it says so at once, where Celery would say it with
its next heartbeat, up to two seconds later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.utils.sysinfo import load_average
from celery.worker import heartbeat
from celery.worker.consumer import heart
from celery.worker.state import SOFTWARE_INFO, active_requests, all_total_count, reserved_requests

from workerpool_worker.monitoring.run_times import OURS

_Heart: Any = heartbeat.Heart  # celery-types knows little of them
_HeartStep: Any = heart.Heart


_LOOK_S = 0.1


class Heart(_Heart):  # type: ignore[misc]
    """Sends a worker's signs of life.

    Args:
        timer: The worker's timer.
        eventer: Sends events.
        interval: Seconds between heartbeats, None for Celery's two.
        takes_jobs: Whether the worker takes jobs from any queue at this moment.
    """

    def __init__(self, timer: Any, eventer: Any, interval: float | None, *, takes_jobs: Callable[[], bool]) -> None:
        self._takes_jobs, self._had_jobs, self._look = takes_jobs, False, None
        super().__init__(timer, eventer, interval)

    def start(self) -> None:
        """Begin to send."""
        super().start()
        if self.tref is not None and self._look is None:
            self._look = self.timer.call_repeatedly(_LOOK_S, self._tell_the_end)

    def stop(self) -> None:
        """Send no more."""
        if self._look is not None:
            self.timer.cancel(self._look)
            self._look = None
        super().stop()

    def _tell_the_end(self) -> None:
        """Send a heartbeat out of turn where the last job has just ended and no other can come."""
        has_jobs = bool(reserved_requests)  # those that run are among them
        if self._had_jobs and not has_jobs and not self._takes_jobs():
            self._send("worker-heartbeat")
        self._had_jobs = has_jobs

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
        c.heart = Heart(
            c.timer,
            c.event_dispatcher,
            self.heartbeat_interval,
            takes_jobs=lambda: c.task_consumer is None or bool(c.task_consumer.queues),
        )
        c.heart.start()
