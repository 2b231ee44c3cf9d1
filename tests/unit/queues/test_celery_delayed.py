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

from workerpool_operator.core.observation import Cause, QueueDepth, Unavailable
from workerpool_operator.ports import PoolKey, PoolReading, QueueSource
from workerpool_operator.queues.celery.delayed import DUE_LIMIT, REFRESH_S, DelayedSet, DelayedView
from workerpool_operator.queues.celery.plan import DELAYED_A_ROUND, Parts, Plan
from workerpool_operator.queues.celery.queue import QueueKeys, delayed_key
from workerpool_operator.queues.celery.reader import _QUESTIONS_A_ROUND
from workerpool_operator.queues.replies import explain, pack
from workerpool_worker.messages import keys

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


@pytest.mark.parametrize("queue", ["mail", "a:b", "workerpool:delayed:x", "ö", ""])
def test_the_name_is_that_of_the_bundled_worker(queue: str) -> None:
    # The operator does not import the worker's package, so that either can be installed alone.
    assert delayed_key(queue) == keys.delayed(queue)
    assert QueueKeys(queue, "eu:", (0, 3)).delayed.key == f"eu:{keys.delayed(queue)}"


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


def source(name: str, *queues: str) -> QueueSource:
    return QueueSource(key=PoolKey(namespace="shop", name=name), queues=queues, priorities=(0,))


def reading(plan: Plan, now_s: float = NOW_S) -> PoolReading:
    (found,) = plan.readings(now_s).values()
    assert isinstance(found, PoolReading)
    return found


def test_a_pool_with_delayed_jobs_only_is_not_at_rest() -> None:
    plan = Plan([source("mail", "mail", "bulk")], Parts())
    idle: list[Any] = [0, 0, None, 0, 0, None, 0, [], 0, []]
    rest = plan.pools[0].resting
    plan.see(idle, NOW_S, why)
    assert reading(plan) is rest
    assert (plan.count, plan.questions(NOW_S, why)) == (10, [])
    before = plan.commands
    plan.see([2, *idle[1:]], NOW_S, why)
    ((command, answer),) = plan.questions(NOW_S, why)
    assert command == pack("ZRANGE", "workerpool:delayed:mail", 0, DUE_LIMIT - 1, "WITHSCORES")
    answer([b"a", b"1799999990", b"b", b"1800000002"])
    expected = PoolReading(
        queues={"mail": QueueDepth(ready=1, oldest_job_s=10), "bulk": QueueDepth(ready=0)},
        held=0,
        scheduled=1,
        due_in_s=(2,),
    )
    assert reading(plan) == expected
    assert plan.commands != before
    assert (plan.commands.count(b"*"), plan.count) == (11, 11)
    plan.see([2, [b"a", b"1799999990"], *idle[1:]], NOW_S, why)
    assert (reading(plan), plan.questions(NOW_S, why)) == (expected, [])
    assert plan.commands.count(b"*") == 11
    plan.see([0, [], *idle[1:]], NOW_S, why)
    assert reading(plan) == rest
    assert (plan.commands, plan.count) == (before, 10)
    plan.see(idle, NOW_S, why)
    assert reading(plan) is rest


def test_delayed_and_waiting_jobs_add_up() -> None:
    plan = Plan([source("mail", "mail")], Parts())
    waiting = b'{"headers": {"id": "x", "enqueued_at": 1799999970}}'
    for age_s, oldest_s in ((10, 30), (50, 50)):
        due_s = str(int(NOW_S) - age_s).encode()
        plan.see([1, 3, waiting, 0, [], 0, []] if plan.count == 7 else [1, [b"a", due_s], 3, waiting, 0, [], 0, []],
                 NOW_S, why)  # fmt: skip
        for _, answer in plan.questions(NOW_S, why):
            answer([b"a", due_s])
        assert reading(plan).queues == {"mail": QueueDepth(ready=4, oldest_job_s=oldest_s)}
        assert plan.commands


def test_an_unreadable_set_makes_its_queue_unknown_and_nothing_else() -> None:
    plan = Plan([source("mail", "mail", "bulk")], Parts())
    plan.see([WRONG, 5, b"{}", 0, 1, b"{}", 0, [], 0, []], NOW_S, why)
    found = reading(plan)
    assert found.queues["mail"] == Unavailable(
        cause=Cause.WRONG_TYPE,
        message="redis:6379: key workerpool:delayed:mail is not a sorted set: something else uses this name",
    )
    assert (found.queues["bulk"], found.held) == (QueueDepth(ready=1, oldest_job_s=0), 0)


def test_who_waited_longest_is_asked_first() -> None:
    count = 3 * _QUESTIONS_A_ROUND
    plan = Plan([source("mail", *(f"q{at}" for at in range(count)))], Parts())
    plan.see([1, 0, None] * count + [0, [], 0, []], NOW_S, why)
    assert plan.commands
    left = set(range(count))
    for second in range(3):
        for _, answer in plan.questions(NOW_S + second, why)[:_QUESTIONS_A_ROUND]:
            answer([b"a", b"1800000060"])
        left = {at for at, queue in enumerate(plan.queues) if queue.delayed.asked_s == -math.inf}
        # Each of them changed since.
        plan.see([2 + second, [b"a", b"1800000060"], 0, None] * count + [0, [], 0, []], NOW_S + second, why)
    assert not left


def test_a_round_is_bounded_by_what_it_brings() -> None:
    count = 2 * DELAYED_A_ROUND // DUE_LIMIT
    plan = Plan([source("mail", *(f"q{at}" for at in range(count + 1)))], Parts())
    plan.see([100_000, 0, None] * count + [1, 0, None] + [0, [], 0, []], NOW_S, why)
    seen = []
    for second in range(3):
        asked = plan.questions(NOW_S + second / 10, why)
        seen.append(len(asked))
        for _, answer in asked:
            answer([b"a", b"1800000060"] * DUE_LIMIT)
    assert seen == [count // 2, count // 2, 1]
    assert plan.questions(NOW_S + 1, why) == []


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
