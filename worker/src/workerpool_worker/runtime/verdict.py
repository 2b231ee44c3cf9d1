"""How a child tells the parent what becomes of a job that did not end well: the parent moves the message.

It travels as Celery's own Retry, which its tracer takes for no failure of the machinery and hands on as it is.
"""

from __future__ import annotations

import traceback
from typing import Any

from celery.exceptions import Retry

from workerpool_worker.messages.history import History
from workerpool_worker.messages.letters import LONGEST_TRACE
from workerpool_worker.runtime.retry import Dead, Later

_LONGEST_TEXT = 2_000


class NotDoneError(Retry):
    """The try is over and the job is not done. Made of plain values, so that it survives the pipe whatever was raised.

    Attributes:
        error: The error's class.
        text: What it said.
        trace: Its traceback, or "".
        history: What the job has behind it now.
        delay_s: Seconds until the next try; None: none is made.
        deferred: Whether the try was not spent.
        seconds: How long the try took.
    """

    def __init__(
        self,
        *,
        error: str,
        text: str,
        trace: str,
        history: dict[str, Any],
        delay_s: float | None,
        deferred: bool,
        seconds: float,
    ) -> None:
        super().__init__(f"{error}: {text}")
        self.error, self.text, self.trace = error, text, trace
        self.raw_history, self.delay_s, self.deferred, self.seconds = history, delay_s, deferred, seconds

    @property
    def history(self) -> History:
        """What the job has behind it now."""
        return History(**self.raw_history)

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (
            {
                "error": self.error,
                "text": self.text,
                "trace": self.trace,
                "history": self.raw_history,
                "delay_s": self.delay_s,
                "deferred": self.deferred,
                "seconds": self.seconds,
            },
        )


def _made(values: dict[str, Any]) -> NotDoneError:
    return NotDoneError(**values)


def not_done(error: BaseException, verdict: Later | Dead, *, seconds: float) -> NotDoneError:
    """The judgement on this error, ready to be raised."""
    text = str(error)[:_LONGEST_TEXT]
    dead = isinstance(verdict, Dead)
    return NotDoneError(
        error=type(error).__name__,
        text=f"{text} ({verdict.reason})" if isinstance(verdict, Dead) else text,
        trace=trace_of(error) if dead else "",
        history=verdict.history.as_header(),
        delay_s=None if isinstance(verdict, Dead) else verdict.delay_s,
        deferred=isinstance(verdict, Later) and verdict.deferred,
        seconds=seconds,
    )


def trace_of(error: BaseException) -> str:
    """The traceback; of a long one, the end, where the error is."""
    return "".join(traceback.format_exception(error))[-LONGEST_TRACE:]
