"""The port of probes and metrics where something is in its way, and the page that two processes share."""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.integration.worker.bench import until
from workerpool_worker.monitoring import health as health_module
from workerpool_worker.monitoring.shared_page import SharedPage

pytestmark = pytest.mark.integration


def refusing(errno_: int) -> Callable[[socket.AddressFamily, int], socket.socket]:
    """Where IPv6 cannot be bound, and IPv4 can."""
    bound = health_module._bound

    def bind(family: socket.AddressFamily, port: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno_, os.strerror(errno_))
        return bound(family, port)

    return bind


def test_ipv4_alone_will_do_where_ipv6_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: True)
    monkeypatch.setattr(health_module, "_bound", refusing(errno.EADDRNOTAVAIL))
    with health_module._listen(0) as listening:
        assert listening.family == socket.AF_INET
    monkeypatch.setattr(health_module, "_bound", refusing(errno.EADDRINUSE))
    with pytest.raises(OSError, match="Address already in use"):
        health_module._listen(0)


def test_a_port_that_somebody_took_meanwhile_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The process that answers has ended, and its port is gone: the worker goes on."""
    monkeypatch.setattr(health_module, "_bound", refusing(errno.EADDRINUSE))
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: True)
    ended = subprocess.Popen(["true"])
    beside = health_module.Beside(1, tmp_path / "beat", SharedPage(100))
    beside.pid = ended.pid
    # Not waited for, which is what the worker does.
    until(lambda: psutil.Process(ended.pid).status() == psutil.STATUS_ZOMBIE)
    beside.watch()
    assert "probes are not answered: WORKERPOOL_HEALTH_PORT: cannot listen on port 1" in caplog.text
    beside.watch()
    assert len(caplog.records) == 1, "not more often than every ten seconds"
    ended.wait()


def test_another_process_reads_whole_pages_only() -> None:
    """Each page is one character, over and over: a mixture would show."""
    page = SharedPage(200_000)
    page.write(b"a")
    writer = os.fork()
    if not writer:
        signal.alarm(30)
        while True:
            page.write(random.choice(b"abcdefgh").to_bytes() * random.randrange(1, 199_000))
    try:
        seen: set[bytes] = set()
        ends_s = time.monotonic() + 20
        while len(seen) < 200:
            content = page.read()
            assert len(set(content)) <= 1
            seen.add(content)
            assert time.monotonic() < ends_s, len(seen)
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
