"""The live view on a terminal, drawn with rich. What it shows is composed in ``screen``."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from workerpool_operator.report.board import Board
from workerpool_operator.report.screen import Canvas, Line, compose

REFRESH_S = 0.25
"""Time between two drawings: quick enough to follow, slow enough to read."""


class LiveView:
    """Draws a board on a terminal, in place, until it is stopped; the last state stays on the screen.

    Use it as a context manager, and either call :meth:`refresh` or keep :meth:`run` going as a task. While it is shown,
    what is printed to standard output and error appears above it.
    """

    def __init__(
        self, board: Board, *, title: str = "workerpool", console: Console | None = None, window_s: float = 120.0
    ) -> None:
        """Nothing is drawn yet.

        Args:
            board: What to show.
            title: What stands first in the top line.
            console: Where to draw; standard output when None.
            window_s: How many seconds the small graphs reach back.
        """
        self._board = board
        self._title = title
        self._console = console or Console()
        self._window_s = window_s
        self._started_s = time.monotonic()
        self._lines: list[Line] = []
        self._live = Live(
            console=self._console, auto_refresh=False, get_renderable=self._renderable, vertical_overflow="crop"
        )
        self.closed = False
        """Whether the terminal is gone."""

    def start(self) -> None:
        """Take over the bottom of the terminal."""
        self._started_s = time.monotonic()
        self._lines = self._compose()
        self._live.start()

    def stop(self) -> None:
        """Draw once more and give the terminal back."""
        self._lines = self._compose()
        try:
            self._live.stop()
        except (OSError, ValueError):  # ValueError: the stream was closed
            self.closed = True

    def refresh(self) -> None:
        """Draw the present state."""
        self._draw(self._compose())

    async def run(self, interval_s: float = REFRESH_S) -> None:
        """Draw again and again until cancelled or until the terminal is gone.

        Drawing happens in a thread: a terminal that takes nothing (Ctrl-S) must not hold up the loop.
        """
        while not self.closed:
            await asyncio.to_thread(self._draw, self._compose())
            await asyncio.sleep(interval_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _compose(self) -> list[Line]:
        canvas = Canvas(
            width=self._console.width,
            height=self._console.height - 1,
            ascii_only=self._console.options.ascii_only,
            window_s=self._window_s,
        )
        lines = compose(self._board, canvas, title=self._title, elapsed_s=time.monotonic() - self._started_s)
        return [_ascii(line) for line in lines] if canvas.ascii_only else lines

    def _draw(self, lines: list[Line]) -> None:
        self._lines = lines
        try:
            self._live.refresh()
        except (OSError, ValueError):
            self.closed = True

    def _renderable(self) -> Group:
        # Text takes what it is given literally: square brackets in a message are no markup
        return Group(*(Text.assemble(*line, no_wrap=True, overflow="ellipsis") for line in self._lines))


def _ascii(line: Line) -> Line:
    """The line for a terminal that would refuse other characters, such as those of a message."""
    return tuple((text.replace("…", "~").encode("ascii", "replace").decode("ascii"), style) for text, style in line)
