"""When a cordoned replica is idle for sure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerpool_operator.ports import WorkerBeat
from workerpool_operator.queues.cordon import FRESH_S, PROVEN_S, Cordon, Stage

pytestmark = pytest.mark.unit
ONE, TWO = "celery@one", "celery@two"
MAIL = frozenset({"mail"})
NONE: frozenset[str] = frozenset()


def beat(active: int, processed: int, *, worker: str = ONE, pid: int = 1) -> WorkerBeat:
    return WorkerBeat(hostname=worker, pid=pid, active=active, processed=processed, age_s=0.0)


def cordoned(*workers: str, at_s: float = 0.0) -> Cordon:
    cordon = Cordon(queues={})
    cordon.again(dict.fromkeys(workers or (ONE,), MAIL), at_s)
    return cordon


def test_two_heartbeats_alike_prove_it_the_later_after_the_worker_confirmed() -> None:
    cordon = cordoned()
    cordon.hear([beat(0, 5)], 9.0)
    cordon.hear([beat(0, 5)], 11.0)
    assert not cordon.idle(11.0), "it has not said that it takes no more"
    cordon.said({ONE: NONE}, 12.0)
    assert not cordon.idle(12.0), "the heartbeats were before that"
    cordon.hear([beat(0, 5)], 12.3)
    assert not cordon.idle(12.3), "too close: a job on its way to a child is not counted"
    cordon.hear([beat(0, 5)], 14.3)
    assert cordon.idle(14.3)
    assert not cordon.idle(14.4 + FRESH_S), "it has not been heard of since"


def test_a_worker_that_takes_from_no_queue_and_has_no_job_in_hand_is_idle_at_once() -> None:
    cordon = cordoned()
    cordon.hear([beat(0, 5)], 9.0)
    cordon.has({ONE: 0}, 9.5)
    assert not cordon.idle(9.5), "it has not said that it takes no more"
    cordon.said({ONE: NONE}, 10.0)
    assert not cordon.idle(10.0), "it was asked before that"
    cordon.has({ONE: 1}, 10.1)
    assert not cordon.idle(10.1)
    cordon.has({}, 10.2)
    assert not cordon.idle(10.2)
    cordon.has({ONE: 0}, 10.3)
    assert cordon.idle(10.3)
    assert not cordon.idle(10.4 + PROVEN_S), "it may have made its connection anew"


@pytest.mark.parametrize("change", ["job", "queue", "back", "again"])
def test_an_answer_proves_nothing_of_what_comes_after_it(change: str) -> None:
    cordon = cordoned()
    cordon.hear([beat(0, 5)], 9.0)
    cordon.said({ONE: NONE}, 10.0)
    cordon.has({ONE: 0}, 10.1)
    assert cordon.idle(10.1)
    if change == "job":
        cordon.hear([beat(1, 6)], 10.2)
    elif change == "queue":
        cordon.said({ONE: MAIL}, 10.2)
    elif change == "back":
        cordon.give_back(10.2)
    else:
        cordon.again({ONE: MAIL}, 10.2)
    assert not cordon.idle(10.2)
    cordon.said({ONE: NONE}, 10.3)
    assert not cordon.idle(10.3)


def test_all_workers_of_a_replica_have_to_say_so() -> None:
    cordon = cordoned(ONE, TWO)
    cordon.hear([beat(0, 5), beat(0, 1, worker=TWO)], 1.0)
    cordon.said({ONE: NONE, TWO: NONE}, 2.0)
    cordon.has({ONE: 0}, 2.1)
    assert not cordon.idle(2.1)
    cordon.has({ONE: 0, TWO: 1}, 2.2)
    assert not cordon.idle(2.2)
    cordon.has({TWO: 0}, 2.3)
    assert cordon.idle(2.3)
    third = beat(0, 7, worker="celery@three")
    cordon.hear([third], 2.4)
    assert not cordon.idle(2.4), "one that was not told is there as well"


def test_one_says_so_and_the_other_is_known_by_its_heartbeats() -> None:
    cordon = cordoned(ONE, TWO)
    cordon.said({ONE: NONE, TWO: NONE}, 1.0)
    for at_s in (2.0, 4.0):
        cordon.hear([beat(0, 5)], at_s)
    cordon.hear([beat(0, 1, worker=TWO)], 4.0)
    assert not cordon.idle(4.0)
    cordon.has({TWO: 0}, 4.1)
    assert cordon.idle(4.1)


def test_worth_asking_is_one_whose_last_heartbeats_have_no_job() -> None:
    cordon = cordoned(ONE, TWO)
    cordon.hear([beat(0, 5)], 1.0)
    assert not cordon.looks_idle(1.0), "the other was never heard of"
    cordon.hear([beat(1, 5, worker=TWO)], 1.0)
    assert not cordon.looks_idle(1.0)
    cordon.hear([beat(0, 5, worker=TWO)], 3.0)
    assert cordon.looks_idle(3.0)
    assert not cordon.looks_idle(1.1 + FRESH_S), "one has not been heard of since"
    cordon.give_back(3.0)
    assert not cordon.looks_idle(3.0)


def test_one_heartbeat_between_two_jobs_proves_nothing() -> None:
    cordon = cordoned()
    cordon.said({ONE: NONE}, 1.0)
    cordon.hear([beat(1, 5)], 2.0)
    assert cordon.busy(2.0)
    cordon.hear([beat(0, 5)], 4.0)
    assert not cordon.idle(4.0)
    cordon.hear([beat(0, 6)], 6.0)  # the next one that it had fetched came and went
    assert not cordon.idle(6.0)
    cordon.hear([beat(0, 6)], 8.0)
    assert cordon.idle(8.0)


def test_a_heartbeat_seen_twice_is_one() -> None:
    cordon = cordoned()
    cordon.said({ONE: NONE}, 1.0)
    cordon.hear([beat(0, 5)], 3.0)
    seen_again = WorkerBeat(hostname=ONE, pid=1, active=0, processed=5, age_s=1.0)
    cordon.hear([seen_again], 4.0)
    assert not cordon.idle(4.0)


def test_all_workers_of_a_replica_have_to_be_idle() -> None:
    cordon = cordoned(ONE, TWO)
    assert cordon.said({ONE: NONE}, 1.0) == {}
    assert cordon.confirmed_s is None, "the other has not answered"
    cordon.said({ONE: NONE, TWO: NONE}, 2.0)
    for at_s in (3.0, 5.0):
        cordon.hear([beat(0, 5)], at_s)
    assert not cordon.idle(5.0), "the other was never heard of"
    cordon.hear([beat(0, 5), beat(1, 1, worker=TWO)], 6.0)
    assert not cordon.idle(6.0)
    for at_s in (7.0, 9.0):
        cordon.hear([beat(0, 5), beat(0, 1, worker=TWO)], at_s)
    assert cordon.idle(9.0)


def test_a_worker_that_takes_jobs_again_is_told_and_proves_anew() -> None:
    cordon = cordoned()
    cordon.said({ONE: NONE}, 1.0)
    for at_s in (2.0, 4.0):
        cordon.hear([beat(0, 5)], at_s)
    assert cordon.idle(4.0)
    sms = frozenset({"sms"})
    assert cordon.said({ONE: sms}, 5.0) == {ONE: sms}
    assert not cordon.idle(5.0)
    assert cordon.queues == {ONE: MAIL | sms}, "all of it is given back"
    cordon.said({ONE: NONE}, 6.0)
    cordon.hear([beat(0, 5)], 6.4)
    assert not cordon.idle(6.4)
    cordon.hear([beat(0, 5)], 8.4)
    assert cordon.idle(8.4)


def test_the_process_that_follows_a_dead_one_speaks_for_it() -> None:
    cordon = cordoned()
    cordon.said({ONE: NONE}, 1.0)
    cordon.hear([beat(1, 5, pid=1)], 2.0)
    for at_s in (7.0, 9.0):
        cordon.hear([beat(0, 0, pid=2)], at_s)
    assert cordon.idle(9.0)


def test_given_back_until_it_says_so() -> None:
    cordon = cordoned()
    cordon.said({ONE: NONE}, 1.0)
    cordon.give_back(2.0)
    assert not cordon.idle(2.0)
    assert cordon.said({}, 3.0) == {}
    assert cordon.said({ONE: NONE}, 4.0) == {ONE: MAIL}
    assert cordon.stage.value == "Returning"
    assert cordon.said({ONE: MAIL | {"sms"}}, 5.0) == {}
    assert cordon.stage is Stage.RETURNED


def test_cordoned_again_while_it_is_given_back() -> None:
    cordon = cordoned()
    cordon.said({ONE: NONE}, 1.0)
    cordon.give_back(2.0)
    cordon.again({ONE: NONE}, 3.0)
    assert (cordon.stage, cordon.queues) == (Stage.CORDONED, {ONE: MAIL}), "what it took before is not forgotten"


Life = list[tuple[float, bool]]
"""Seconds until the next heartbeat, and whether a job runs then."""


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.2, 5.0), st.booleans()), max_size=30), st.integers(0, 20))
def test_never_idle_while_it_is_busy(life: Life, confirmed_at: int) -> None:
    cordon, now_s, started = cordoned(), 0.0, 0
    running = False
    for number, (pause_s, job) in enumerate(life):
        now_s += pause_s
        started += job and not running
        running = job
        if number == confirmed_at:
            cordon.said({ONE: NONE}, now_s)
        cordon.hear([beat(int(running), started)], now_s)
        if cordon.idle(now_s):
            assert not running
            assert number > confirmed_at or pause_s == 0
