"""The script that fetches: what it records is what kombu would have, and a full worker gives back what it popped."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tests.integration.worker.bench import Bench, until
from tests.support.smtp import Mailbox
from workerpool_worker.models import Email, Payment
from workerpool_worker.parent.fetch import FETCH

pytestmark = pytest.mark.integration


def fetch(bench: Bench, *queues: str) -> object:
    """What the script answers: the list and the message, and the tag of one that was taken."""
    found: Any = bench.redis.eval(FETCH, 2 + len(queues), "index", "unacked", *queues, "123.5", *queues)
    return found


def test_popping_and_recording_are_one_step(bench: Bench) -> None:
    bench.producer.payment(Payment(id="p1", amount_minor=500, customer="Ünï"))
    before: object = bench.redis.lindex("payment", -1)
    found: Any = fetch(bench, "email", "payment")
    assert found[:2] == ["payment", before]
    index: Any = bench.redis.zrange("index", 0, -1, withscores=True)
    ((tag, score),) = index
    assert found[2] == tag
    recorded: object = bench.redis.hget("unacked", tag)
    assert recorded == f'[{before}, "", "payment"]'
    assert json.loads(str(recorded))[0]["properties"]["delivery_tag"] == tag
    assert (score, bench.redis.llen("payment")) == (123.5, 0)
    assert fetch(bench, "email", "payment") is None


def test_the_first_list_wins_and_within_it_the_oldest(bench: Bench) -> None:
    for number in range(2):
        bench.producer.payment(Payment(id=f"p{number}", amount_minor=500))
    bench.producer.email(Email(id="m", to="a@b.c", subject="s", text="t"))
    found = [str(fetch(bench, "payment", "email")) for _ in range(3)]
    assert [name in text for name, text in zip(("payment-p0", "payment-p1", "email-m"), found, strict=True)] == [
        True
    ] * 3


@pytest.mark.parametrize("odd", ["nonsense", "[]", "{}", '{"properties": {}}', '{"properties": {"delivery_tag": 5}}'])
def test_what_cannot_be_read_is_only_shown(bench: Bench, odd: str) -> None:
    bench.redis.lpush("email", odd)
    assert fetch(bench, "email") == ["email", odd]
    assert bench.redis.llen("email") == 1
    assert not bench.redis.exists("index", "unacked")


def test_a_job_popped_while_the_only_slot_is_taken_goes_to_another_worker(bench: Bench, mailbox: Mailbox) -> None:
    # The job whose time comes takes the slot; what arrives then must not wait behind it.
    mailbox.answers["later@example.org"] = "451 not now"
    slow = bench.start(SANDBOX_LATENCY_MS=8_000, WORKERPOOL_QUEUES="payment,email", WORKERPOOL_RETRY_BASE_MS=1).ready()
    bench.celery.send_task(
        "payment.process", kwargs=Payment(id="p1", amount_minor=5).arguments(), queue="payment", countdown=0.6
    )
    until(lambda: bench.unacked() == 1, what=bench.logs)
    until(lambda: bench.effects.effects_by_state() == {"claimed": 1}, what=bench.logs)
    bench.producer.email(Email(id="m", to="a@example.org", subject="s", text="t"))
    bench.start(WORKERPOOL_QUEUES="email").ready()
    until(lambda: mailbox.ids() == ["email-m"], timeout_s=5, what=bench.logs)
    assert slow.outcomes() == []


def test_a_redis_out_of_memory_keeps_the_job_where_it_is(bench: Bench) -> None:
    bench.producer.payment(Payment(id="p1", amount_minor=500))
    bench.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(ResponseError, match="maxmemory"):
            fetch(bench, "payment")
        assert bench.redis.llen("payment") == 1
    finally:
        bench.redis.config_set("maxmemory", 0)


def test_priorities_and_several_queues_are_all_served(bench: Bench, mailbox: Mailbox) -> None:
    for priority in (0, 3, 6, 9):
        message = Email(id=f"m{priority}", to="a@example.org", subject="s", text="t")
        bench.celery.send_task(message.task, kwargs=message.arguments(), queue="email", priority=priority)
    bench.producer.send_many([Payment(id=f"p{number}", amount_minor=500) for number in range(4)])
    bench.start().ready()
    until(lambda: len(mailbox.mails) == 4 and len(bench.charges()) == 4, what=bench.logs)
    assert [str(mail["X-Business-Id"]) for mail in mailbox.mails] == ["m0", "m3", "m6", "m9"]
