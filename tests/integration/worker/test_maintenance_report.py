from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.worker.maintenance_world import HOUR_S, World, world
from workerpool_worker.jobs.maintenance.figures import Day
from workerpool_worker.jobs.maintenance.messages import Report
from workerpool_worker.jobs.maintenance.report import report
from workerpool_worker.jobs.orders.tables import orders
from workerpool_worker.jobs.payments.books import provider_charges, provider_refunds
from workerpool_worker.messages import delayed
from workerpool_worker.models import Email
from workerpool_worker.runtime.errors import PermanentError, TransientError
from workerpool_worker.schedules.cron import time_zone
from workerpool_worker.store.jobs import ended
from workerpool_worker.store.records import Ending, Try

__all__ = ["world"]

pytestmark = pytest.mark.integration

ROME = "Europe/Rome"
DAY = dt.date(2026, 10, 25)  # clocks go back: it has 25 hours
FIRST = Day.of(DAY, time_zone(ROME)).begins_s


def run(world: World, **environ: str) -> dict[str, Any]:
    ours = {"REPORT_EMAIL": "ops@example.org", "WORKERPOOL_CRON_TIME_ZONE": ROME}
    return dict(report(world.context(**(ours | environ)), Report(id="report-1", day=DAY)))


def mail(world: World) -> Email:
    (job,) = world.published
    world.published.clear()
    assert isinstance(job, Email)
    return job


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@dataclass
class Shop:
    world: World

    def job(self, job_id: str, state: Any, at_s: float, queue: str = "payment") -> None:
        this = Try(job_id=job_id, task="t", queue=queue, attempt=1, enqueued_at=at_s)
        ended(self.world.engine, this, Ending(state=state, at=at_s))

    def order(self, order_id: str, at_s: float, state: str = "paid", currency: str = "EUR") -> None:
        self.world.execute(
            orders.insert().values(
                id=order_id, state=state, customer="Ada", email="a@example.org", currency=currency, total_minor=1_050,
                created_at=at_s, updated_at=at_s,
            )
        )  # fmt: skip

    def charge(self, payment_id: str, at_s: float, currency: str = "EUR", amount: int = 1_050) -> None:
        self.world.execute(
            provider_charges.insert().values(
                payment_id=payment_id, provider="sandbox", status="succeeded", amount_minor=amount,
                currency=currency, customer="Ada", created_at=at_s, updated_at=at_s,
            )
        )  # fmt: skip

    def refund(self, refund_id: str, payment_id: str, at_s: float) -> None:
        self.world.execute(
            provider_refunds.insert().values(
                refund_id=refund_id, payment_id=payment_id, provider="sandbox", status="succeeded", amount_minor=50,
                created_at=at_s,
            )
        )  # fmt: skip


def test_the_figures_of_a_day(world: World) -> None:
    shop = Shop(world)
    last = FIRST + 25 * HOUR_S - 1
    for number, at_s in enumerate((FIRST - 1, FIRST, last, last + 1)):
        shop.job(f"j{number}", "completed", at_s)
        shop.order(f"o{number}", at_s)
    shop.job("bad", "failed", FIRST + 1, queue="email")
    shop.order("short", FIRST, state="out_of_stock")
    shop.charge("p1", FIRST)
    shop.charge("p2", last)
    shop.charge("p3", FIRST, currency="JPY", amount=1_200)
    shop.charge("before", FIRST - 1)
    shop.refund("r1", "before", FIRST + 5)
    world.bury("bad", died_at=FIRST + 1)
    world.bury("worse", died_at=FIRST - 1)
    world.client.lpush("email", world.message("waits"))
    delayed.add(world.client, "email", tag="t", list_key="email", message=world.message("x"), due_s=world.now_s + 60)
    assert run(world) == {"outcome": "reported", "day": "2026-10-25", "repeated": False}
    made = mail(world)
    assert (made.id, made.to, made.queue) == ("report-2026-10-25", "ops@example.org", "email")
    assert made.subject == "2026-10-25: 2 jobs completed, 1 failed"
    assert lines(made.text) == [
        "Report of 2026-10-25 (Europe/Rome)",
        "Jobs that ended", "email failed 1", "payment completed 2",
        "Orders", "out_of_stock 1 10.50 EUR", "paid 2 21.00 EUR",
        "Charges", "succeeded 2 21.00 EUR", "succeeded 1 1,200 JPY",
        "Refunds", "succeeded 1 0.50 EUR",
        "Dead letters, now", "email 2, 1 of that day",
        "Waiting, now", "email 1, the oldest for 120 min; 1 delayed",
    ]  # fmt: skip
    assert made.html is not None
    for text in ("21.00 EUR", "1,200 JPY", "the oldest for 120 min", "<!doctype html>"):
        assert text in made.html


def test_a_day_without_anything(world: World) -> None:
    run(world)
    assert lines(mail(world).text).count("none") == 6


def test_a_day_is_told_of_once_whatever_changes_meanwhile(world: World) -> None:
    run(world)
    first = mail(world)
    Shop(world).order("late", FIRST + 1)
    assert run(world, REPORT_EMAIL="other@example.org")["repeated"] is True
    # The same mail to the letter: a mail of the same id and another text would be refused as a mistake.
    assert mail(world) == first


def test_without_a_day_it_is_yesterday_by_the_clocks_of_the_zone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # 23:30 UTC on the 25th is the 26th in Rome.
    now_s = dt.datetime(2026, 10, 25, 23, 30, tzinfo=dt.UTC).timestamp()
    monkeypatch.setattr("workerpool_worker.jobs.maintenance.report.time.time", lambda: now_s)
    settings = {"REPORT_EMAIL": "ops@example.org", "WORKERPOOL_CRON_TIME_ZONE": ROME}
    assert report(world.context(**settings), Report(id="x"))["day"] == "2026-10-25"
    assert report(world.context(REPORT_EMAIL="ops@example.org"), Report(id="x"))["day"] == "2026-10-24"


def test_nobody_to_report_to(world: World) -> None:
    with pytest.raises(PermanentError, match="REPORT_EMAIL is not set"):
        run(world, REPORT_EMAIL="")
    assert world.published == []


def test_without_redis_it_is_tried_again(world: World) -> None:
    with pytest.raises(TransientError, match="Redis: "):
        run(world, WORKERPOOL_BROKER_URL="redis://127.0.0.1:9/0")
    assert run(world)["repeated"] is False
