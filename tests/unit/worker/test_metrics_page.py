"""The page in shared memory: whole at any moment, whoever stops where."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from workerpool_worker.runtime.shared_page import SharedPage

pytestmark = pytest.mark.unit


def test_what_was_written_last_is_read() -> None:
    page = SharedPage(1_000)
    assert page.read() == b""
    for content in (b"one", b"", b"three" * 100, b"4"):
        assert page.write(content)
        assert page.read() == content


def test_what_does_not_fit_leaves_what_is_there() -> None:
    page = SharedPage(100)
    assert page.write(b"x" * 80)
    assert not page.write(b"y" * 100)
    assert page.read() == b"x" * 80


def test_a_page_that_is_being_written_is_read_as_it_was() -> None:
    page = SharedPage(100)
    page.write(b"old")
    page._memory[page._start(2) : page._start(2) + 50] = b"half of something new" + b"?" * 29
    assert page.read() == b"old"


def test_a_page_that_does_not_hold_what_was_written_is_not_read() -> None:
    page = SharedPage(100)
    page.write(b"content")
    page._memory[page._start(1) + 14] ^= 1
    assert page.read() == b""


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
