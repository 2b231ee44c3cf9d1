"""Celery's message as kombu puts it into Redis, as far as a reader needs it.

A list element is ``{"body": base64, "content-encoding": …, "content-type": …, "headers": {…}, "properties": {…}}`` with
``id``, ``task`` and ``eta`` (ISO 8601) in the headers (task protocol 2, Celery's default). Celery stamps no time of
publication; where a producer sets a header ``enqueued_at`` (seconds since the epoch), it is taken. A value of the hash
``unacked`` is ``[message, exchange, routing_key]``.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

LARGE_BYTES = 65_536
"""From this size on a message is not parsed whole, and the tail of a list is not fetched at every poll."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What is known of one job; everything may be missing. Times are seconds since the epoch."""

    id: str | None = None
    task: str | None = None
    enqueued_at_s: float | None = None
    eta_s: float | None = None
    exchange: str = ""
    routing_key: str = ""

    def is_due(self, now_s: float) -> bool:
        """Whether it may run now."""
        return self.eta_s is None or self.eta_s <= now_s

    def age_s(self, now_s: float, *, seen_since_s: float) -> float:
        """How long it has been waiting past its time; ``seen_since_s`` stands in for a missing time of publication."""
        since_s = seen_since_s if self.enqueued_at_s is None else self.enqueued_at_s
        return max(0.0, now_s - max(since_s, self.eta_s or 0.0))


def parse_listed(raw: bytes) -> Message | None:
    """Parse an element of a list; None when it is not a Celery message."""
    try:
        return _message(json.loads(_without_body(raw, b"{")))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def parse_held(raw: bytes) -> Message | None:
    """Parse a value of the hash of unacknowledged messages; None when it is not a Celery message."""
    try:
        message, exchange, routing_key = json.loads(_without_body(raw, b"[{"))
        return _message(message, exchange=str(exchange or ""), routing_key=str(routing_key or ""))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _without_body(raw: bytes, opening: bytes) -> bytes:
    # The body comes first and is nearly all of a large message. Inside a JSON string the quotes would be escaped, so
    # this finds the headers themselves; what comes before them is of no use here.
    if len(raw) <= LARGE_BYTES:
        return raw
    start = raw.find(b'"headers": {')
    return raw if start < 0 else opening + raw[start:]


def _message(message: dict[str, Any], *, exchange: str = "", routing_key: str = "") -> Message:
    headers = message["headers"] if isinstance(message.get("headers"), dict) else {}
    return Message(
        id=_text(headers.get("id")),
        task=_text(headers.get("task")),
        enqueued_at_s=_seconds(headers.get("enqueued_at")),
        eta_s=_moment(headers.get("eta")),
        exchange=exchange,
        routing_key=routing_key,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _moment(value: object) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
