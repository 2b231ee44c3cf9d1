"""Notes when a process comes how far, from its first moment on. Python imports it by its name before anything else.

Only where BENCH_MARKS names a file. Audit events tell what happens without a line in the code that is measured.
"""

from __future__ import annotations

import os
import sys
import time

_FILE = os.environ.get("BENCH_MARKS")


def _mark(name: str) -> None:
    if _FILE is not None:
        with open(_FILE, "a", encoding="ascii") as file:  # noqa: PTH123 - pathlib would be one of the imports measured
            file.write(f"{name} {os.getpid()} {time.time()}\n")


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "os.fork":
        _mark("fork")
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        _mark("connect")


if _FILE is not None:
    _mark("python")
    sys.addaudithook(_hook)
