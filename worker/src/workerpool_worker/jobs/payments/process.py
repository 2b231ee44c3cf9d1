"""payment.process, payment.refund and payment.verify.

The provider's idempotency key is the business id, so a charge cannot happen twice even in the window between the
provider's answer and our commit; our own effect row saves asking again and keeps one id to one request.
"""

from __future__ import annotations

import time

import sqlalchemy as sa

from workerpool_worker.jobs.orders import stock
from workerpool_worker.jobs.orders.tables import orders
from workerpool_worker.jobs.payments.provider import PaymentProvider
from workerpool_worker.jobs.payments.sandbox import SandboxProvider
from workerpool_worker.models import Payment, PaymentReceiptEmail, Refund, Verify
from workerpool_worker.runtime.context import JobContext, Outcome


def provider_for(context: JobContext) -> PaymentProvider:
    """The provider of the settings."""
    return SandboxProvider(engine=context.engine, latency_s=context.settings.sandbox_latency_ms / 1000)


def process_payment(context: JobContext, payment: Payment) -> Outcome:
    """Charge once and record the answer on the order. `outcome` is "succeeded" or "declined"."""
    with context.effect(f"payment:{payment.id}", payment.arguments()) as claimed:
        repeated = claimed.already_done
        if not repeated:
            charge = provider_for(context).charge(
                key=payment.id, amount_minor=payment.amount_minor, currency=payment.currency, token=payment.token
            )
            claimed.done(
                {"outcome": charge.status, "reason": charge.reason},
                also=lambda connection: _record_charge(connection, payment.order_id, charge.status, charge.reason),
            )
    result = claimed.result or {}
    if result["outcome"] == "succeeded" and payment.email is not None:
        context.publish(
            PaymentReceiptEmail(
                id=payment.id,
                to=payment.email,
                customer=payment.customer,
                amount_minor=payment.amount_minor,
                currency=payment.currency,
            )
        )
    return {**result, "repeated": repeated}


def process_refund(context: JobContext, refund: Refund) -> Outcome:
    """Give money back once. `outcome` is "succeeded" or "refused" (more than is left of the charge)."""
    with context.effect(f"refund:{refund.id}", refund.arguments()) as claimed:
        repeated = claimed.already_done
        if not repeated:
            provider = provider_for(context)
            answer = provider.refund(key=refund.id, payment=refund.payment_id, amount_minor=refund.amount_minor)
            record = provider.lookup(refund.payment_id)
            claimed.done(
                {"outcome": answer.status, "reason": answer.reason, "amount_minor": answer.amount_minor},
                also=lambda connection: _record_refunds(
                    connection, refund.payment_id, record.refunded_minor if record else 0
                ),
            )
    return {**(claimed.result or {}), "repeated": repeated}


def process_verify(context: JobContext, verify: Verify) -> Outcome:
    """Compare our order with the provider's books and follow the books. Safe at any time and any number of times."""
    record = provider_for(context).lookup(verify.id)
    if record is None:
        return {"outcome": "unknown"}
    with context.engine.begin() as connection:
        _record_charge(connection, verify.id, record.charge.status, record.charge.reason)
        _record_refunds(connection, verify.id, record.refunded_minor)
    return {"outcome": record.charge.status, "refunded_minor": record.refunded_minor}


def _record_charge(connection: sa.Connection, order_id: str | None, status: str, reason: str | None) -> None:
    state = "paid" if status == "succeeded" else "declined"
    # Only from "reserved": a repeat or a late verify must not undo a refund, nor release the stock twice.
    moved = connection.execute(
        orders.update()
        .where(orders.c.id == order_id, orders.c.state == "reserved")
        .values(state=state, reason=reason, updated_at=time.time())
    )
    if moved.rowcount == 1 and state == "declined" and order_id is not None:
        stock.release(connection, order_id)


def _record_refunds(connection: sa.Connection, payment_id: str, refunded_minor: int) -> None:
    if refunded_minor:
        whole = orders.c.total_minor <= refunded_minor
        connection.execute(
            orders.update()
            # Refunds only add up: an older total read before a newer one was written changes nothing.
            .where(orders.c.id == payment_id, orders.c.refunded_minor < refunded_minor)
            .values(
                refunded_minor=refunded_minor,
                state=sa.case((whole, "refunded"), else_="partly_refunded"),
                updated_at=time.time(),
            )
        )
