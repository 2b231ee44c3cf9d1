"""A shop whose payments go to the fakes: its database, its jobs, and what they published."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.providers import fake_paystack, fake_stripe
from workerpool_worker.jobs.orders.process import process_order
from workerpool_worker.jobs.orders.stock import read_stock, set_stock
from workerpool_worker.jobs.orders.tables import orders
from workerpool_worker.jobs.payments.books import provider_charges
from workerpool_worker.jobs.payments.process import process_payment, process_refund, process_verify
from workerpool_worker.models import Job, Order, OrderLine, Payment, PaymentReceiptEmail, Refund, Verify
from workerpool_worker.runtime.context import JobContext
from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.settings import load_settings


@dataclass
class Shop:
    engine: sa.Engine
    stripe: fake_stripe.FakeStripe
    paystack: fake_paystack.FakePaystack
    published: list[Job] = field(default_factory=list)

    def context(self, job_id: str, **environ: str) -> JobContext:
        ours = {
            "PAYMENT_PROVIDER": "stripe",
            "STRIPE_API_KEY": fake_stripe.KEY,
            "STRIPE_API_URL": self.stripe.web.url,
            "PAYSTACK_SECRET_KEY": fake_paystack.KEY,
            "PAYSTACK_API_URL": self.paystack.web.url,
            "PAYMENT_TIMEOUT_SECONDS": "5",
        }
        settings = load_settings({name: value for name, value in (ours | environ).items() if value})
        publish: Callable[[Job], None] = self.published.append
        return JobContext(settings=settings, engine=self.engine, job_id=job_id, redelivered=True, publish=publish)

    def order(self, token: str = "tok_visa") -> Payment:  # noqa: S107 - a made-up card
        lines = (OrderLine(sku="tea", quantity=2, unit_price_minor=500),)
        order = Order(id="o1", customer="Ada", email="ada@example.org", lines=lines, payment_token=token)
        process_order(self.context("order-o1"), order)
        (payment,) = [job for job in self.published if isinstance(job, Payment)]
        self.published.clear()
        return payment

    def pay(self, payment: Payment, **environ: str) -> object:
        return process_payment(self.context(payment.job_id, **environ), payment)["outcome"]

    def refund(self, refund: Refund, **environ: str) -> object:
        return process_refund(self.context(refund.job_id, **environ), refund)["outcome"]

    def verify(self, payment: str = "o1") -> object:
        return process_verify(self.context(f"verify-{payment}"), Verify(id=payment))["outcome"]

    def state(self) -> tuple[str, int]:
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(orders)).one()
            return row.state, row.refunded_minor

    def rows(self, table: sa.Table, *columns: str) -> list[tuple[object, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.select(*(table.c[name] for name in columns)))]

    def receipts(self) -> list[str]:
        return [job.job_id for job in self.published if isinstance(job, PaymentReceiptEmail)]

    def tea(self) -> int:
        return read_stock(self.engine)["tea"]

    def long_ago(self) -> None:
        """As if a day had passed since the charge became pending."""
        with self.engine.begin() as connection:
            connection.execute(provider_charges.update().values(pending_since=time.time() - 86_401))


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    url = f"sqlite:///{tmp_path / 'shop.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres")
    engine = make_engine(url)
    if request.param == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    create_tables(engine)
    set_stock(engine, "tea", 10)
    with (stripe := fake_stripe.FakeStripe()).web, (paystack := fake_paystack.FakePaystack()).web:
        yield Shop(engine, stripe, paystack)
    engine.dispose()
