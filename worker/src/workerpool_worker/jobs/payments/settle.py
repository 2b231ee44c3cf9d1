"""Making our orders say what the provider's books say.

    reserved ──> paid <──> partly_refunded <──> refunded      (a refund can fail at the bank, days later)
        └──────> declined (stock released)

A charge that is pending leaves its order reserved. Money that arrives after an order was given up is given back.
"""

from __future__ import annotations

import hashlib
import time

import sqlalchemy as sa

from workerpool_worker.jobs.orders import stock
from workerpool_worker.jobs.orders.tables import orders
from workerpool_worker.jobs.payments import books
from workerpool_worker.jobs.payments.choose import provider_of
from workerpool_worker.jobs.payments.provider import Charge, Record
from workerpool_worker.models import Refund
from workerpool_worker.runtime.context import JobContext
from workerpool_worker.runtime.errors import TransientError

_TRIES = 5
_LONGEST_ID = 120
_REFUNDED = ("paid", "partly_refunded", "refunded")


def follow(context: JobContext, payment_id: str, *, give_up: bool = False) -> Record | None:
    """Read the provider's books and write what they say; safe at any time. None where the provider knows of nothing.

    With `give_up`, a charge that is pending is canceled first.

    Raises:
        TransientError: others kept changing the order meanwhile.
    """
    row = books.known(context.engine, payment_id)
    provider = provider_of(context, payment_id)
    read = provider.cancel if give_up else provider.lookup
    # Without a row the payment is older than our books: then its order had the same id.
    order_id = row.order_id if row else payment_id
    for _ in range(_TRIES):
        # The order is read before the books: if it is the same when we write, nobody wrote newer books than ours.
        seen = _order(context.engine, order_id)
        record = read(payment_id, charge_id=row.charge_id if row else None)
        if record is None:
            return None
        with context.engine.begin() as connection:
            written = seen is None or _write(connection, seen, record)
            if written:
                books.answered(connection, payment_id, record.charge)
        if written:
            if seen is not None and seen.state == "declined" and record.left_minor > 0:
                context.publish(_give_back(payment_id))
            return record
    raise TransientError(f"payment {payment_id}: its order kept changing")


def record_charge(connection: sa.Connection, order_id: str | None, charge: Charge) -> None:
    """Write a charge's answer on its order, in the caller's transaction."""
    if charge.status == "pending" or order_id is None:
        return
    state = "paid" if charge.status == "succeeded" else "declined"
    # Only from "reserved": a repeat or a late verify must not undo a refund, nor release the stock twice.
    moved = connection.execute(
        orders.update()
        .where(orders.c.id == order_id, orders.c.state == "reserved")
        .values(state=state, reason=charge.reason, updated_at=time.time())
    )
    if moved.rowcount == 1 and state == "declined":
        stock.release(connection, order_id)


def _order(engine: sa.Engine, order_id: str | None) -> sa.Row[tuple[object, ...]] | None:
    with engine.connect() as connection:
        return connection.execute(sa.select(orders).where(orders.c.id == order_id)).one_or_none()


def _write(connection: sa.Connection, seen: sa.Row[tuple[object, ...]], record: Record) -> bool:
    """Whether the order was still as seen; then it says what the record says."""
    same = (
        (orders.c.id == seen.id)
        & (orders.c.state == seen.state)
        & (orders.c.refunded_minor == seen.refunded_minor)
        & (orders.c.updated_at == seen.updated_at)
    )
    state = _after(seen, record)
    if (state, record.refunded_minor) == (seen.state, seen.refunded_minor):
        return connection.execute(sa.select(orders.c.id).where(same)).one_or_none() is not None
    reason = record.charge.reason if state != seen.state else seen.reason
    moved = connection.execute(
        orders.update()
        .where(same)
        .values(state=state, reason=reason, refunded_minor=record.refunded_minor, updated_at=time.time())
    )
    if moved.rowcount == 1 and state == "declined" and seen.state == "reserved":
        stock.release(connection, str(seen.id))
    return moved.rowcount == 1


def _after(seen: sa.Row[tuple[object, ...]], record: Record) -> str:
    state = str(seen.state)
    if state == "reserved" and record.charge.status == "declined":
        return "declined"
    if record.charge.status == "succeeded" and state in {"reserved", *_REFUNDED}:
        if not record.refunded_minor:
            return "paid"
        return "refunded" if record.refunded_minor >= seen.total_minor else "partly_refunded"
    return state


def _give_back(payment_id: str) -> Refund:
    name = payment_id if len(payment_id) <= _LONGEST_ID else hashlib.sha256(payment_id.encode()).hexdigest()
    return Refund(id=f"late-{name}", payment_id=payment_id)
