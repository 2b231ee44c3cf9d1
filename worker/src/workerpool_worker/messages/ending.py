"""How a fetched message is settled when its job did not end well: the worker's own jobs and orphans alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from workerpool_worker.messages import wire
from workerpool_worker.messages.headers import ENQUEUED_AT
from workerpool_worker.messages.history import History
from workerpool_worker.messages.letters import Letter, letter_id
from workerpool_worker.messages.settle import Settlement
from workerpool_worker.messages.unreadable import UnreadableError, unreadable_letter

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

Buried = Callable[[Letter], None]


class Loss(Enum):
    """What became of a job whose worker or child was lost."""

    AGAIN = "again"
    DEAD = "dead"
    NOT_OURS = "not ours"


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why a job ended: the error's class, what it said, its traceback."""

    error: str
    text: str
    trace: str = ""


class Endings:
    """Settles the messages of one consumer channel.

    Args:
        channel: The channel, one of `messages.transport`.
        settlement: Moves its messages.
        settings: How often a job may be lost, and the waits in between.
        on_buried: Called after a job of ours went to the dead letters.
    """

    def __init__(self, channel: Any, settlement: Settlement, settings: Settings, on_buried: Buried) -> None:
        self._channel = channel
        self._settlement = settlement
        self._settings = settings
        self._on_buried = on_buried

    def put_off(self, payload: wire.Payload, history: History, *, due_s: float) -> bool:
        """Have it tried again at this time (Unix seconds); whether it was still ours."""
        message = wire.again(payload, history, due_s=due_s)
        return self._settlement.put_off(_tag(payload), message, due_s)

    def bury(self, payload: wire.Payload, history: History, cause: Cause) -> bool:
        """Give it up; whether it was still ours."""
        letter = self.letter_of(payload, history, cause)
        return self._settlement.bury(_tag(payload), letter, wire.encode(payload), lambda: self._on_buried(letter))

    def lost(self, payload: wire.Payload, cause: Cause) -> Loss:
        """A worker or child died with it, or it outlived the hard time limit. Bounded: it may be the job that kills.

        The first time it runs again at once, later ones after a growing pause.
        """
        headers = payload.get("headers") or {}
        before = History.of(headers)
        history = replace(before, tries=before.tries + 1, lost=before.lost + 1, cut_off=True)
        if history.lost >= self._settings.max_losses:
            text = f"{cause.text}; the job was lost {history.lost} times, as often as WORKERPOOL_MAX_LOSSES allows"
            return Loss.DEAD if self.bury(payload, history, replace(cause, text=text)) else Loss.NOT_OURS
        tag = _tag(payload)
        if history.lost == 1:
            ours = self._settlement.give_back(tag, wire.again(payload, history, redelivered=True))
        else:
            policy = self._settings.retry_policy(str(headers.get("task")))
            # Without jitter: a job that kills its worker gets the whole pause.
            due_s = self._channel.now_s() + policy.delay_s(history.lost, 1.0)
            ours = self._settlement.put_off(tag, wire.again(payload, history, due_s=due_s, redelivered=True), due_s)
        return Loss.AGAIN if ours else Loss.NOT_OURS

    def bury_unreadable(self, tag: str, message: str | bytes, text: str, *, queue: str) -> bool:
        """Give up what is held and cannot be a job."""
        raw = message.encode(errors="backslashreplace") if isinstance(message, str) else message
        letter = unreadable_letter(queue, queue, raw, UnreadableError(text))
        return self._settlement.bury(tag, letter, raw)

    def give_back(self, payload: wire.Payload) -> bool:
        """To its queue as if it had not been fetched, but for the mark that somebody may have begun it."""
        history = replace(History.of(payload.get("headers")), cut_off=True)
        return self._settlement.give_back(_tag(payload), wire.again(payload, history, redelivered=True))

    def letter_of(self, payload: wire.Payload, history: History, cause: Cause) -> Letter:
        """The dead letter of a job."""
        headers = payload.get("headers") or {}
        queue = wire.queue_of(payload)
        job_id, task = headers.get("id"), headers.get("task")
        message = wire.encode(payload)
        enqueued_at = headers.get(ENQUEUED_AT)
        return Letter(
            id=letter_id(_name(job_id), message),
            job_id=_name(job_id),
            task=_name(task),
            queue=queue,
            list_key=self._channel.list_key(queue, payload),
            error=cause.error,
            text=cause.text,
            trace=cause.trace,
            attempts=history.tries,
            losses=history.lost,
            size_bytes=len(message),
            enqueued_at=float(enqueued_at) if isinstance(enqueued_at, int | float) else None,
            died_at=time.time(),
            correlation_id=_name((payload.get("properties") or {}).get("correlation_id") or job_id),
        )


def _name(value: object) -> str | None:
    """As text that Redis takes: half of a surrogate pair is none."""
    return str(value).encode(errors="backslashreplace").decode() if value else None


def _tag(payload: wire.Payload) -> str:
    return str(payload["properties"]["delivery_tag"])
