"""One record, many sinks: a sink that fails harms neither the loop nor the others."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence

from workerpool_operator.ports import CycleRecord, Notice, Sink
from workerpool_operator.report.humanise import one_line

Say = Callable[[str], None]
"""Takes one line for a person. It may be called at any time from the loop, and must not block."""


def say_on_stderr(line: str) -> None:
    """Print the line on stderr. A stderr that is gone is nobody's problem."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the last resort when a report itself fails


class Sinks:
    """A sink that passes everything on to others, in order.

    The first failure of each is said in one line that names it; it keeps being called, since it may recover.
    """

    def __init__(self, sinks: Sequence[Sink], *, on_trouble: Say = say_on_stderr) -> None:
        self._sinks = tuple(sinks)
        self._on_trouble = on_trouble
        self._reported: set[int] = set()

    def record(self, record: CycleRecord) -> None:
        """Pass the record to every sink."""
        for index, sink in enumerate(self._sinks):
            try:
                sink.record(record)
            except Exception as error:  # noqa: BLE001 - whatever a sink does, the loop goes on
                self._failed(index, sink, error)

    def notice(self, notice: Notice) -> None:
        """Pass the notice to every sink."""
        for index, sink in enumerate(self._sinks):
            try:
                sink.notice(notice)
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(index, sink, error)

    def _failed(self, index: int, sink: Sink, error: Exception) -> None:
        if index in self._reported:
            return
        self._reported.add(index)
        what = one_line(f"{type(error).__name__}: {error}")
        self._on_trouble(
            f"workerpool: the report {type(sink).__name__} failed and may miss entries from now on: {what}"
        )
