"""What the pool's workers hold, inferred from the broker's keys and the heartbeats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool_operator.core.observation import Cause, InFlight, JobSeconds, Unavailable
from workerpool_operator.ports import PoolReading, ReplicaState, WorkerBeat
from workerpool_operator.queues.inflight import Acknowledgement, InFlightMemory, estimate, interrupted

pytestmark = pytest.mark.unit

EARLY, LATE, UNKNOWN = Acknowledgement.EARLY, Acknowledgement.LATE, Acknowledgement.UNKNOWN


def beat(
    active: int = 0,
    processed: int = 0,
    *,
    age_s: float = 0.0,
    host: str = "a",
    finished: tuple[int, float, float] | None = None,
) -> WorkerBeat:
    ran = JobSeconds(jobs=finished[0], seconds=finished[1], squared=finished[2]) if finished else None
    return WorkerBeat(hostname=f"celery@{host}", pid=1, active=active, processed=processed, age_s=age_s, finished=ran)


def reading(held: int | Unavailable = 0, vanished: int = 0, scheduled: int = 0) -> PoolReading:
    return PoolReading(queues={}, held=held, vanished=vanished, scheduled=scheduled)


def replicas(
    *beats: WorkerBeat, leaving: tuple[WorkerBeat, ...] = (), current: int | None = None, silent: int = 0
) -> ReplicaState:
    count = len(beats) + silent if current is None else current
    return ReplicaState(
        current=count, ready=count, leaving=len(leaving), silent=silent, beats=beats, leaving_beats=leaving
    )


def remember(acknowledgement: Acknowledgement) -> InFlightMemory:
    return InFlightMemory(acknowledgement=acknowledgement)


Step = tuple[float, int, int, list[tuple[float, int, int]]]
"""Time, held, vanished, and for each worker the time, active and processed of its last heartbeat."""


def play(*steps: Step, memory: InFlightMemory | None = None, silent: int = 0) -> InFlightMemory:
    memory = memory or InFlightMemory()
    for time_s, held, vanished, beats in steps:
        heard = [
            beat(active, processed, age_s=time_s - at_s, host=str(index))
            for index, (at_s, active, processed) in enumerate(beats)
        ]
        memory = estimate(reading(held, vanished), replicas(*heard, silent=silent), memory, time_s)[2]
    return memory


@pytest.mark.parametrize(
    ("acknowledgement", "held", "active", "running"),
    [
        (UNKNOWN, 0, 0, 0),
        (UNKNOWN, 5, 2, 5),
        (UNKNOWN, 1, 2, 2),
        (EARLY, 5, 2, 7),
        (EARLY, 0, 2, 2),
        (LATE, 5, 2, 5),
        (LATE, 0, 2, 2),
    ],
)
def test_running(acknowledgement: Acknowledgement, held: int, active: int, running: int) -> None:
    got, busy, _ = estimate(reading(held), replicas(beat(active)), remember(acknowledgement), 10)
    assert isinstance(got, InFlight)
    assert (got.running, got.stranded, busy) == (running, 0, int(active > 0))


def test_what_nobody_is_left_to_run_is_stranded() -> None:
    got, busy, _ = estimate(reading(3, scheduled=2), replicas(), InFlightMemory(), 10)
    assert got == InFlight(running=0, stranded=3, scheduled=2)
    assert busy == 0


def test_a_leaving_replica_still_runs_its_job() -> None:
    got, busy, _ = estimate(reading(1), replicas(leaving=(beat(1),)), remember(LATE), 10)
    assert got == InFlight(running=1, running_on_leaving=1, started_total=0)
    assert busy == 0


def test_a_starting_replica_will_take_what_is_held() -> None:
    got, busy, _ = estimate(reading(1), replicas(current=1), InFlightMemory(), 10)
    assert got == InFlight(running=1)
    assert busy == 0


def test_unreadable_stays_unreadable() -> None:
    away = Unavailable(cause=Cause.TIMEOUT, message="x")
    got, busy, memory = estimate(reading(away), replicas(beat(1, 4)), InFlightMemory(), 10)
    assert (got, busy, memory.started_total) == (away, 1, 0)


@pytest.mark.parametrize(
    ("acknowledgement", "held", "busy"), [(UNKNOWN, 0, None), (EARLY, 0, None), (LATE, 0, 0), (LATE, 1, None)]
)
def test_a_silent_replica_is_of_unknown_business(acknowledgement: Acknowledgement, held: int, busy: int | None) -> None:
    memory = remember(acknowledgement)._replace(since_s=3.9)
    assert estimate(reading(held), replicas(beat(), silent=1), memory, 10)[1] == busy


@pytest.mark.parametrize(
    ("acknowledgement", "held", "busy"), [(UNKNOWN, 0, 3), (EARLY, 4, 3), (LATE, 0, 1), (LATE, 1, 3)]
)
def test_nobody_was_heard_yet_when_readings_have_just_begun(
    acknowledgement: Acknowledgement, held: int, busy: int
) -> None:
    state = replicas(beat(active=1), beat(host="idle"), silent=2)
    first = estimate(reading(held), state, remember(acknowledgement), 10)
    assert first[1] == busy
    assert estimate(reading(held), state, first[2], 16)[1] == busy
    assert estimate(reading(held), state, first[2], 16.01)[1] == (None if busy == 3 else busy)


def test_after_an_interruption_they_have_just_begun_again() -> None:
    state = replicas(silent=2)
    memory = estimate(reading(), state, InFlightMemory(), 10)[2]
    assert estimate(reading(), state, memory, 100)[1] is None
    assert estimate(reading(), state, interrupted(memory), 100)[1] == 2
    # a clock that was set back: nobody knows how long ago it was
    assert estimate(reading(), state, memory, 3)[1] == 2


def test_jobs_that_run_and_are_in_no_key_prove_early() -> None:
    steady: list[Step] = [(2, 0, 0, [(1.5, 1, 1)]), (3, 0, 0, [(1.5, 1, 1)]), (4, 0, 0, [(3.5, 1, 1)])]
    assert play(*steady[:2]).acknowledgement is UNKNOWN
    assert play(*steady).acknowledgement is EARLY


def test_a_job_that_ended_between_the_heartbeats_proves_nothing() -> None:
    assert play((2, 1, 0, [(1.5, 1, 1)]), (3, 0, 0, [(1.5, 1, 1)]), (4, 0, 0, [(3.5, 0, 1)])).acknowledgement is UNKNOWN


def test_another_worker_that_was_not_heard_again_leaves_it_open() -> None:
    both = [(1.5, 1, 1), (1.6, 0, 0)]
    one = [(3.5, 1, 1), (1.6, 0, 0)]
    memory = play((2, 0, 0, both), (3, 0, 0, both), (4, 0, 0, one))
    assert memory.acknowledgement is UNKNOWN
    assert play((5, 0, 0, [(3.5, 1, 1), (4.5, 0, 0)]), memory=memory).acknowledgement is EARLY


def test_held_jobs_that_vanish_as_others_start_prove_early() -> None:
    assert play((2, 3, 0, [(1.5, 0, 0)]), (3, 1, 2, [(1.5, 0, 0)]), (4, 1, 0, [(3.5, 2, 2)])).acknowledgement is EARLY


def test_held_jobs_that_vanish_as_jobs_end_prove_late() -> None:
    ended: list[Step] = [(2, 2, 0, [(1.5, 2, 2)]), (3, 1, 1, [(1.5, 2, 2)]), (4, 1, 0, [(3.5, 1, 2)])]
    assert play(*ended).acknowledgement is LATE
    assert play(*ended, memory=remember(EARLY)).acknowledgement is LATE
    assert play(*ended, silent=1).acknowledgement is UNKNOWN


def test_a_worker_that_went_proves_nothing() -> None:
    two = [(1.5, 2, 2), (1.5, 0, 0)]
    assert play((2, 2, 0, two), (3, 1, 1, two), (4, 1, 0, [(3.5, 1, 2)])).acknowledgement is UNKNOWN


def test_a_worker_that_ended_its_job_and_went_between_two_readings_proves_nothing() -> None:
    # its job vanished with it, and another worker starts one: that does not mean that starting takes jobs away
    both = [(1.5, 0, 0), (1.5, 1, 1)]
    assert play((2, 1, 0, both), (3, 0, 1, [(1.5, 0, 0)]), (4, 1, 0, [(3.5, 1, 1)])).acknowledgement is UNKNOWN


def test_many_polls_between_two_heartbeats_lose_nothing() -> None:
    steps: list[Step] = [(2 + tick / 100, 2 if tick < 50 else 1, int(tick == 50), [(1.5, 2, 2)]) for tick in range(300)]
    memory = play(*steps)
    assert len(memory.samples) <= 32
    assert play((6, 1, 0, [(5.5, 1, 2)]), memory=memory).acknowledgement is LATE


def test_a_proof_holds() -> None:
    memory = play((2, 0, 0, [(1.5, 1, 1)]), (3, 0, 0, [(1.5, 1, 1)]), (4, 0, 0, [(3.5, 1, 1)]))
    assert play((100, 0, 0, []), (200, 0, 0, [(199, 0, 7)]), memory=memory).acknowledgement is EARLY


def test_started_counts_from_when_it_was_first_heard_and_never_falls() -> None:
    memory = play((1, 0, 0, []))
    assert memory.started_total is None
    memory = play((2, 0, 0, [(2, 0, 100)]), memory=memory)
    assert memory.started_total == 0
    memory = play((3, 0, 0, [(2, 0, 100)]), (4, 0, 0, [(4, 1, 103)]), (4.05, 0, 0, [(4.05, 1, 104)]), memory=memory)
    memory = play((4.06, 0, 0, [(4.05, 1, 104)]), memory=memory)
    assert memory.started_total == 4
    # The container was restarted: same name, same process number, counting from 0.
    memory = play((6, 0, 0, [(6, 0, 2)]), (7, 0, 0, []), memory=memory)
    assert memory.started_total == 6


def test_all_that_a_younger_worker_did_is_new() -> None:
    elder, younger = (8.1, 0, 100), (9, 1, 3)
    assert play((1, 0, 0, [elder]), (7.01, 0, 0, [elder]), (9, 0, 0, [elder, younger])).started_total == 3
    # not even three heartbeats after the first look: it may be as old
    assert play((1, 0, 0, [elder]), (7, 0, 0, [elder]), (9, 0, 0, [elder, younger])).started_total == 0
    # a pool that goes to zero and back
    memory = play((1, 0, 0, []), (8, 0, 0, []))
    for start_s in range(10, 100, 10):
        up: list[Step] = [(start_s, 0, 0, [(start_s, 0, 5)]), (start_s + 1, 0, 0, [])]
        memory = play(*up, memory=memory)._replace(workers={})  # the next one has another name
    assert memory.started_total == 45


def test_a_worker_that_could_not_be_heard_at_first_is_not_taken_for_a_new_one() -> None:
    memory = play((1, 0, 0, []), (8, 0, 0, []), (60, 0, 0, []), silent=2)
    memory = play((61, 0, 0, [(61, 1, 1000)]), memory=memory, silent=1)
    memory = play((62, 0, 0, [(61, 1, 1000), (62, 1, 1000)]), memory=memory)
    assert memory.started_total == 0
    # now everybody is known: a hole in which nothing is heard makes nobody new, however long it lasts
    silent: list[Step] = [(second, 0, 0, []) for second in range(63, 5000, 100)]
    memory = interrupted(play(*silent, memory=memory, silent=2))
    memory = play((5001, 0, 0, [(5001, 1, 1001), (5001, 1, 1002)]), memory=memory)
    assert memory.started_total == 3
    # and who was started in it is new
    memory = play((5003, 0, 0, [(5003, 1, 1001), (5003, 1, 1002), (5003, 1, 7)]), memory=memory)
    assert memory.started_total == 10


def test_memory_is_bounded() -> None:
    memory = InFlightMemory()
    for second in range(1000):
        memory = play((second, 1, 1, [(second, 0, second)]), memory=memory)
    assert len(memory.samples) <= 32
    assert sum(map(len, memory.workers.values())) <= 8
    for second in range(1000):
        state = replicas(beat(host=f"pod-{second}"), beat(host="elder"))
        memory = estimate(reading(), state, memory, 1000 + second)[2]
    assert len(memory.workers) == 66
    assert sum(map(len, memory.workers.values())) <= 64 + 2 * 8
    assert {("celery@elder", 1), ("celery@pod-999", 1), ("celery@pod-935", 1)} <= memory.workers.keys()


counts = st.integers(0, 50)
ran = st.none() | st.tuples(st.integers(0, 9), st.floats(0, 9), st.floats(0, 9))
beats = st.lists(
    st.builds(beat, counts, counts, age_s=st.floats(0, 9), host=st.sampled_from("abc"), finished=ran), max_size=3
)


@given(
    st.lists(st.tuples(counts, counts, beats, beats, st.integers(0, 2)), max_size=12), st.sampled_from(Acknowledgement)
)
def test_properties(
    rounds: list[tuple[int, int, list[WorkerBeat], list[WorkerBeat], int]], ack: Acknowledgement
) -> None:
    memory, total, before = remember(ack), 0, JobSeconds(jobs=0, seconds=0, squared=0)
    for index, (held, vanished, staying, leaving, silent) in enumerate(rounds):
        state = replicas(*staying, leaving=tuple(leaving), silent=silent)
        got, busy, memory = estimate(reading(held, vanished), state, memory, 10.0 + index)
        assert isinstance(got, InFlight)
        active = sum(b.active for b in staying)
        everywhere = active + sum(b.active for b in leaving)
        assert min(got.running, got.stranded, got.running_on_leaving) >= 0
        assert got.running >= max(active, got.running_on_leaving)
        assert (got.running + got.stranded == 0) == (held == 0 and everywhere == 0)
        assert got.running + got.stranded >= held
        assert busy is None or 0 <= busy <= len(staying) + silent
        assert (got.started_total or 0) >= total
        total = got.started_total or 0
        now = got.finished or before
        assert (now.jobs >= before.jobs, now.seconds >= before.seconds, now.squared >= before.squared) == (True,) * 3
        before = now


def test_estimate_changes_nothing_it_was_given() -> None:
    memory = play((2, 3, 0, [(1.5, 0, 0)]))
    copy = memory._replace(workers=dict(memory.workers))
    play((3, 1, 2, [(3, 5, 5)]), memory=memory)
    assert memory == copy
