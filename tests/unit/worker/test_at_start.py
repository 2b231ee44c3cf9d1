"""SIGTERM to a worker that still imports."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

PROGRAM = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what the kernel does for the first process of a container
from workerpool_worker.at_start import leave_on_sigterm
print(leave_on_sigterm(int(sys.argv[1])), flush=True)
os.kill(os.getpid(), signal.SIGTERM)
print("alive", flush=True)
"""


@pytest.mark.parametrize(("pid", "said", "status"), [(1, "True\n", 128 + signal.SIGTERM), (7, "False\nalive\n", 0)])
def test_the_first_process_goes(pid: int, said: str, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(pid)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.returncode) == (said, status)
