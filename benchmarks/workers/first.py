"""What the first job of a worker does: it notes when it began and holds still until it was looked at."""

from __future__ import annotations

import os
import time
from pathlib import Path

_LONGEST_S = 30.0


def hold() -> None:
    """Note the time, then wait until somebody has taken the file away."""
    path = Path(os.environ["BENCH_FIRST"])
    path.write_text(f"{os.getpid()} {time.time()}", encoding="ascii")
    ends_s = time.monotonic() + _LONGEST_S
    while path.exists() and time.monotonic() < ends_s:
        time.sleep(0.01)
