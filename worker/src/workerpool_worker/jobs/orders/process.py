"""order.process: stock reserved, order recorded, invoice made, payment and confirmation asked for.

    received ──> reserved ──> paid ──> partly_refunded ──> refunded
        └─> out_of_stock  └─> declined (stock released)

A payment that is pending leaves its order reserved; what comes after is `jobs.payments.settle`.

Everything in SQL is one transaction, the two jobs that follow among it: they commit to the outbox with the order. What
comes after the commit (the invoice, sending the two jobs) is done again on every repeat: there is one invoice an order
and the jobs have the order's id, so doing it again changes nothing, and a crash in between loses nothing. Where Redis
is away at that moment, or loses the order's own message, the jobs are sent from the outbox.
"""

# ruff: noqa: PLC0415 - fpdf2 takes half a second to import: not before an invoice is due

from __future__ import annotations

import time

import sqlalchemy as sa

from workerpool_worker.jobs.orders import invoices, stock
from workerpool_worker.jobs.orders.tables import counters, orders
from workerpool_worker.models import Attachment, Job, Order, OrderConfirmationEmail, Payment
from workerpool_worker.outbox import handing_over
from workerpool_worker.runtime.context import JobContext, Outcome
from workerpool_worker.runtime.database import insert_once
from workerpool_worker.runtime.idempotency import Result, once_in_transaction


def process_order(context: JobContext, order: Order) -> Outcome:
    """Take an order in. `outcome` is "reserved" or "out_of_stock"."""
    result, first = once_in_transaction(
        context.engine,
        f"order:{order.id}",
        order.arguments(),
        lambda connection: _take_in(connection, context, order),
        owner=context.job_id,
    )
    if result["outcome"] == "reserved":
        _make_invoice(context, order, result)
        handing_over.hand_over(context, _follow_ups(order, result["invoice_number"]))
    return {**result, "repeated": not first}


def _take_in(connection: sa.Connection, context: JobContext, order: Order) -> Result:
    short = stock.reserve(connection, order.id, stock.wanted(order.lines))
    now = time.time()
    state = "reserved" if short is None else "out_of_stock"
    number = _next_invoice_number(connection) if short is None else None
    connection.execute(
        orders.insert().values(
            id=order.id,
            state=state,
            reason=None if short is None else f"not enough of {short}",
            customer=order.customer,
            email=order.email,
            currency=order.currency,
            total_minor=order.total_minor,
            refunded_minor=0,
            invoice_number=number,
            created_at=now,
            updated_at=now,
        )
    )
    if number is not None:
        handing_over.put(connection, context, _follow_ups(order, number))
    return {"outcome": state, "short": short, "invoice_number": number, "at": now}


def _next_invoice_number(connection: sa.Connection) -> str:
    # A row that everybody updates: numbers without gaps, because the transaction that fails gives its number back.
    insert_once(connection, counters, {"name": "invoice", "value": 0}, on="name")
    value = connection.execute(
        counters.update()
        .where(counters.c.name == "invoice")
        .values(value=counters.c.value + 1)
        .returning(counters.c.value)
    ).scalar_one()
    return f"INV-{value:06d}"


def _make_invoice(context: JobContext, order: Order, result: Result) -> None:
    number, issued_at_s = result["invoice_number"], result["at"]

    def render() -> bytes:
        from workerpool_worker.jobs.orders.invoice import render_invoice

        return render_invoice(order, number=number, issued_at_s=issued_at_s)

    invoices.keep_invoice(context.engine, order.id, number=number, issued_at_s=issued_at_s, render=render)
    folder = context.settings.invoice_dir
    if folder is not None and not (path := folder / f"{order.id}.pdf").exists():
        # From the database: the file is a copy of what is kept, whoever rendered it and with which version.
        content = invoices.read_invoice(context.engine, order.id)
        if content is not None:
            invoices.export(path, content)


def _follow_ups(order: Order, invoice_number: str) -> list[Job]:
    confirmation = OrderConfirmationEmail(
        id=order.id,
        to=order.email,
        customer=order.customer,
        lines=order.lines,
        currency=order.currency,
        net_minor=order.net_minor,
        vat_minor=order.vat_minor,
        total_minor=order.total_minor,
        invoice_number=invoice_number,
        attachments=(Attachment.invoice(order.id),),
    )
    if not order.total_minor:
        return [confirmation]
    payment = Payment(
        id=order.id,
        order_id=order.id,
        amount_minor=order.total_minor,
        currency=order.currency,
        token=order.payment_token,
        customer=order.customer,
        email=order.email,
    )
    return [payment, confirmation]
