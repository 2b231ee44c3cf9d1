"""The page in shared memory: whole at any moment, whoever stops where."""

from __future__ import annotations

import pytest

from workerpool_worker.monitoring.shared_page import SharedPage

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
