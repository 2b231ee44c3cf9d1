"""What the policy learns by watching: load, seconds a job, start-up time, ages, and the theory of staffing."""

from __future__ import annotations

import math
import random

import pytest

from workerpool_operator.core.ages import Ages
from workerpool_operator.core.load import Load
from workerpool_operator.core.observation import JobSeconds, Replicas
from workerpool_operator.core.service import Finished, Service, Worked
from workerpool_operator.core.staffing import LATE_SHARE, staffed
from workerpool_operator.core.startup import Starting, Startup

pytestmark = pytest.mark.unit


def noisy(load: Load, slots: float, seconds: int, rng: random.Random, job_s: float = 2.0) -> Load:
    """A Poisson stream of jobs of ``job_s`` seconds that keeps ``slots`` busy, looked at once a second."""
    for _ in range(seconds):
        count, left = 0, slots / job_s - rng.expovariate(1.0)
        while left > 0:
            count, left = count + 1, left - rng.expovariate(1.0)
        load = load.added(count * job_s, 1.0)
    return load


class TestLoad:
    def test_steady_load_is_known_well(self) -> None:
        found = noisy(Load(), 10.0, 2_000, random.Random(1)).estimate(2.0, 0.0)
        assert found.slots == pytest.approx(10.0, abs=1.0)
        assert found.window_s >= 64
        assert found.deviation < 1.0
        assert found.lasting == pytest.approx(10.0, abs=1.0)

    @pytest.mark.parametrize(("before", "after"), [(10.0, 0.0), (10.0, 100.0), (200.0, 20.0), (0.0, 20.0)])
    def test_change_is_believed_in_seconds_when_it_is_large(self, before: float, after: float) -> None:
        rng = random.Random(2)
        found = noisy(noisy(Load(), before, 1_000, rng), after, 12, rng).estimate(2.0, 0.0)
        assert abs(found.slots - after) < 0.25 * abs(before - after)
        assert found.window_s <= 16

    def test_first_sample_counts_in_full(self) -> None:
        assert Load().added(7.0, 1.0).estimate(1.0, 1.0).slots == pytest.approx(7.0)

    def test_nothing_seen_is_nothing_known(self) -> None:
        assert Load().estimate(1.0, 1.0).slots == 0.0

    def test_time_that_stands_still_adds_nothing(self) -> None:
        load = Load().added(7.0, 1.0)
        assert load.added(1_000.0, 0.0) == load


NONE_TOLD = Finished()


def worked(
    elapsed_s: float, slots: int, ended: float, told: Finished = NONE_TOLD, running: int | None = None
) -> Worked:
    return Worked(elapsed_s, slots * elapsed_s, ended, told, slots if running is None else running)


class TestService:
    def test_first_assumption_gives_way_to_measurement(self) -> None:
        service = Service()
        assert service.job_s == 1.0
        assert not service.is_measured
        for _ in range(120):  # 4 slots, 2 jobs end a second: 2 s a job
            service = service.added(worked(1.0, 4, 2.0))
        assert service.is_measured
        assert service.job_s == pytest.approx(2.0, rel=0.05)

    def test_a_first_long_job_grows_while_it_runs(self) -> None:
        service = Service()
        for _ in range(1_800):
            service = service.added(worked(1.0, 1, 0.0))
        assert service.job_s > 1_000

    def test_hours_are_remembered_when_jobs_take_hours(self) -> None:
        service = Service()
        for _ in range(30):
            service = service.added(worked(3_600.0, 5, 5.0))
        assert service.job_s == pytest.approx(3_600, rel=0.1)

    def test_longer_jobs_are_noticed_at_once_and_shorter_ones_slowly(self) -> None:
        service = Service()
        for _ in range(600):
            service = service.added(worked(1.0, 10, 10.0, Finished(10, 10.0, 20.0)))
        assert service.job_s == pytest.approx(1.0, rel=0.05)
        longer = service
        for _ in range(60):
            longer = longer.added(worked(1.0, 10, 2.0, Finished(2, 10.0, 60.0)))
        assert longer.job_s == pytest.approx(5.0, rel=0.2)
        shorter = service
        for _ in range(30):
            shorter = shorter.added(worked(1.0, 10, 50.0, Finished(50, 10.0, 4.0)))
        assert shorter.job_s > 0.5

    def test_jobs_that_have_just_begun_say_little(self) -> None:
        service = Service()
        for _ in range(60):
            service = service.added(worked(1.0, 10, 5.0, Finished(5, 10.0, 40.0)))
        before = service.job_s
        for _ in range(3):  # a hundred slots more, of which nobody could have heard yet
            service = service.added(worked(1.0, 110, 5.0, Finished(5, 10.0, 40.0), 110))
        assert before / 1.5 < service.job_s < before * 2

    def test_spread_is_measured_and_bounded(self) -> None:
        service = Service()
        assert service.variation == 1.0
        told = Finished(1_000, 2_000.0, 4_000.0)  # each takes 2 s
        assert service.added(worked(10.0, 10, 1_000, told)).variation < 0.05
        wild = Finished(1_000, 2_000.0, 1e12)
        assert service.added(worked(10.0, 10, 1_000, wild)).variation == 25.0

    def test_sums_that_shrink_begin_anew(self) -> None:
        first, later = Finished.of(JobSeconds(jobs=10, seconds=20.0, squared=50.0)), Finished(3, 5.0, 9.0)
        assert later.since(first) == Finished()
        assert first.since(later) == Finished(7.0, 15.0, 41.0)


