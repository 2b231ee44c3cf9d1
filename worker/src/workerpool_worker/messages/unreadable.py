"""Telling a message of kombu's from anything else that may lie in a list."""

from __future__ import annotations

import time
from typing import Any

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from workerpool_worker.messages.letters import Letter, letter_id


class UnreadableError(ValueError):
    """Not a message this worker can take; the text says why."""


def read_message(raw: bytes, max_bytes: int) -> dict[str, Any]:
    """The message.

    Raises:
        UnreadableError: it is larger than a message may be, or none.
    """
    if len(raw) > max_bytes:
        raise UnreadableError(f"it has {len(raw):,} bytes; WORKERPOOL_MAX_MESSAGE_BYTES allows {max_bytes:,}")
    try:
        message = loads(bytes_to_str(raw))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"it is not JSON: {error}") from error
    try:
        properties = message["properties"]
        info = properties["delivery_info"]
        needed = (properties["delivery_tag"], info["exchange"], info["routing_key"])
    except (KeyError, TypeError) as error:
        raise UnreadableError("it is JSON, but no message of Celery's") from error
    if not all(isinstance(text, str) for text in needed):
        raise UnreadableError("it is JSON, but no message of Celery's")
    return dict(message)


def unreadable_letter(queue: str, list_key: str, raw: bytes, error: UnreadableError) -> Letter:
    """What is to be said about such a message."""
    return Letter(
        id=letter_id(None, raw),
        queue=queue,
        list_key=list_key,
        error="UnreadableMessage",
        text=str(error),
        size_bytes=len(raw),
        died_at=time.time(),
    )
