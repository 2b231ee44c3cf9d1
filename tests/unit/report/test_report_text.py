"""Durations, counts, one-line text, and small graphs."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool_operator.report.humanise import clock, count, duration, one_line, plural, shorten
from workerpool_operator.report.sparkline import ASCII_BLOCKS, BLOCKS, GAP, resample, sparkline

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (-3.0, "0.0 s"),
        (0.0, "0.0 s"),
        (3.24, "3.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 m 00 s"),
        (65.0, "1 m 05 s"),
        (3599.9, "1 h 00 m"),
        (7380.0, "2 h 03 m"),
        (90_000.0, "1 d 01 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "?"),
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10k"),
        (12_345, "12.3k"),
        (999_999, "1M"),
        (4_560_000, "4.56M"),
        (7_100_000_000, "7.1G"),
    ],
)
def test_counts_stay_short(number: int | None, text: str) -> None:
    assert count(number) == text


@given(st.integers(min_value=0, max_value=10**12))
def test_any_count_fits_a_column(number: int) -> None:
    assert len(count(number)) <= 9


def test_small_words() -> None:
    assert plural(1, "pool") == "1 pool"
    assert plural(0, "pool") == "0 pools"
    assert clock(0, dt.UTC) == "00:00:00"
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"


def test_text_cannot_move_the_cursor_or_break_the_line() -> None:
    assert one_line("a\nb\x1b[2Jc\x9b1m\u202ed") == "a b [2Jc 1m d"


def test_a_sparkline_tells_none_from_one_and_from_unknown() -> None:
    assert sparkline([0, 1, None, 100]) == BLOCKS[0] + BLOCKS[1] + GAP + BLOCKS[7]
    assert sparkline([0, None], ascii_only=True) == ASCII_BLOCKS[0] + "?"
    assert sparkline([]) == ""
    assert sparkline([5, 10, 40], top=10)[1:] == BLOCKS[7] * 2


@given(st.lists(st.none() | st.floats(min_value=0, max_value=1e9)), st.none() | st.floats(min_value=0, max_value=1e9))
def test_a_sparkline_has_one_character_a_value(values: list[float | None], top: float | None) -> None:
    line = sparkline(values, top=top)
    assert len(line) == len(values)
    assert [char == GAP for char in line] == [value is None for value in values]


def test_resampling_keeps_bursts_holds_values_and_knows_what_it_does_not_know() -> None:
    points = [(1.0, 2.0), (3.1, 50.0), (3.2, 1.0), (7.0, None), (9.0, 3.0)]
    assert resample(points, start_s=0, end_s=10, width=5) == [2.0, 50.0, 1.0, 1.0, 3.0]
    assert resample(points, start_s=6, end_s=10, width=4) == [1.0, 1.0, None, 3.0]
    assert resample([], start_s=0, end_s=10, width=2) == [None, None]
    assert resample(points, start_s=5, end_s=5, width=3) == [None] * 3
    assert resample(points, start_s=0, end_s=10, width=0) == []
