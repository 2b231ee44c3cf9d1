"""Celery's consumer with a reconnect that is quick: Redis back means jobs again within a second."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from workerpool_worker.runtime import metrics
from workerpool_worker.runtime.broker_errors import reason
from workerpool_worker.runtime.heartbeat import heartbeat_of

_log = logging.getLogger("workerpool_worker.broker")
_SECONDS_BETWEEN_LINES = 10.0


class PoolConsumer(Consumer):
    """Retries the broker every half second at most; Celery's own back-off of 2, 4, ... 30 s cannot be set."""

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, for ever if need be; a line every ten seconds says that it is still trying."""
        began = time.monotonic()
        said = -_SECONDS_BETWEEN_LINES
        heartbeat = heartbeat_of(self.app)

        def between_tries() -> None:
            heartbeat.beat()
            metrics.tick()
            maybe_shutdown()

        def on_error(error: Exception, _interval: float) -> None:
            nonlocal said
            now = time.monotonic()
            if now - said >= _SECONDS_BETWEEN_LINES:
                said = now
                _log.warning("cannot reach the broker %s: %s; trying again", *self._broker_and(error))

        conn.ensure_connection(
            on_error, None, interval_start=0.1, interval_step=0.1, interval_max=0.5, callback=between_tries
        )
        self.first_connection_attempt = False
        self.broker_connection_retry_attempt = 0
        if said > 0:
            _log.warning("reached the broker again after %.1f s", time.monotonic() - began)
        return conn

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Say in one line what ended the connection; Celery does the rest."""
        _log.warning("lost the broker %s: %s; connecting again", *self._broker_and(exc))
        super().on_connection_error_after_connected(exc)

    def _broker_and(self, error: BaseException) -> tuple[object, str]:
        broker = self.app.workerpool_broker  # type: ignore[attr-defined]
        return broker, reason(error, broker)
