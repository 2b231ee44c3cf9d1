"""payment.process, payment.refund and payment.verify.

The provider's idempotency key is the business id, so a charge cannot happen twice even in the window between the
provider's answer and our commit; our own effect row saves asking again and keeps one id to one request.

A charge that is pending is an answer too: the job is done, the order stays reserved, and payment.verify settles it.
"""

from __future__ import annotations

import time

import sqlalchemy as sa

from workerpool_worker.jobs.payments import books
from workerpool_worker.jobs.payments.choose import provider_named
from workerpool_worker.jobs.payments.provider import Charge, RefundAnswer
from workerpool_worker.jobs.payments.settle import follow, record_charge
from workerpool_worker.models import Payment, PaymentReceiptEmail, Refund, Verify
from workerpool_worker.runtime.context import JobContext, Outcome
from workerpool_worker.runtime.errors import JobError, PermanentError, ProviderTimeoutError, TransientError
from workerpool_worker.runtime.uninterrupted import uninterrupted


def process_payment(context: JobContext, payment: Payment) -> Outcome:
    """Charge once and record the answer on the order. `outcome` is "succeeded", "declined" or "pending"."""
    with context.effect(f"payment:{payment.id}", payment.arguments()) as claimed:
        repeated = claimed.already_done
        if not repeated:
            charge = _charge(context, payment)
            claimed.done(
                {"outcome": charge.status, "reason": charge.reason},
                also=lambda connection: _record(connection, payment, charge),
            )
    result = claimed.result or {}
    if result["outcome"] == "pending":
        if repeated:
            return {**process_verify(context, Verify(id=payment.id)), "repeated": True}
        # A verify that was quicker than our commit could not know that the receipt was left to it.
        _late_receipt(context, payment.id)
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
    """Give money back once. `outcome` is "succeeded", "pending" or "refused" (more than is left of the charge)."""
    with context.effect(f"refund:{refund.id}", refund.arguments()) as claimed, uninterrupted():
        repeated = claimed.already_done
        if not repeated:
            answer = _refund(context, refund)
            claimed.done(
                {"outcome": answer.status, "reason": answer.reason, "amount_minor": answer.amount_minor},
                also=lambda connection: books.refund_answered(connection, refund.id, answer),
            )
    # On a repeat too: the try before may have ended right after its commit.
    follow(context, refund.payment_id)
    return {**(claimed.result or {}), "repeated": repeated}


def process_verify(context: JobContext, verify: Verify) -> Outcome:
    """Compare our order with the provider's books and follow the books. Safe at any time and any number of times."""
    record = follow(context, verify.id)
    if record is None:
        return {"outcome": "unknown"}
    row = books.known(context.engine, verify.id)
    if record.charge.status == "pending" and row is not None and row.pending_since_s is not None:
        given_up_s = row.pending_since_s + context.settings.payment_pending_seconds
        if time.time() > given_up_s:
            record = follow(context, verify.id, give_up=True) or record
    _late_receipt(context, verify.id)
    return {"outcome": record.charge.status, "refunded_minor": record.refunded_minor}


def _late_receipt(context: JobContext, payment_id: str) -> None:
    receipt = books.receipt(context.engine, payment_id)
    if receipt is not None:
        context.publish(receipt)


def _charge(context: JobContext, payment: Payment) -> Charge:
    # Written before it is asked: whatever becomes of us, the provider and the receipt are known.
    name, asked_s = books.ask(context.engine, payment, provider=context.settings.payment_provider)
    try:
        return provider_named(context, name).charge(
            key=payment.id,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            token=payment.token,
            email=payment.email,
            asked_s=asked_s,
        )
    except PermanentError as error:
        books.failed(context.engine, payment.id, str(error))
        raise


def _record(connection: sa.Connection, payment: Payment, charge: Charge) -> None:
    record_charge(connection, payment.order_id, charge)
    books.answered(connection, payment.id, charge)


def _refund(context: JobContext, refund: Refund) -> RefundAnswer:
    row = books.known(context.engine, refund.payment_id)
    if row is not None and row.status == "asked":
        raise TransientError(f"refund {refund.id}: the charge {refund.payment_id} has no answer yet")
    name = row.provider if row else context.settings.payment_provider
    provider = provider_named(context, name)
    asked_s = books.ask_refund(context.engine, refund, provider=name)
    try:
        return provider.refund(
            key=refund.id,
            payment=refund.payment_id,
            amount_minor=refund.amount_minor,
            charge_id=row.charge_id if row else None,
            asked_s=asked_s,
        )
    except ProviderTimeoutError:
        raise
    except JobError:
        books.refund_not_asked(context.engine, refund.id, asked_s=asked_s)
        raise
