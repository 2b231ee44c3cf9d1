"""A payment provider of our own with durable books, for demos and tests.

Tokens decide: `tok_declined` and `tok_insufficient_funds` are declined; `tok_lost_answer` is charged, but the first
answer never arrives; `tok_pending` waits for the customer until `settle` or `cancel`; any other token is charged. The
latency of the settings passes before each charge or refund.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from workerpool_worker.jobs.payments.provider import Charge, ChargeStatus, Record, RefundAnswer
from workerpool_worker.runtime.database import insert_once, metadata
from workerpool_worker.runtime.errors import PermanentError, ProviderTimeoutError, TransientError

_DECLINED = {"tok_declined": "card declined", "tok_insufficient_funds": "insufficient funds"}
_LOST_ANSWER, _PENDING = "tok_lost_answer", "tok_pending"

ledger = sa.Table(
    "sandbox_ledger",
    metadata,
    sa.Column("idempotency_key", sa.String(200), primary_key=True),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("payment", sa.String(200), nullable=False, index=True),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("at", sa.Float, nullable=False),
)


@dataclass(frozen=True, kw_only=True)
class SandboxProvider:
    """Implements PaymentProvider on an SQL table of its own."""

    engine: sa.Engine
    latency_s: float = 0.0

    def charge(
        self,
        *,
        key: str,
        amount_minor: int,
        currency: str,
        token: str,
        email: str | None = None,  # noqa: ARG002 - nobody is written to
        asked_s: float | None = None,  # noqa: ARG002 - a key is kept for ever
    ) -> Charge:
        """Charge, or decline, once."""
        time.sleep(self.latency_s)
        reason = _DECLINED.get(token)
        status = "declined" if reason else "succeeded"
        if token == _PENDING:
            status, reason = "pending", "the customer has to confirm"
        row: dict[str, object] = {"idempotency_key": f"charge:{key}", "kind": "charge", "payment": key}
        row |= {"status": status, "reason": reason}
        row |= {"amount_minor": amount_minor, "currency": currency, "at": time.time()}
        with self.engine.begin() as connection:
            new = insert_once(connection, ledger, row, on="idempotency_key")
            kept = self._charge_row(connection, key)
        if kept is None or (kept.amount_minor, kept.currency) != (amount_minor, currency):
            raise PermanentError(f"payment {key}: charged before with another amount")
        if new and token == _LOST_ANSWER:
            raise ProviderTimeoutError(f"payment {key}: no answer from the provider")
        return _as_charge(kept)

    def refund(
        self,
        *,
        key: str,
        payment: str,
        amount_minor: int | None,
        charge_id: str | None = None,  # noqa: ARG002 - its id is made of ours
        asked_s: float | None = None,  # noqa: ARG002 - a key is kept for ever
    ) -> RefundAnswer:
        """Give money back once; refused when it would be more than was charged."""
        time.sleep(self.latency_s)
        with self.engine.begin() as connection:
            kept = connection.execute(
                sa.select(ledger).where(ledger.c.idempotency_key == f"refund:{key}")
            ).one_or_none()
            if kept is not None:
                return _as_refund(kept)
            # The charge's row is the lock: two refunds of one payment take turns.
            charge = self._charge_row(connection, payment, lock=True)
            if charge is not None and charge.status == "pending":
                raise TransientError(f"refund {key}: payment {payment} is pending ({charge.reason})")
            left = 0
            if charge is not None and charge.status == "succeeded":
                left = charge.amount_minor - self._refunded(connection, payment)
            amount = left if amount_minor is None else amount_minor
            refused = f"{left} left of the charge" if not 0 < amount <= left else None
            row: dict[str, object] = {"idempotency_key": f"refund:{key}", "kind": "refund", "payment": payment}
            row |= {"status": "refused" if refused else "succeeded", "reason": refused, "amount_minor": amount}
            row |= {"currency": charge.currency if charge is not None else "XXX", "at": time.time()}
            insert_once(connection, ledger, row, on="idempotency_key")
            return _as_refund(
                connection.execute(sa.select(ledger).where(ledger.c.idempotency_key == f"refund:{key}")).one()
            )

    def lookup(self, payment: str, *, charge_id: str | None = None) -> Record | None:  # noqa: ARG002 - see refund
        """What the books say."""
        with self.engine.connect() as connection:
            row = self._charge_row(connection, payment)
            if row is None:
                return None
            return Record(charge=_as_charge(row), refunded_minor=self._refunded(connection, payment))

    def cancel(self, payment: str, *, charge_id: str | None = None) -> Record | None:
        """Decline what is pending."""
        self.settle(payment, "declined", "canceled")
        return self.lookup(payment, charge_id=charge_id)

    def settle(self, payment: str, status: ChargeStatus, reason: str | None = None) -> None:
        """Be the customer, or the bank, that a pending charge waits for."""
        with self.engine.begin() as connection:
            connection.execute(
                ledger.update()
                .where(ledger.c.idempotency_key == f"charge:{payment}", ledger.c.status == "pending")
                .values(status=status, reason=reason)
            )

    @staticmethod
    def _charge_row(
        connection: sa.Connection, payment: str, *, lock: bool = False
    ) -> sa.Row[tuple[object, ...]] | None:
        query = sa.select(ledger).where(ledger.c.idempotency_key == f"charge:{payment}")
        return connection.execute(query.with_for_update() if lock else query).one_or_none()

    @staticmethod
    def _refunded(connection: sa.Connection, payment: str) -> int:
        query = sa.select(sa.func.coalesce(sa.func.sum(ledger.c.amount_minor), 0)).where(
            ledger.c.payment == payment, ledger.c.kind == "refund", ledger.c.status == "succeeded"
        )
        return int(connection.execute(query).scalar_one())


def _as_charge(row: sa.Row[tuple[object, ...]]) -> Charge:
    return Charge(
        id=row.idempotency_key,
        status=row.status,
        amount_minor=row.amount_minor,
        currency=row.currency,
        reason=row.reason,
    )


def _as_refund(row: sa.Row[tuple[object, ...]]) -> RefundAnswer:
    return RefundAnswer(id=row.idempotency_key, status=row.status, amount_minor=row.amount_minor, reason=row.reason)
