"""The models of KEDA and of the HPA against sequences worked out by hand, and against a real one's times."""

from __future__ import annotations

import statistics

import pytest

from workerpool_operator.simulate.load import Load
from workerpool_operator.simulate.policies.hpa import Hpa
from workerpool_operator.simulate.policies.keda import KedaPolicy, KedaSetting
from workerpool_operator.simulate.services import lengths
from workerpool_operator.simulate.world import World

pytestmark = pytest.mark.unit


def sizes(hpa: Hpa, current: int, metrics: list[float], *, every_s: float = 15.0) -> list[int]:
    found = []
    for number, metric in enumerate(metrics):
        current = hpa.size(number * every_s, current, metric)
        found.append(current)
    return found


def test_default_step_limit_doubles_with_at_least_four() -> None:
    # 200 jobs at 5 a replica want 40: what was measured on a real cluster goes 1-4-8-16-32-40
    assert sizes(Hpa(target=5, least=1, most=100), 1, [200.0] * 6) == [4, 8, 16, 32, 40, 40]


def test_without_the_limit_one_sync_is_enough() -> None:
    assert sizes(Hpa(target=5, least=1, most=100, limited=False), 1, [200.0, 200.0]) == [40, 40]


@pytest.mark.parametrize(("metric", "size"), [(45.1, 10), (54.9, 10), (44.9, 9), (55.1, 12)])
def test_nothing_changes_within_a_tenth_of_the_target(metric: float, size: int) -> None:
    # 10 replicas at 5 each: 50 is on target, 45 to 55 within the tolerance; ceil(44.9 / 5) = 9, ceil(55.1 / 5) = 12
    assert Hpa(target=5, least=1, most=100, window_s=0.0).size(0.0, 10, metric) == size


def test_highest_recommendation_of_the_window_wins_going_down() -> None:
    hpa = Hpa(target=5, least=1, most=100, window_s=60.0)
    # 8 wanted at 0 s, 4 at 15 s, nothing after: 8 holds for a window, then 4 until its own window is over
    assert sizes(hpa, 8, [40.0, 20.0, 0.0, 0.0, 0.0, 0.0, 0.0]) == [8, 8, 8, 8, 4, 1, 1]


def test_bounds_hold_and_zero_switches_it_off() -> None:
    assert sizes(Hpa(target=5, least=2, most=6), 4, [500.0, 500.0]) == [6, 6]
    assert sizes(Hpa(target=5, least=2, most=6, window_s=0.0), 4, [0.0]) == [2]
    assert sizes(Hpa(target=5, least=1, most=6), 0, [500.0, 500.0]) == [0, 0]


def course(setting: KedaSetting, load: Load, seed: int) -> list[tuple[float, int]]:
    """Times and sizes of a run, each change once."""
    policy = KedaPolicy(least=0, most=100, seed=seed, setting=setting)
    startup = lengths("5", "startup").draw
    moments = World(load=load, policy=policy, slots=1, startup=startup, seed=seed, moments=1_000_000)
    found: list[tuple[float, int]] = []
    for moment in moments.run().course:
        if not found or found[-1][1] != moment.current:
            found.append((moment.time_s, moment.current))
    return found


def push(jobs: int, service_s: float) -> Load:
    return Load(arrivals_s=[0.0] * jobs, services_s=[service_s] * jobs, duration_s=300.0)


def reached_s(sizes: list[tuple[float, int]], size: int) -> float:
    return next(at for at, found in sizes if found >= size)


def test_wakes_and_grows_at_the_pace_of_a_real_one() -> None:
    # measured with defaults: 0 to 1 after 14.7 s (2.0 to 29.2), at 40 after 86.8 s (63.0 to 99.9); 240 jobs that each
    # take longer than this hold the list at 200 and more
    runs = [course(KedaSetting(), push(240, 1_000.0), seed) for seed in range(25)]
    first = [reached_s(run, 1) for run in runs]
    grown = [reached_s(run, 40) for run in runs]
    assert statistics.median(first) == pytest.approx(14.7, abs=6)
    assert (min(first) >= 0, max(first) <= 30) == (True, True)
    assert statistics.median(grown) == pytest.approx(86.8, abs=9)
    assert (min(grown) >= 60, max(grown) <= 106) == (True, True)


def test_sleeps_a_cooldown_after_the_list_was_last_seen_with_something_in_it() -> None:
    # one job, taken 5 s after the waking poll: the poll before that saw it last; then 300 s, and up to a poll more
    load = Load(arrivals_s=[0.0, 899.0], services_s=[1.0, 1.0], duration_s=900.0)
    for seed in range(10):
        run = course(KedaSetting(), load, seed)
        woken_s = reached_s(run, 1)
        slept_s = next(at for at, size in run if size == 0 and at > woken_s)
        assert 300 < slept_s - woken_s <= 331


def test_counts_what_waits_only() -> None:
    # eight jobs that run for long are on no list: with nothing waiting the pool shrinks and its busy workers are killed
    load = Load(arrivals_s=[0.0] * 8, services_s=[2_000.0] * 8, duration_s=2_500.0)
    policy = KedaPolicy(least=0, most=8, seed=1, setting=KedaSetting(list_length=1))
    outcome = World(load=load, policy=policy, slots=1, startup=lengths("5", "startup").draw, seed=1).run()
    assert outcome.busy_kills > 0
    assert outcome.lost_s > 0
