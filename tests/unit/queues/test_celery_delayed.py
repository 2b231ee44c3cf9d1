"""The set of a queue's delayed jobs: what is asked, what is made of the replies, and what happens in between."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hiredis import ReplyError
from hypothesis import given
from hypothesis import strategies as st

from workerpool_operator.core.observation import Cause, Unavailable
from workerpool_operator.queues.celery.delayed import DUE_LIMIT, REFRESH_S, DelayedSet, DelayedView
from workerpool_operator.queues.replies import explain, pack

pytestmark = pytest.mark.unit
NOW_S = 1_800_000_000.0
DENIED = ReplyError("NOPERM User reader has no permissions to run the 'zcount' command")
WRONG = ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")

cause = partial(explain, where="redis:6379", user="reader")


def why(reply: ReplyError, command: str, key: str, type_: str) -> Unavailable:
    return cause(reply, command=command, key=key, type_=type_)


class Zset:
    """What Redis would hold and answer."""

    def __init__(self, **scores: float) -> None:
        self.scores = dict(scores)
        self.asked: list[bytes] = []

    def range(self, stop: int) -> list[bytes]:
        entries = sorted((score, tag) for tag, score in self.scores.items())[: stop + 1]
        return [part for score, tag in entries for part in (tag.encode(), repr(score).encode())]

    def answer(self, command: bytes) -> Any:
        self.asked.append(command)
        name, _, *rest = command.split(b"\r\n")[2::2]
        if name == b"ZCARD":
            return len(self.scores)
        if name == b"ZCOUNT":
            return sum(score <= float(rest[1]) for score in self.scores.values())
        assert (name, rest[0]) == (b"ZRANGE", b"0")
        return self.range(int(rest[1]))


def split(commands: bytes) -> list[bytes]:
    return [b"*" + one for one in commands.split(b"*")[1:]]


def poll(
    one: DelayedSet, zset: Zset, now_s: float, between: Callable[[int], None] = lambda _: None, rounds: int = 2
) -> DelayedView:
    """One reading; ``between(n)`` happens after the n-th command."""
    zset.asked.clear()
    replies = []
    for command in split(one.commands):
        replies.append(zset.answer(command))
        between(len(zset.asked))
    one.see(replies, why)
    for _ in range(rounds):
        for command, answer in one.questions(now_s, why):
            answer(zset.answer(command))
            between(len(zset.asked))
    assert one.error is None
    return one.view(now_s)


def test_an_empty_set_costs_one_command() -> None:
    one, zset = DelayedSet("d"), Zset()
    assert poll(one, zset, NOW_S) == DelayedView()
    assert zset.asked == [pack("ZCARD", "d")]


def test_jobs_before_and_past_their_time() -> None:
    one, zset = DelayedSet("d"), Zset(a=NOW_S - 30, b=NOW_S, c=NOW_S + 1, d=NOW_S + 3600)
    expected = DelayedView(ready=2, oldest_job_s=30, scheduled=2, due_in_s=(1, 3600))
    assert poll(one, zset, NOW_S) == expected
    assert zset.asked == [pack("ZCARD", "d"), pack("ZRANGE", "d", 0, DUE_LIMIT - 1, "WITHSCORES")]
    assert poll(one, zset, NOW_S) == expected
    assert zset.asked == [pack("ZCARD", "d"), pack("ZRANGE", "d", 0, 0, "WITHSCORES")], (
        "nothing new, nothing more asked"
    )
    assert poll(one, zset, NOW_S + 2) == DelayedView(ready=3, oldest_job_s=32, scheduled=1, due_in_s=(3598,))
    assert len(zset.asked) == 2, "time alone asks nothing"


def test_what_changed_is_asked_again() -> None:
    one, zset = DelayedSet("d"), Zset(b=NOW_S + 20)
    poll(one, zset, NOW_S)
    zset.scores["a"] = NOW_S + 10
    assert poll(one, zset, NOW_S).due_in_s == (10, 20)
    del zset.scores["a"]
    zset.scores["c"] = NOW_S + 30
    assert poll(one, zset, NOW_S).due_in_s == (20, 30), "as many as before, but another is first"
    zset.scores.clear()
    assert poll(one, zset, NOW_S) == DelayedView()
    assert poll(one, zset, NOW_S) == DelayedView()
    assert zset.asked == [pack("ZCARD", "d")]


@pytest.mark.parametrize("step_s", [REFRESH_S, -REFRESH_S])
def test_a_change_in_the_middle_is_seen_after_a_while_even_if_the_clock_is_set(step_s: float) -> None:
    one, zset = DelayedSet("d"), Zset(a=NOW_S + 100, b=NOW_S + 200, c=NOW_S + 300)
    poll(one, zset, NOW_S)
    zset.scores["b"] = NOW_S + 250
    assert poll(one, zset, NOW_S + 1).due_in_s == (99, 199, 299)
    assert poll(one, zset, NOW_S + step_s).due_in_s == (100 - step_s, 250 - step_s, 300 - step_s)


def test_replies_stay_bounded_and_numbers_right() -> None:
    one = DelayedSet("d", limit=3)
    zset = Zset(**{f"t{at}": NOW_S + at for at in range(10)})
    assert poll(one, zset, NOW_S) == DelayedView(ready=1, oldest_job_s=0, scheduled=9, due_in_s=(1, 2))
    assert poll(one, zset, NOW_S + 1.5) == DelayedView(ready=2, oldest_job_s=1.5, scheduled=8, due_in_s=(0.5,))
    # All that are known one by one are past due: the rest is counted.
    assert poll(one, zset, NOW_S + 5) == DelayedView(ready=6, oldest_job_s=5, scheduled=4)
    assert zset.asked[-1] == pack("ZCOUNT", "d", "-inf", repr(NOW_S + 5))
    assert poll(one, zset, NOW_S + 9) == DelayedView(ready=10, oldest_job_s=9)
    assert all(len(zset.range(2)) == 6 for command in zset.asked if command.startswith(b"*5"))


def test_a_count_that_is_refused_is_no_number() -> None:
    one, zset = DelayedSet("d", limit=1), Zset(a=NOW_S - 2, b=NOW_S - 1)
    poll(one, zset, NOW_S, rounds=1)
    assert one.view(NOW_S).ready == 1, "known to be too few, and enough to wake a pool"
    ((_, answer),) = one.questions(NOW_S, why)
    answer(DENIED)
    assert one.error
    assert one.error.message.endswith("user reader may not run ZCOUNT: grant it with ACL SETUSER reader +zcount")
    assert one.questions(NOW_S, why) == []
    assert poll(one, zset, NOW_S).ready == 2, "granted meanwhile"


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (WRONG, Cause.WRONG_TYPE, "key d is not a sorted set"),
        (b"OK", Cause.BAD_REPLY, "the size of d is not a number"),
        (None, Cause.BAD_REPLY, "the size of d is not a number"),
        (
            ReplyError("NOPERM No permissions to access a key"),
            Cause.NO_PERMISSION,
            "grant it with ACL SETUSER reader ~d",
        ),
    ],
)
def test_what_cannot_be_read_is_unknown_at_each_step(reply: object, kind: Cause, words: str) -> None:
    one, zset = DelayedSet("d"), Zset(a=NOW_S + 5)

    def check() -> None:
        assert one.error
        assert one.error.cause is kind
        assert words in one.error.message

    one.see([reply], why)
    check()
    assert poll(one, zset, NOW_S).scheduled == 1
    one.see([1, reply] if reply is not None else [1, 7], why)
    check()
    one.see([1], why)
    ((_, answer),) = one.questions(NOW_S, why)
    answer(reply)
    check()
    assert poll(one, zset, NOW_S).scheduled == 1


@pytest.mark.parametrize("entries", [[b"a"], [b"a", b"soon"], [b"a", None], [b"a", b"nan"]])
def test_entries_that_are_none_are_unknown(entries: list[Any]) -> None:
    one = DelayedSet("d")
    one.see([1], why)
    ((_, answer),) = one.questions(NOW_S, why)
    answer(entries)
    assert one.error
    assert one.error.cause is Cause.BAD_REPLY


def test_times_without_end() -> None:
    one, zset = DelayedSet("d"), Zset(a=-math.inf, b=NOW_S + 1, c=math.inf)
    for _ in range(2):
        assert poll(one, zset, NOW_S) == DelayedView(ready=1, oldest_job_s=None, scheduled=2, due_in_s=(1,))


def test_a_job_that_goes_to_its_list_in_mid_reading_is_not_missed() -> None:
    one, zset = DelayedSet("d"), Zset(a=NOW_S - 5, b=NOW_S + 60)
    poll(one, zset, NOW_S)
    zset.scores["c"] = NOW_S + 70

    def promote(asked: int) -> None:
        if asked == 2:  # the lists have been read, the soonest not yet
            zset.scores.pop("a")

    assert poll(one, zset, NOW_S, promote) == DelayedView(ready=1, oldest_job_s=5, scheduled=2, due_in_s=(60, 70))
    assert poll(one, zset, NOW_S) == DelayedView(scheduled=2, due_in_s=(60, 70))


def test_a_set_that_is_deleted_in_mid_reading() -> None:
    for after in (1, 2, 3):
        one, zset = DelayedSet("d"), Zset(a=NOW_S - 5, b=NOW_S - 5, c=NOW_S + 60)
        poll(one, zset, NOW_S)
        zset.scores["d"] = NOW_S + 70
        view = poll(one, zset, NOW_S, lambda asked, at=after, held=zset: held.scores.clear() if asked == at else None)  # type: ignore[misc]
        assert view.ready <= 2, "no job that was not there"
        assert poll(one, zset, NOW_S) == DelayedView()


def test_between_its_two_commands_the_only_job_may_come_or_go() -> None:
    one, zset = DelayedSet("d"), Zset(a=NOW_S + 5)
    poll(one, zset, NOW_S)
    one.see([0, [b"b", b"1800000007"]], why)
    assert one.view(NOW_S) == DelayedView(scheduled=1, due_in_s=(7,))
    one.see([1, []], why)
    assert one.view(NOW_S) == DelayedView()


def test_what_is_not_answered_leaves_what_the_first_entry_says() -> None:
    one, zset = DelayedSet("d", limit=3), Zset(a=NOW_S - 5, b=NOW_S - 4, c=NOW_S + 20)
    one.see([7], why)
    assert one.view(NOW_S) == DelayedView(scheduled=7), "the next poll tells more"
    assert poll(one, zset, NOW_S).ready == 2
    one.see([5, [b"x", repr(NOW_S + 10).encode()]], why)
    assert one.view(NOW_S) == DelayedView(scheduled=5, due_in_s=(10, 20)), "those before the first are gone"
    assert poll(one, zset, NOW_S).ready == 2
    one.see([1, [b"a", repr(NOW_S - 5).encode()]], why)
    assert one.view(NOW_S) == DelayedView(ready=1, oldest_job_s=5), "no more than there are"
    assert poll(one, zset, NOW_S + 15).ready == 2
    one.see([2, [b"c", repr(NOW_S + 20).encode()]], why)
    assert one.view(NOW_S) == DelayedView(scheduled=2, due_in_s=(20,))
    for earlier in range(9):
        one.see([9, [b"y", repr(NOW_S + 9 - earlier).encode()]], why)
    assert one.view(NOW_S) == DelayedView(scheduled=9, due_in_s=(1, 2, 3)), "bounded"
    one.see([2, [b"y", repr(NOW_S + 1).encode()]], why)
    assert one.view(NOW_S).due_in_s == (1, 2)


def test_many_due_at_the_same_moment_are_counted() -> None:
    one, zset = DelayedSet("d", limit=2), Zset(a=NOW_S, b=NOW_S, c=NOW_S)
    assert poll(one, zset, NOW_S) == DelayedView(ready=3, oldest_job_s=0)


times = st.integers(-20, 20).map(lambda seconds: NOW_S + seconds)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abcdefgh"), times),
        st.tuples(st.just("promote"), st.just(""), st.just(0.0)),
        st.tuples(st.just("cancel"), st.sampled_from("abcdefgh"), st.just(0.0)),
        st.tuples(st.just("delete"), st.just(""), st.just(0.0)),
    ),
    max_size=2,
)


@given(
    st.lists(st.tuples(st.dictionaries(st.integers(0, 4), changes, max_size=3), st.integers(0, 3)), max_size=8),
    st.integers(1, 5),
)
def test_whatever_happens_between_the_commands(rounds: list[tuple[dict[int, Any], int]], limit: int) -> None:
    one, zset, now_s = DelayedSet("d", limit=limit), Zset(), NOW_S

    def apply(steps: list[tuple[str, str, float]]) -> None:
        for what, tag, score in steps:
            if what == "add":
                zset.scores[tag] = score
            elif what == "promote":
                zset.scores = {tag: score for tag, score in zset.scores.items() if score > now_s}
            elif what == "cancel":
                zset.scores.pop(tag, None)
            else:
                zset.scores.clear()

    for between, step_s in rounds:
        apply(between.get(0, []))
        view = poll(one, zset, now_s, lambda asked, steps=between: apply(steps.get(asked, [])))  # type: ignore[misc]
        assert min(view.ready, view.scheduled) >= 0
        assert view.ready + view.scheduled <= one.size + 1
        assert (view.oldest_job_s is None) == (view.ready == 0)
        assert view.oldest_job_s is None or view.oldest_job_s >= 0
        assert len(view.due_in_s) <= min(limit, view.scheduled)
        assert list(view.due_in_s) == sorted(view.due_in_s)
        assert all(due_in_s > 0 for due_in_s in view.due_in_s)
        now_s += step_s
    # Left alone, the numbers are exact: at once, but for a swap in the middle.
    poll(one, zset, now_s)
    now_s += REFRESH_S
    scores = sorted(zset.scores.values())
    due = bisect_right(scores, now_s)
    later = tuple(score - now_s for score in scores[due:limit])
    oldest_s = now_s - scores[0] if due else None
    assert poll(one, zset, now_s) == DelayedView(due, oldest_s, len(scores) - due, later)
