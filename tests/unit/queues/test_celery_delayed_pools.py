"""Delayed jobs among the others of their queue and pool: what is asked for all of them, and how it adds up."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
from hiredis import ReplyError

from workerpool_operator.core.observation import Cause, QueueDepth, Unavailable
from workerpool_operator.ports import PoolKey, PoolReading, QueueSource
from workerpool_operator.queues.celery.delayed import DUE_LIMIT
from workerpool_operator.queues.celery.held import HeldKeys
from workerpool_operator.queues.celery.message import Message
from workerpool_operator.queues.celery.plan import DELAYED_A_ROUND, Parts, Plan
from workerpool_operator.queues.celery.queue import QueueKeys, delayed_key
from workerpool_operator.queues.celery.reader import _QUESTIONS_A_ROUND
from workerpool_operator.queues.celery.routes import Routes
from workerpool_operator.queues.replies import explain, pack
from workerpool_worker.messages import keys

pytestmark = pytest.mark.unit
NOW_S = 1_800_000_000.0
DENIED = ReplyError("NOPERM User reader has no permissions to run the 'zcount' command")
WRONG = ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")

cause = partial(explain, where="redis:6379", user="reader")


def why(reply: ReplyError, command: str, key: str, type_: str) -> Unavailable:
    return cause(reply, command=command, key=key, type_=type_)


@pytest.mark.parametrize("queue", ["mail", "a:b", "workerpool:delayed:x", "ö", ""])
def test_the_name_is_that_of_the_bundled_worker(queue: str) -> None:
    # The operator does not import the worker's package, so that either can be installed alone.
    assert delayed_key(queue) == keys.delayed(queue)
    assert QueueKeys(queue, "eu:", (0, 3)).delayed.key == f"eu:{keys.delayed(queue)}"


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


def test_a_queue_at_rest_has_forgotten_what_was_wrong() -> None:
    queue = QueueKeys("mail", "", (0,))
    queue.see([WRONG, 0, None], NOW_S, why)
    assert isinstance(queue.depth(NOW_S)[0], Unavailable)
    queue.see([0, 0, None], NOW_S, why)
    assert queue.idle
    assert queue.delayed.blank
    assert queue.depth(NOW_S) == (QueueDepth(ready=0), 0, ())


@pytest.mark.parametrize("reply", [DENIED, WRONG, b"OK", 7, None])
def test_a_second_round_that_is_refused_leaves_the_first_numbers(reply: object) -> None:
    keys_, routes = HeldKeys("unacked", "unacked_index"), Routes("")
    keys_.see(2, [b"a", b"b"], why)
    asked = keys_.question()
    assert asked
    keys_.answer(asked[1], reply)
    routes.answer("media", reply)
    assert (keys_.own(NOW_S).held, keys_.question()) == (2, asked)
    assert routes.queue(Message(exchange="media", routing_key="x"), {"media"}) == "media"
    later = b'{"headers": {"eta": "2028-01-01T00:00:00+00:00"}}'
    queue = QueueKeys("mail", "", (0,))
    queue.see([0, 3, later], NOW_S, why)
    ((_, answer),) = queue.questions(NOW_S)
    answer(reply)
    depth, scheduled, _ = queue.depth(NOW_S)
    assert (depth, scheduled) == (QueueDepth(ready=2), 1)


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