class TestStartup:
    def test_starts_are_measured_from_when_they_were_asked_for(self) -> None:
        startup = Startup().seen(Replicas(current=3, ready=0, busy=0), 0, 99.0, 100.0)
        assert startup.under_way == (Starting(99.0, 3),)
        startup = startup.seen(Replicas(current=3, ready=2, busy=0), 3, 105.0, 106.0)
        assert startup.under_way == (Starting(99.0, 1),)
        assert (startup.starts, startup.mean_s) == (1, 7.0)  # those that come together are one sample

    def test_those_that_are_dropped_were_no_starts(self) -> None:
        startup = Startup().seen(Replicas(current=3, ready=0, busy=0), 0, 99.0, 100.0)
        startup = startup.seen(Replicas(current=1, ready=0, busy=0), 3, 100.0, 101.0)
        assert startup == Startup(under_way=(Starting(99.0, 1),))

    def test_one_that_falls_out_starts_anew(self) -> None:
        startup = Startup().seen(Replicas(current=2, ready=2, busy=0), 2, 0.0, 0.0)
        startup = startup.seen(Replicas(current=2, ready=1, busy=0), 2, 9.0, 10.0)
        startup = startup.seen(Replicas(current=2, ready=2, busy=0), 2, 13.0, 14.0)
        assert (startup.starts, startup.mean_s) == (1, 4.0)

    def test_unmeasured_start_is_taken_to_last_as_long_again(self) -> None:
        startup = Startup(under_way=(Starting(100.0, 1),))
        assert startup.lead_s(5.0, 101.0) == 5.0
        assert startup.lead_s(5.0, 130.0) == 60.0

    def test_lead_follows_the_spread(self) -> None:
        even, uneven = Startup(), Startup()
        for number in range(60):
            even, uneven = even.added(10.0), uneven.added(5.0 if number % 2 else 15.0)
        assert even.lead_s(5.0, 0.0) == pytest.approx(10.0, abs=0.1)
        assert 17 < uneven.lead_s(5.0, 0.0) < 23


class TestAges:
    def test_marks_tell_how_many_wait_how_long(self) -> None:
        ages = Ages()
        for second in range(60):  # one job a second arrives and none is begun
            ages = ages.seen(second + 1, 0.0, float(second), 48.0)
        waiting = ages.waiting(60, 59.0, 59.0)
        assert waiting[0] == (1.0, 59.0)
        assert waiting[-1] == (60.0, 0.0)
        for jobs, age_s in waiting:
            assert jobs == pytest.approx(60 - age_s, abs=1.0)

    def test_what_was_begun_is_no_longer_there(self) -> None:
        ages = Ages()
        for second in range(60):
            ages = ages.seen(second + 1, 0.0, float(second), 48.0)
        ages = ages.seen(10, 50.0, 60.0, 48.0)
        assert all(age_s <= 10.0 for _, age_s in ages.waiting(10, None, 60.0))

    def test_memory_is_bounded(self) -> None:
        ages = Ages()
        for second in range(20_000):
            ages = ages.seen(second + 1, 0.0, float(second), 30.0)
        assert len(ages.marks) < 20_000

    def test_clock_that_was_set_back_makes_nothing_older(self) -> None:
        ages = Ages().seen(5, 0.0, 1_000.0, 30.0).seen(6, 0.0, 10.0, 30.0)
        assert all(age_s >= 0.0 for _, age_s in ages.waiting(6, None, 10.0))


class TestStaffing:
    @pytest.mark.parametrize(("load", "target_s"), [(0.1, 5.0), (1.0, 2.0), (10.0, 5.0), (10.0, 0.0), (200.0, 1.0)])
    def test_least_slots_that_hold_the_share(self, load: float, target_s: float) -> None:
        slots = staffed(load, 2.0, 1.0, target_s)

        def late(count: int) -> float:
            # Erlang's C from its definition
            terms = [load**k / math.factorial(k) for k in range(count)] if load < 50 else None
            if terms is None:
                return math.nan
            last = load**count / math.factorial(count) * count / (count - load)
            return last / (sum(terms) + last) * math.exp(-(count - load) * target_s / 2.0)

        assert slots > load
        if load < 50:
            assert late(slots) <= LATE_SHARE
            assert slots - 1 <= load or late(slots - 1) > LATE_SHARE

    def test_no_load_needs_nobody(self) -> None:
        assert staffed(0.0, 1.0, 1.0, 5.0) == 0
