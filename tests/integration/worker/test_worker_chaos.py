"""Many orders while workers are killed at random: every order ends, and nothing has happened twice."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial

import pytest

from tests.integration.worker.bench import Bench, until
from tests.support.smtp import Mailbox
from workerpool_worker.jobs.orders.stock import set_stock
from workerpool_worker.models import Order, OrderLine
from workerpool_worker.runtime.database import make_engine

pytestmark = pytest.mark.integration

ORDERS = 120


def more_than(bench: Bench, outcomes: int) -> bool:
    return len(bench.outcomes()) > outcomes


def test_orders_survive_workers_that_are_killed_at_random(bench: Bench, mailbox: Mailbox) -> None:
    engine = make_engine(f"sqlite:///{bench.folder / 'workerpool.db'}")
    set_stock(engine, "tea", ORDERS)
    engine.dispose()
    lines = (OrderLine(sku="tea", quantity=1),)
    bench.producer.send_many(
        [Order(id=f"o{number}", customer="c", email="c@example.org", lines=lines) for number in range(ORDERS)]
    )
    dice = random.Random(20)
    alive = [bench.start(SANDBOX_LATENCY_MS=50, WORKERPOOL_CONCURRENCY=2).ready() for _ in range(2)]
    for _ in range(4):
        wanted = len(bench.outcomes()) + 30
        until(partial(more_than, bench, wanted), timeout_s=40, what=bench.logs)
        alive.pop(dice.randrange(len(alive))).kill_group()
        alive.append(bench.start(SANDBOX_LATENCY_MS=50, WORKERPOOL_CONCURRENCY=2))
    until(lambda: bench.effects.orders_by_state() == {"paid": ORDERS}, timeout_s=60, what=bench.effects.orders_by_state)
    until(lambda: len(set(mailbox.ids())) == 2 * ORDERS and bench.all_done(), timeout_s=30, what=bench.logs)
    assert bench.effects.stock() == {"tea": 0}
    assert len(bench.effects.stock_movements()) == ORDERS
    assert len(bench.charges()) == ORDERS
    assert len(bench.effects.invoices()) == ORDERS
    # A mail handed over just before its worker was killed may come twice, with the same Message-ID: at most one a kill.
    doubles = sum(count - 1 for count in Counter(mailbox.ids()).values())
    assert doubles <= 8
