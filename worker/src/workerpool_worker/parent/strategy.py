"""Celery's strategy: what is done with a message of a known task before a child gets it.

A job that is not due, or over a rate limit, goes to the delayed set instead of this worker's memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celery.exceptions import InvalidTaskError
from celery.worker.strategy import default
from redis.exceptions import ResponseError

from workerpool_worker.messages import wire
from workerpool_worker.messages.headers import DUE_AT
from workerpool_worker.messages.transport import SOON_S
from workerpool_worker.monitoring import outcomes
from workerpool_worker.parent import limiter
from workerpool_worker.runtime.limits import RateLimit

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

Handler = Callable[..., Any]

_ASK_AGAIN_S = 1.0
_log = logging.getLogger("workerpool_worker.messages")


def strategy(task: Any, app: Any, consumer: Any) -> Handler:
    """The handler of a task's messages."""
    take_in = default(task, app, consumer)
    settings = app.workerpool_settings

    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **more: Any) -> Any:
        payload, channel = message._raw, message.channel  # noqa: SLF001 - what came
        now_s = channel.now_s()
        headers = message.headers
        try:
            due_s = wire.due_s_of(headers)
        except ValueError as error:
            raise InvalidTaskError(str(error)) from error
        if due_s is not None and due_s > now_s + SOON_S:
            channel.endings.put_off(payload, wire.history_of(payload), due_s=due_s)
            return None
        wanted = task.workerpool_limits(wire.queue_of(payload))
        if wanted:
            history = wire.history_of(payload)
            if not history.slot_s or now_s - history.slot_s > limiter.LATE_S:
                wait_s = _wait_s(channel, wanted)
                if wait_s is None:
                    channel.endings.put_off(payload, history, due_s=now_s + _ASK_AGAIN_S)
                    return None
                if wait_s > SOON_S:
                    slot_s = now_s + wait_s
                    channel.endings.put_off(payload, replace(history, slot_s=slot_s), due_s=slot_s)
                    outcomes.job_put_off(headers, wire.queue_of(payload), task.name, wait_s, wanted)
                    return None
        # It is due: with its time left in, Celery would wait for a time that has passed, by a timer.
        headers["eta"] = None
        if due_s is not None:
            headers[DUE_AT] = due_s
        headers["timelimit"] = _shorter(headers.get("timelimit"), settings)
        return take_in(message, body, ack, reject, callbacks, **more)

    return handle


def _shorter(given: object, settings: Settings) -> list[float | None]:
    """The hard and soft time limit of a message: it may ask for shorter ones, or none.

    Leases, claims and the visibility timeout count on it that no try outlives the worker's own hard limit.
    """
    pair = given if isinstance(given, list | tuple) and len(given) == 2 else (None, None)  # noqa: PLR2004 - a pair
    limits = (settings.hard_time_limit_seconds, settings.soft_time_limit_seconds)
    return [min(float(asked), limit) if _is_time(asked) else None for asked, limit in zip(pair, limits, strict=True)]


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _wait_s(channel: Any, wanted: Sequence[RateLimit]) -> float | None:
    """Seconds until a job may run. None where Redis cannot say (it is full): that is no yes."""
    try:
        with channel.conn_or_acquire() as client:
            return limiter.take(client, wanted)
    except ResponseError as error:
        _log.warning("cannot ask for the rate limit: %s; asking again", error)
        return None
