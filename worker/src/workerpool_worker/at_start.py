"""What has to be done before anything else is imported.

The first process of a container has no default action for SIGTERM: the kernel drops the signal until somebody handles
it. A pod that is told to go while its worker still imports would go on working, take jobs, and be killed at the end of
its grace period.
"""

from __future__ import annotations

import os
import signal

FIRST_PROCESS = 1


def leave_on_sigterm(pid: int) -> bool:
    """Let SIGTERM end a first process that has begun nothing yet; Celery's own handler takes its place later."""
    if pid != FIRST_PROCESS:
        return False
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    return True


leave_on_sigterm(os.getpid())
