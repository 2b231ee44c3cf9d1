"""SIGTERM and the soft time limit wait for the commit."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

JOB = """
import os, signal, sys
from workerpool_worker.runtime.uninterrupted import uninterrupted
with uninterrupted():
    print("sent", flush=True)
    os.kill(os.getpid(), signal.{name})
    print("committed", flush=True)
print("went on", flush=True)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_the_signal_waits_for_the_end_of_the_block(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", JOB.format(name=name)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["sent", "committed"]
    assert done.returncode == -getattr(signal, name)


def test_sigkill_does_not_wait() -> None:
    done = subprocess.run(
        [sys.executable, "-c", JOB.format(name="SIGKILL")], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["sent"]
