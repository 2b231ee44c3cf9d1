"""Celery's consumer with a reconnect that is quick: Redis back means jobs again within a second."""

from __future__ import annotations

import logging
import time
from typing import Any, ClassVar

from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from workerpool_worker.broker.errors import reason
from workerpool_worker.messages import wire
from workerpool_worker.messages.ending import Cause
from workerpool_worker.messages.history import History
from workerpool_worker.monitoring import metrics, outcomes
from workerpool_worker.parent.heartbeat import heartbeat_of

_log = logging.getLogger("workerpool_worker.broker")
_SECONDS_BETWEEN_LINES = 10.0
_SOON_S, _PAUSE_S = 2.0, 0.5
"""A connection lost so soon after the one before is made again after a pause."""
_Blueprint: Any = Consumer.Blueprint  # celery-types has it as a value
_HEART, _OUR_HEART = "celery.worker.consumer.heart:Heart", "workerpool_worker.parent.heart:HeartStep"


class PoolConsumer(Consumer):
    """Retries the broker every half second at most; Celery's own back-off of 2, 4, ... 30 s cannot be set."""

    class Blueprint(_Blueprint):  # type: ignore[misc]
        """Celery's steps, with our heartbeat in place of its own."""

        default_steps: ClassVar = [_OUR_HEART if step == _HEART else step for step in _Blueprint.default_steps]

    _lost_at = float("-inf")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._said_lost: dict[str, float] = {}
        super().__init__(*args, **kwargs)

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

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Say in one line what kept it from connecting, where Celery has several."""
        self._say_lost(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Say in one line what ended the connection; Celery does the rest."""
        self._say_lost(exc)
        super().on_connection_error_after_connected(exc)

    def _say_lost(self, error: Exception) -> None:
        # What is refused, a right say, is refused again at once: no reason to fill the log, or to spin.
        now, (broker, why) = time.monotonic(), self._broker_and(error)
        if now - self._said_lost.get(why, -_SECONDS_BETWEEN_LINES) >= _SECONDS_BETWEEN_LINES:
            recent = {said: at for said, at in self._said_lost.items() if now - at < _SECONDS_BETWEEN_LINES}
            self._said_lost = recent | {why: now}
            _log.warning("lost the broker %s: %s; connecting again", broker, why)
        if now - self._lost_at < _SOON_S:
            time.sleep(_PAUSE_S)
        self._lost_at = now

    def cancel_active_requests(self) -> None:
        """End what still runs at the end of a drain. Celery leaves out ids that have succeeded here before."""
        for request in tuple(state.active_requests):
            if not request.acknowledged:
                request.cancel(self.pool, emit_retry=False)

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Not a message of Celery's: to the dead letters, where Celery would drop it."""
        self._bury(message, "UnreadableMessage", "it is JSON, but no job of Celery's")

    def on_unknown_task(self, body: Any, message: Any, exc: BaseException) -> None:  # noqa: ARG002
        """No such task here: to the dead letters, from which a worker that knows it may take it."""
        task = message.headers.get("task")
        self._bury(message, "UnknownTask", f"no task of the name {task!r} is known here; `tasks` lists them")

    def on_invalid_task(self, body: Any, message: Any, exc: BaseException) -> None:  # noqa: ARG002
        """A job that cannot be read, or whose content is of a kind nobody should read (a pickle)."""
        self._bury(message, type(exc).__name__, str(exc))

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """The same for what cannot be decoded."""
        self._bury(message, type(exc).__name__, str(exc))

    def _bury(self, message: Any, error: str, text: str) -> None:
        payload = message._raw  # noqa: SLF001 - kombu's name for what came
        if not isinstance(payload.get("headers"), dict):
            payload = {**payload, "headers": {}}
        endings = message.channel.endings
        endings.bury(payload, History(), Cause(error=error, text=text))
        headers = payload["headers"]
        outcomes.message_buried(wire.queue_of(payload), headers.get("task"), headers.get("id"), f"{error}: {text}")

    def _broker_and(self, error: BaseException) -> tuple[object, str]:
        broker = self.app.workerpool_broker  # type: ignore[attr-defined]
        return broker, reason(error, broker)
