"""Workers that die, and what becomes of what they were at."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import pytest

from tests.integration.worker.bench import Bench, Worker, until
from tests.support.smtp import Mailbox
from workerpool_operator.local.redis_server import RedisServer
from workerpool_worker.models import Email, Payment

pytestmark = pytest.mark.integration


def charge(number: int = 1) -> Payment:
    return Payment(id=f"p{number}", amount_minor=1_000)


def hold(bench: Bench) -> Worker:
    """A worker in the middle of a long charge, its lease written with the job's tag or not yet."""
    worker = bench.start(SANDBOX_LATENCY_MS=60_000).ready()
    bench.producer.payment(charge())
    until(lambda: bench.unacked() == 1, what=bench.logs)
    return worker


def test_another_worker_takes_over_within_ten_seconds(bench: Bench) -> None:
    dying = hold(bench)
    bench.start(SANDBOX_LATENCY_MS=0).ready()
    dying.kill_group()
    took_s = until(lambda: bench.charges() == ["p1"], timeout_s=12, what=bench.logs)
    assert took_s < 10.5
    until(bench.all_done)
    assert bench.outcomes() == [("payment-p1", "succeeded")]


def test_a_dead_worker_whose_lease_names_the_job_is_replaced_when_the_lease_ends(bench: Bench) -> None:
    dying = hold(bench)
    until(lambda: any(lease["tags"] for lease in bench.holders().values()))
    bench.start(SANDBOX_LATENCY_MS=0).ready()
    dying.kill_group()
    took_s = until(lambda: bench.charges() == ["p1"], timeout_s=12, what=bench.logs)
    assert took_s < 8.5
    until(lambda: len(bench.holders()) == 1)


def test_a_new_worker_starts_at_once_on_what_the_last_one_left_long_ago(bench: Bench) -> None:
    hold(bench).kill_group()
    lease = next(iter(bench.holders().values()))
    until(lambda: time.time() > lease["expires"])
    began = time.monotonic()
    bench.start(SANDBOX_LATENCY_MS=0)
    until(lambda: bench.charges() == ["p1"], what=bench.logs)
    assert time.monotonic() - began < 4


def test_a_job_longer_than_a_lease_is_left_to_its_living_worker(bench: Bench) -> None:
    bench.start(SANDBOX_LATENCY_MS=9_000).ready()
    bench.producer.payment(charge())
    until(lambda: bench.unacked() == 1)
    bench.start(SANDBOX_LATENCY_MS=0).ready()
    until(lambda: bench.charges() == ["p1"], what=bench.logs)
    until(bench.all_done)
    assert bench.outcomes() == [("payment-p1", "succeeded")]
    assert "restored" not in bench.logs()


def test_many_workers_recovering_at_once_double_nothing(bench: Bench) -> None:
    dying = bench.start(SANDBOX_LATENCY_MS=60_000, WORKERPOOL_CONCURRENCY=4).ready()
    bench.producer.send_many([charge(number) for number in range(4)])
    until(lambda: bench.unacked() == 4, what=bench.logs)
    for _ in range(3):
        bench.start(SANDBOX_LATENCY_MS=0).ready()
    dying.kill_group()
    until(lambda: len(bench.charges()) == 4 and bench.all_done(), timeout_s=15, what=bench.logs)
    assert sorted(bench.outcomes()) == [(f"payment-p{number}", "succeeded") for number in range(4)]
    assert bench.logs().count("restored a job") == 4


def test_a_redis_restart_in_mid_job_loses_nothing_and_charges_once(
    make_redis: Callable[..., RedisServer], bench_on: Callable[[RedisServer], Bench]
) -> None:
    server = make_redis(append_fsync="always")
    bench = bench_on(server)
    bench.start(SANDBOX_LATENCY_MS=3_000).ready()
    bench.producer.payment(charge())
    until(lambda: bench.unacked() == 1)
    server.stop()
    server.start()
    back = time.monotonic()
    until(lambda: bench.charges() == ["p1"] and bench.all_done(), timeout_s=25, what=bench.logs)
    assert bench.outcomes()[-1] == ("payment-p1", "succeeded")
    # A job sent now is fetched right away: the worker is connected and its slot is free.
    assert time.monotonic() - back < 15
    bench.producer.payment(charge(2))
    until(lambda: len(bench.charges()) == 2, timeout_s=6, what=bench.logs)


def test_a_worker_is_back_within_two_seconds_of_redis(
    make_redis: Callable[..., RedisServer], bench_on: Callable[[RedisServer], Bench]
) -> None:
    server = make_redis(append_fsync="always")
    bench = bench_on(server)
    worker = bench.start().ready()
    server.stop()
    until(lambda: worker.said("cannot reach the broker"), what=bench.logs)
    bench_down = time.monotonic()
    until(lambda: time.monotonic() - bench_down > 2)
    server.start()
    bench.producer.payment(charge())
    took_s = until(lambda: bench.charges() == ["p1"], what=bench.logs)
    assert took_s < 2


def test_a_killed_child_costs_a_try_and_the_next_one_takes_its_claim_over(bench: Bench) -> None:
    worker = bench.start(SANDBOX_LATENCY_MS=4_000).ready()
    bench.producer.payment(charge())
    until(lambda: bench.effects.effects_by_state().get("claimed") == 1, what=bench.logs)
    for child in psutil.Process(worker.process.pid).children():
        child.kill()
    took_s = until(lambda: bench.charges() == ["p1"], timeout_s=15, what=bench.logs)
    assert took_s < 10
    until(bench.all_done)
    assert sorted(bench.outcomes()) == [("payment-p1", "cut_off"), ("payment-p1", "succeeded")]


def test_without_a_pool_celerys_own_keys_are_used(bench: Bench) -> None:
    bench.start(WORKERPOOL_POOL="", SANDBOX_LATENCY_MS=2_000).ready()
    bench.producer.payment(charge())
    until(lambda: bench.redis.hlen("unacked") == 1, what=bench.logs)
    until(lambda: bench.charges() == ["p1"] and bench.redis.hlen("unacked") == 0, what=bench.logs)
    assert not bench.holders()


def test_a_mail_whose_worker_was_killed_in_the_middle_is_sent_once_and_within_the_minute(
    bench: Bench, mailbox: Mailbox
) -> None:
    """The next try leaves the claim alone for half a minute, however short the back-off, and then takes it over."""
    mailbox.stall_s = 5
    worker = bench.start(WORKERPOOL_QUEUES="email").ready()
    bench.producer.email(Email(id="m1", to="ada@example.org", subject="Hello", text="Hello."))
    until(lambda: bench.effects.effects_by_state() == {"claimed": 1}, what=bench.logs)
    worker.kill_group()
    mailbox.stall_s = 0
    second = bench.start(WORKERPOOL_QUEUES="email").ready()
    until(lambda: mailbox.ids() == ["email-m1"], timeout_s=60, what=bench.logs)
    until(bench.all_done, what=bench.logs)
    *waited, last = [outcome for _job, outcome in second.outcomes()]
    assert (set(waited), last) == ({"deferred"}, "sent")
    assert mailbox.ids() == ["email-m1"]
