"""A dead letter: a job that will not be tried again by itself, and what one needs to understand it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

LONGEST_TRACE = 20_000


@dataclass(frozen=True, kw_only=True)
class Letter:
    """What is known of it besides the message itself. Times are Unix seconds.

    Attributes:
        id: Names the letter: the job's id, with a suffix where another message of that id has died too.
        job_id: The Celery task's id; None where the message is no job.
        task: The task's name; None where the message is no job.
        queue: The queue it lay in.
        list_key: The list it goes back to, which is the queue's for its priority.
        error: The error's class.
        text: What the error said.
        trace: Its traceback, or "".
        attempts: How often it was tried.
        losses: How many of those ended with the worker or child.
        size_bytes: Of the message.
        enqueued_at: When it was first sent; None where the message does not say.
        died_at: When it was given up.
        correlation_id: What it belonged to.
    """

    id: str
    job_id: str | None = None
    task: str | None = None
    queue: str
    list_key: str
    error: str
    text: str
    trace: str = ""
    attempts: int = 0
    losses: int = 0
    size_bytes: int = 0
    enqueued_at: float | None = None
    died_at: float
    correlation_id: str | None = None

    def encode(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, raw: str | bytes) -> Self:
        """Read what `encode` wrote, by this version or a later one.

        Raises:
            ValueError: it is none.
        """
        try:
            return cls.of(json.loads(raw))
        except TypeError as error:
            raise ValueError(f"not a dead letter: {error}") from error

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Make one of its fields; unknown ones are left out.

        Raises:
            TypeError: a field is missing.
        """
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def letter_id(job_id: str | None, message: str | bytes) -> str:
    """The id of a letter: the job's, or one made of the message's content where it has none."""
    if job_id:
        return job_id
    raw = message.encode() if isinstance(message, str) else message
    return f"message-{hashlib.sha256(raw).hexdigest()[:16]}"
