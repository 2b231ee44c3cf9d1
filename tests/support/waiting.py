"""Waiting for things to be so, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], within_s: float, what: str, *, every_s: float = 0.05) -> T:
    """Wait until a condition holds and return what it gave; says what was waited for when it does not come.

    An ``AssertionError`` of the condition means "not yet": the last one is named when time is up.
    """
    deadline_s = time.monotonic() + within_s
    while True:
        why: AssertionError | None = None
        try:
            if value := condition():
                return value
        except AssertionError as error:
            why = error
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {within_s:g} s: {what}" + (f" ({why})" if why else "")) from why
        time.sleep(every_s)
