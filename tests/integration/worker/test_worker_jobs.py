"""Each job's effect, and that it happens once."""

from __future__ import annotations

import pytest

from tests.integration.worker.bench import Bench, until
from tests.support.smtp import Mailbox
from workerpool_worker.jobs.orders.stock import set_stock
from workerpool_worker.models import (
    Email,
    Order,
    OrderLine,
    Payment,
    Refund,
    ShippingNotificationEmail,
    Verify,
    WelcomeEmail,
)
from workerpool_worker.runtime.database import make_engine

pytestmark = pytest.mark.integration


def an_order(number: int = 1, **more: object) -> Order:
    lines = (OrderLine(sku="tea", quantity=2, unit_price_minor=499, description="Green tea"),)
    return Order.model_validate(
        {"id": f"o{number}", "customer": "Ada <L>", "email": f"c{number}@example.org", "lines": lines} | more
    )


def stocked(bench: Bench, **quantities: int) -> Bench:
    engine = make_engine(f"sqlite:///{bench.folder / 'workerpool.db'}")
    for sku, quantity in quantities.items():
        set_stock(engine, sku, quantity)
    engine.dispose()
    return bench


def test_an_order_is_reserved_invoiced_charged_and_confirmed(bench: Bench, mailbox: Mailbox) -> None:
    stocked(bench, tea=10).start().ready()
    assert bench.producer.order(an_order()) == "order-o1"
    until(lambda: len(mailbox.mails) == 2 and bench.all_done(), what=bench.logs)
    (order,) = bench.effects.orders()
    assert (order.state, order.total_minor, order.invoice_number) == ("paid", 1_218, "INV-000001")
    assert bench.effects.stock() == {"tea": 8}
    assert bench.charges() == ["o1"]
    (invoice,) = bench.effects.invoices()
    assert (invoice.order_id, invoice.number) == ("o1", "INV-000001")
    content = bench.effects.invoice("o1")
    assert content is not None
    assert content.startswith(b"%PDF-")
    assert len(content) == invoice.size_bytes
    assert not list(bench.folder.rglob("*.pdf"))
    confirmation, receipt = sorted(mailbox.to("c1@example.org"), key=lambda mail: str(mail["X-Job-Id"]))
    assert confirmation["Message-ID"] == "<email-order-confirmation-o1@workerpool.example>"
    assert confirmation["X-Business-Id"] == "o1"
    text = confirmation.get_body(("plain",))
    html = confirmation.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "Total  12.18 EUR" in text.get_content()
    assert "Hello Ada &lt;L&gt;" in html.get_content()
    assert "12.18 EUR" in str(receipt.get_body(("plain",)))


def test_jobs_sent_twice_happen_once(bench: Bench, mailbox: Mailbox) -> None:
    stocked(bench, tea=100).start(WORKERPOOL_CONCURRENCY=2).ready()
    for _ in range(3):
        bench.producer.send_many([an_order(number) for number in range(5)])
    until(lambda: bench.all_done() and len(mailbox.mails) >= 10, timeout_s=30, what=bench.logs)
    until(bench.all_done)
    assert bench.effects.orders_by_state() == {"paid": 5}
    assert bench.effects.stock() == {"tea": 90}
    assert sorted(bench.charges()) == [f"o{number}" for number in range(5)]
    assert mailbox.ids() == sorted(
        f"email-{kind}-o{number}" for number in range(5) for kind in ("order-confirmation", "receipt")
    )
    assert len({order.invoice_number for order in bench.effects.orders()}) == 5


def test_out_of_stock_and_declined_are_answers(bench: Bench, mailbox: Mailbox) -> None:
    worker = stocked(bench, tea=3).start().ready()
    bench.producer.order(an_order(1, payment_token="tok_declined"))
    until(lambda: bench.effects.orders_by_state() == {"declined": 1} and bench.all_done(), what=bench.logs)
    assert bench.effects.stock() == {"tea": 3}
    bench.producer.order(an_order(2))
    bench.producer.order(an_order(3))
    until(lambda: len(bench.effects.orders()) == 3 and bench.all_done(), what=bench.logs)
    assert bench.effects.orders_by_state() == {"declined": 1, "out_of_stock": 1, "paid": 1}
    assert bench.effects.stock() == {"tea": 1}
    assert len(bench.effects.invoices()) == 2
    assert "email-receipt-o1" not in mailbox.ids()
    assert not [outcome for outcome in worker.outcomes() if outcome[1] in {"failed", "retried"}]


