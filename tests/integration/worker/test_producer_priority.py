"""Priorities within a queue, and times, by a real worker."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.worker.bench import Bench, until
from tests.support.smtp import Mailbox
from workerpool_worker.models import Order, OrderLine, Payment
from workerpool_worker.runtime.database import make_engine

pytestmark = pytest.mark.integration


def payment(id_: str) -> Payment:
    return Payment(id=id_, amount_minor=500)


def test_a_job_of_priority_0_overtakes_a_thousand_of_priority_9(bench: Bench) -> None:
    bench.producer.send_many((payment(f"slow-{number}") for number in range(1_000)), priority=9)
    bench.start().ready()
    until(lambda: len(bench.charges()) >= 3, what=bench.logs)
    bench.producer.send(payment("urgent"), priority=0)
    until(lambda: "urgent" in bench.charges(), what=bench.logs)
    before = bench.charges().index("urgent")
    left: Any = bench.redis.llen("payment\x06\x169")
    # One that ran already, and one that was fetched already.
    assert before < 500, f"{before} jobs came first"
    assert left > 400


def test_priorities_come_in_their_order(bench: Bench) -> None:
    for priority in (9, 6, 3, 0):
        bench.producer.send_many((payment(f"{priority}-{number}") for number in range(3)), priority=priority)
    bench.start().ready()
    until(lambda: len(bench.charges()) == 12 and bench.all_done(), what=bench.logs)
    assert bench.charges() == [f"{priority}-{number}" for priority in (0, 3, 6, 9) for number in range(3)]


def test_a_job_with_a_time_runs_then_and_not_before(bench: Bench) -> None:
    bench.start().ready()
    due_at = datetime.now(UTC) + timedelta(seconds=3)
    bench.producer.send(payment("later"), due_at=due_at)
    bench.producer.send(payment("now"))
    until(lambda: bench.charges() == ["now"], timeout_s=2.5, what=bench.logs)
    until(lambda: bench.charges() == ["now", "later"], what=bench.logs)
    times = {time_.key: time_.begun_at for time_ in bench.effects.effect_times()}
    assert 0 <= times["payment:later"] - due_at.timestamp() < 5
    assert time.time() > due_at.timestamp()


def test_follow_up_jobs_belong_to_what_their_job_belongs_to(bench: Bench, mailbox: Mailbox) -> None:
    from workerpool_worker.jobs.orders.stock import set_stock  # noqa: PLC0415 - brings the shop's tables

    engine = make_engine(f"sqlite:///{bench.folder / 'workerpool.db'}")
    set_stock(engine, "tea", 10)
    engine.dispose()
    worker = bench.start(WORKERPOOL_QUEUES="order").ready()
    order = Order(id="o1", customer="Ada", email="a@x.org", lines=(OrderLine(sku="tea", quantity=1),))
    bench.producer.send(order, correlation_id="request-7")
    until(lambda: bench.waiting() == 2, what=bench.logs)
    (charge,), (confirmation,) = bench.headers("payment"), bench.headers("email")
    assert (charge["correlation_id"], confirmation["correlation_id"]) == ("request-7", "request-7")
    until(lambda: worker.outcomes() == [("order-o1", "reserved")], what=bench.logs)
