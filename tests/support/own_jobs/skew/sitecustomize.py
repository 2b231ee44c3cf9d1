"""On PYTHONPATH, it gives a process a clock that is wrong by SKEW_S seconds."""

import os
import time

_right = time.time
_SKEW_S = float(os.environ.get("SKEW_S", "0"))


def _wrong() -> float:
    return _right() + _SKEW_S


time.time = _wrong
