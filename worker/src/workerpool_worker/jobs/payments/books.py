"""Our books of what was asked of payment providers, written before the asking.

A charge that was asked for belongs to its provider for good, whatever the settings say later: its row knows which, and
under which id. What the receipt needs is in it too, because a charge that is pending is settled by another job.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from workerpool_worker.jobs.payments.provider import Charge, RefundAnswer
from workerpool_worker.models import Payment, PaymentReceiptEmail, Refund
from workerpool_worker.runtime.database import insert_once, metadata

provider_charges = sa.Table(
    "provider_charges",
    metadata,
    sa.Column("payment_id", sa.String(128), primary_key=True),
    sa.Column("provider", sa.String(20), nullable=False),
    sa.Column("provider_id", sa.String(200), index=True),
    # asked, then pending, succeeded or declined; failed where nothing can come of it.
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("action_url", sa.Text),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("order_id", sa.String(128)),
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("email", sa.Text),
    # Stays set when it is settled: the receipt was then not sent by payment.process.
    sa.Column("pending_since", sa.Float),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
)

provider_refunds = sa.Table(
    "provider_refunds",
    metadata,
    sa.Column("refund_id", sa.String(128), primary_key=True),
    sa.Column("payment_id", sa.String(128), nullable=False, index=True),
    sa.Column("provider", sa.String(20), nullable=False),
    sa.Column("provider_id", sa.String(200)),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("amount_minor", sa.BigInteger),
    sa.Column("created_at", sa.Float, nullable=False),
    # The last time it was asked for without an answer since; empty when no request can be on its way.
    sa.Column("asked_at", sa.Float),
)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What we know of a charge. `pending_since_s` is in Unix seconds; None where it never was."""

    provider: str
    charge_id: str | None
    status: str
    order_id: str | None
    pending_since_s: float | None


def ask(engine: sa.Engine, payment: Payment, *, provider: str) -> tuple[str, float | None]:
    """Write down that a charge is about to be asked for: (of whom, when it was asked for before or None)."""
    now = time.time()
    row: dict[str, object] = {"payment_id": payment.id, "provider": provider, "status": "asked"}
    row |= {"amount_minor": payment.amount_minor, "currency": payment.currency, "order_id": payment.order_id}
    row |= {"customer": payment.customer, "email": payment.email, "created_at": now, "updated_at": now}
    with engine.begin() as connection:
        if insert_once(connection, provider_charges, row, on="payment_id"):
            return provider, None
        kept = (provider_charges.c.provider, provider_charges.c.created_at)
        before = connection.execute(sa.select(*kept).where(provider_charges.c.payment_id == payment.id)).one()
        return before.provider, before.created_at


def answered(connection: sa.Connection, payment_id: str, charge: Charge) -> None:
    """Write down a provider's answer, in the caller's transaction. A charge that succeeded stays so."""
    now = time.time()
    since = provider_charges.c.pending_since
    values: dict[str, object] = {"status": charge.status, "reason": charge.reason, "updated_at": now}
    values["provider_id"] = charge.id or provider_charges.c.provider_id
    values["action_url"] = charge.action_url or provider_charges.c.action_url
    this = provider_charges.c.payment_id == payment_id
    if charge.status == "pending":
        # Also where a quicker look has seen it succeed meanwhile: it is why no receipt was sent.
        connection.execute(provider_charges.update().where(this, since.is_(None)).values(pending_since=now))
    connection.execute(provider_charges.update().where(this, provider_charges.c.status != "succeeded").values(values))


def failed(engine: sa.Engine, payment_id: str, reason: str) -> None:
    """Write down that the charge was asked for and nothing can come of it: the request itself was refused."""
    asked = (provider_charges.c.payment_id == payment_id) & (provider_charges.c.status == "asked")
    with engine.begin() as connection:
        connection.execute(
            provider_charges.update().where(asked).values(status="failed", reason=reason, updated_at=time.time())
        )


def known(engine: sa.Engine, payment_id: str) -> Known | None:
    """Our row of a charge; None for one that we never asked for, or asked for before there were these books."""
    with engine.connect() as connection:
        row = _charge(connection, payment_id)
    if row is None:
        return None
    return Known(
        provider=row.provider,
        charge_id=row.provider_id,
        status=row.status,
        order_id=row.order_id,
        pending_since_s=row.pending_since,
    )


def receipt(engine: sa.Engine, payment_id: str) -> PaymentReceiptEmail | None:
    """The receipt of a charge that was pending and succeeded; None where nobody wants one."""
    with engine.connect() as connection:
        row = _charge(connection, payment_id)
    if row is None or row.email is None or row.pending_since is None or row.status != "succeeded":
        return None
    return PaymentReceiptEmail(
        id=payment_id, to=row.email, customer=row.customer, amount_minor=row.amount_minor, currency=row.currency
    )


def unsettled(engine: sa.Engine, *, older_than_s: float = 0.0, limit: int = 1000) -> list[str]:
    """Payments without a final answer, oldest first: ids for payment.verify, should a webhook have been lost."""
    query = (
        sa.select(provider_charges.c.payment_id)
        .where(
            provider_charges.c.status.in_(("asked", "pending")),
            provider_charges.c.updated_at < time.time() - older_than_s,
        )
        .order_by(provider_charges.c.updated_at)
        .limit(limit)
    )
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


def ask_refund(engine: sa.Engine, refund: Refund, *, provider: str) -> float | None:
    """Write down that a refund is about to be asked for; when it was asked for before without an answer, or None."""
    now = time.time()
    row: dict[str, object] = {"refund_id": refund.id, "payment_id": refund.payment_id, "provider": provider}
    row |= {"status": "asked", "amount_minor": refund.amount_minor, "created_at": now, "asked_at": now}
    this = provider_refunds.c.refund_id == refund.id
    with engine.begin() as connection:
        if insert_once(connection, provider_refunds, row, on="refund_id"):
            return None
        before: float | None = connection.execute(sa.select(provider_refunds.c.asked_at).where(this)).scalar_one()
        connection.execute(provider_refunds.update().where(this).values(asked_at=now))
        return before


def refund_not_asked(engine: sa.Engine, refund_id: str, *, asked_s: float | None) -> None:
    """This time nothing was asked of the provider: the time before it is the last one again."""
    with engine.begin() as connection:
        connection.execute(
            provider_refunds.update().where(provider_refunds.c.refund_id == refund_id).values(asked_at=asked_s)
        )


def refund_answered(connection: sa.Connection, refund_id: str, answer: RefundAnswer) -> None:
    """Write down a provider's answer, in the caller's transaction."""
    connection.execute(
        provider_refunds.update()
        .where(provider_refunds.c.refund_id == refund_id)
        .values(provider_id=answer.id or None, status=answer.status, amount_minor=answer.amount_minor, asked_at=None)
    )


def _charge(connection: sa.Connection, payment_id: str) -> sa.Row[tuple[object, ...]] | None:
    return connection.execute(
        sa.select(provider_charges).where(provider_charges.c.payment_id == payment_id)
    ).one_or_none()