def test_refunds_never_exceed_the_charge(bench: Bench) -> None:
    stocked(bench, tea=10).start().ready()
    bench.producer.order(an_order())
    until(lambda: bench.effects.orders_by_state() == {"paid": 1} and bench.all_done(), what=bench.logs)
    for _ in range(2):
        bench.producer.refund(Refund(id="r1", payment_id="o1", amount_minor=1_000))
        bench.producer.refund(Refund(id="r2", payment_id="o1", amount_minor=1_000))
    until(lambda: len(bench.effects.ledger_entries()) == 3 and bench.all_done(), what=bench.logs)
    (order,) = bench.effects.orders()
    assert (order.state, order.refunded_minor) == ("partly_refunded", 1_000)
    bench.producer.refund(Refund(id="r3", payment_id="o1"))
    until(lambda: bench.effects.orders_by_state() == {"refunded": 1}, what=bench.logs)
    refunds = {entry.idempotency_key: (entry.status, entry.amount_minor) for entry in bench.effects.ledger_entries()}
    assert refunds["refund:r1"] == ("succeeded", 1_000)
    assert refunds["refund:r2"] == ("refused", 1_000)
    assert refunds["refund:r3"] == ("succeeded", 218)


def test_a_lost_answer_is_asked_again_and_charged_once(bench: Bench) -> None:
    worker = bench.start().ready()
    bench.producer.payment(Payment(id="p1", amount_minor=700, token="tok_lost_answer"))
    until(lambda: ("payment-p1", "succeeded") in worker.outcomes(), what=bench.logs)
    assert ("payment-p1", "retried") in worker.outcomes()
    assert bench.charges() == ["p1"]
    bench.producer.verify(Verify(id="p1"))
    until(lambda: ("verify-p1", "succeeded") in worker.outcomes(), what=bench.logs)


def test_one_id_is_one_request(bench: Bench) -> None:
    worker = bench.start().ready()
    bench.producer.payment(Payment(id="p1", amount_minor=700))
    bench.producer.payment(Payment(id="p1", amount_minor=800))
    until(lambda: len(worker.outcomes()) == 2, what=bench.logs)
    assert worker.outcomes() == [("payment-p1", "succeeded"), ("payment-p1", "failed")]
    assert worker.said("job failed")
    assert [entry.amount_minor for entry in bench.effects.ledger_entries()] == [700]


def test_every_kind_of_mail(bench: Bench, mailbox: Mailbox) -> None:
    bench.start().ready()
    bench.producer.email(Email(id="a", to="a@example.org", subject="Hé", text="plain", html="<p>rich</p>"))
    bench.producer.email(WelcomeEmail(id="b", to="b@example.org", customer="Bob"))
    bench.producer.email(
        ShippingNotificationEmail(id="c", to="c@example.org", customer="Cy", carrier="Post", tracking_code="T-1")
    )
    until(lambda: len(mailbox.mails) == 3, what=bench.logs)
    assert [str(mail["Subject"]) for mail in mailbox.mails] == ["Hé", "Welcome, Bob", "Your order c is on its way"]
    assert [mail.is_multipart() for mail in mailbox.mails] == [True, True, True]


def test_refused_for_good_and_refused_for_now(bench: Bench, mailbox: Mailbox) -> None:
    mailbox.answers |= {"gone@example.org": "550 no such user", "later@example.org": "451 not now"}
    worker = bench.start().ready()
    for name in ("gone@example.org", "later@example.org", "not-an-address"):
        bench.producer.email(Email(id=name.partition("@")[0], to=name, subject="Hi", text="Hi"))
    until(lambda: ("email-later", "retried") in worker.outcomes() and len(worker.outcomes()) >= 3, what=bench.logs)
    del mailbox.answers["later@example.org"]
    until(lambda: ("email-later", "sent") in worker.outcomes() and bench.all_done(), what=bench.logs)
    outcomes = [outcome for outcome in worker.outcomes() if outcome[0] != "email-later"]
    assert outcomes == [("email-gone", "failed"), ("email-not-an-address", "failed")]
    assert mailbox.ids() == ["email-later"]


def test_a_message_that_is_no_job_fails_without_harm(bench: Bench) -> None:
    worker = bench.start().ready()
    bench.celery.send_task("email.send", kwargs={"id": "x"}, task_id="odd", queue="email")
    bench.celery.send_task("email.nonsense", task_id="unknown", queue="email")
    bench.producer.email(Email(id="good", to="a@example.org", subject="Hi", text="Hi"))
    until(lambda: ("email-good", "sent") in worker.outcomes() and bench.all_done(), what=bench.logs)
    assert ("odd", "failed") in worker.outcomes()


def test_thousands_of_jobs_are_sent_in_seconds(bench: Bench) -> None:
    jobs = [Email(id=f"m{number}", to="a@example.org", subject="Hi", text="Hi") for number in range(2_000)]
    took_s = until(lambda: len(bench.producer.send_many(jobs)) == 2_000)
    assert bench.redis.llen("email") == 2_000
    assert took_s < 5
    headers = bench.headers("email")[0]
    assert isinstance(headers["enqueued_at"], float)
    assert headers["id"] == "email-m1999"
