"""Which replicas go: never a busy one while another is left."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerpool_operator.local.victims import Candidate, Standing, choose_victims

pytestmark = pytest.mark.unit


@st.composite
def pools(draw: st.DrawFn) -> list[Candidate]:
    standings = draw(st.lists(st.sampled_from(Standing), max_size=12))
    return [
        Candidate(
            index=index,
            standing=standing,
            active=draw(st.integers(1, 8)) if standing in (Standing.BUSY, Standing.DEAF) else 0,
            started_s=draw(st.floats(0, 1e6)),
            working_since_s=draw(st.floats(0, 1e6)),
        )
        for index, standing in enumerate(standings, start=1)
    ]


@settings(deadline=None)
@given(pools(), st.integers(-2, 15))
def test_as_many_as_asked_for_and_nobody_twice(pool: list[Candidate], count: int) -> None:
    victims = choose_victims(pool, count)
    assert len(victims) == len(set(victims)) == min(max(count, 0), len(pool))
    assert set(victims) <= {one.index for one in pool}


@settings(deadline=None)
@given(pools(), st.integers(0, 15))
def test_nobody_goes_while_somebody_of_lower_standing_stays(pool: list[Candidate], count: int) -> None:
    victims = set(choose_victims(pool, count))
    gone = [one.standing for one in pool if one.index in victims]
    kept = [one.standing for one in pool if one.index not in victims]
    assert not gone or not kept or max(gone) <= min(kept)


@settings(deadline=None)
@given(pools(), st.integers(0, 15))
def test_of_the_busy_those_with_the_oldest_work_go_and_of_the_others_the_youngest(
    pool: list[Candidate], count: int
) -> None:
    victims = set(choose_victims(pool, count))
    for gone in (one for one in pool if one.index in victims):
        for kept in (one for one in pool if one.index not in victims and one.standing is gone.standing):
            assert gone.active <= kept.active
            if gone.active == kept.active > 0:
                assert gone.working_since_s <= kept.working_since_s
            elif gone.active == kept.active:
                assert gone.started_s >= kept.started_s


@settings(deadline=None)
@given(pools(), st.integers(0, 15))
def test_the_order_they_are_listed_in_changes_nothing(pool: list[Candidate], count: int) -> None:
    assert choose_victims(pool[::-1], count) == choose_victims(pool, count)


def test_a_whole_order() -> None:
    pool = [
        Candidate(index=1, standing=Standing.BUSY, active=2, started_s=1.0),
        Candidate(index=2, standing=Standing.IDLE, started_s=2.0),
        Candidate(index=3, standing=Standing.IDLE, started_s=3.0),
        Candidate(index=4, standing=Standing.UNKNOWN, started_s=4.0),
        Candidate(index=5, standing=Standing.STARTING, started_s=5.0),
        Candidate(index=6, standing=Standing.BUSY, active=1, started_s=0.0),
        Candidate(index=7, standing=Standing.DOWN, started_s=0.0),
        Candidate(index=8, standing=Standing.BUSY, active=1, started_s=9.0, working_since_s=3.0),
        Candidate(index=9, standing=Standing.DEAF, active=1, started_s=9.0, working_since_s=1.0),
        Candidate(index=10, standing=Standing.BUSY, active=1, started_s=9.0, working_since_s=2.0),
    ]
    assert choose_victims(pool, 10) == (7, 5, 3, 2, 4, 6, 10, 8, 1, 9)
