"""How long a replica that keeps ending by itself waits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerpool_operator.local.backoff import Backoff, CrashRecord

pytestmark = pytest.mark.unit


def _delays(*crashes: tuple[float, bool]) -> list[float]:
    record, delays = CrashRecord(), []
    for lived_s, killed in crashes:
        record, delay_s = Backoff().after_crash(record, lived_s=lived_s, killed=killed)
        delays.append(delay_s)
    return delays


def test_it_doubles_up_to_half_a_minute() -> None:
    assert _delays(*[(0.1, False)] * 8) == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_minute_of_life_clears_it() -> None:
    assert _delays((0.1, False), (0.1, False), (60.0, False), (0.1, False)) == [1, 2, 1, 2]


def test_the_first_kill_from_outside_costs_no_wait() -> None:
    assert _delays(*[(5.0, True)] * 4) == [0, 1, 2, 4]


def test_a_kill_after_a_crash_waits_like_a_crash() -> None:
    assert _delays((0.1, False), (0.1, True)) == [1, 2]


def test_kills_of_workers_that_lived_cost_no_wait_ever() -> None:
    assert _delays(*[(61.0, True)] * 3) == [0, 0, 0]


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_the_wait_is_bounded_however_often_it_failed(waits: int) -> None:
    assert 1.0 <= Backoff().delay_s(waits) <= 30.0
