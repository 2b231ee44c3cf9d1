"""Shows a person how far it is: one line a step, with its time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TextIO

_WIDTH: Final = 58


@dataclass(kw_only=True)
class Note:
    """What a step found out while it ran; shown behind its name."""

    text: str = ""


@contextmanager
def step(name: str, out: TextIO | None = None) -> Iterator[Note]:
    """One step: on a terminal its seconds are counted while it runs; elsewhere it is one line when it is done."""
    to = out or sys.stdout
    note, over, start_s = Note(), threading.Event(), time.monotonic()
    ticker = threading.Thread(target=_tick, args=(name, over, start_s, to), daemon=True)
    if to.isatty():
        ticker.start()
    mark = "failed"
    try:
        yield note
        mark = "ok"
    finally:
        over.set()
        if ticker.is_alive():
            ticker.join()
        begin = "\r\x1b[K" if to.isatty() else ""
        shown = f"{name}: {note.text}" if note.text else name
        to.write(f"{begin}{mark:>6}  {shown:<{_WIDTH}} {time.monotonic() - start_s:6.1f} s\n")
        to.flush()


def _tick(name: str, over: threading.Event, start_s: float, to: TextIO) -> None:
    while not over.wait(0.2):
        to.write(f"\r\x1b[K   ...  {name:<{_WIDTH}} {time.monotonic() - start_s:6.0f} s")
        to.flush()
