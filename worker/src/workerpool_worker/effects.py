"""Reading what the jobs did: what to count when asking whether anything happened twice, or not at all.

reader = EffectsReader(settings.database)
reader.orders_by_state(), reader.stock_movements(), reader.ledger_entries(), reader.invoices()
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from workerpool_worker.jobs.orders.invoices import read_invoice
from workerpool_worker.jobs.orders.tables import invoices, orders, stock, stock_movements
from workerpool_worker.jobs.payments.sandbox import ledger
from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.runtime.idempotency import effects


@dataclass(frozen=True, kw_only=True)
class OrderRecord:
    """An order as it stands."""

    id: str
    state: str
    reason: str | None
    total_minor: int
    currency: str
    refunded_minor: int
    invoice_number: str | None


@dataclass(frozen=True, kw_only=True)
class StockMovement:
    """One change of stock: `kind` is "reserve" (negative quantity) or "release"."""

    order_id: str
    sku: str
    kind: str
    quantity: int


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One line of the sandbox provider's books: `kind` is "charge" or "refund"."""

    idempotency_key: str
    kind: str
    payment: str
    status: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, kw_only=True)
class EffectTime:
    """When an effect was first begun, and when it was done: Unix seconds, None where it is not done."""

    key: str
    begun_at: float
    done_at: float | None


@dataclass(frozen=True, kw_only=True)
class InvoiceRecord:
    """An invoice that is kept; its PDF is `EffectsReader.invoice(order_id)`. `created_at` is in Unix seconds."""

    order_id: str
    number: str
    size_bytes: int
    created_at: float


class EffectsReader:
    """Reads the worker's database; blocks no writer.

    Args:
        database_url: The same URL the workers use.
    """

    def __init__(self, database_url: str) -> None:
        create_tables(writer := make_engine(database_url))
        writer.dispose()
        self._engine = make_engine(database_url, read_only=True)

    def orders(self) -> list[OrderRecord]:
        """Every order."""
        fields = OrderRecord.__dataclass_fields__
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(*(orders.c[name] for name in fields)).order_by(orders.c.id))
            return [OrderRecord(**row) for row in rows.mappings()]

    def orders_by_state(self) -> dict[str, int]:
        """Number of orders in each state."""
        query = sa.select(orders.c.state, sa.func.count()).group_by(orders.c.state)
        with self._engine.connect() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(query)}

    def stock(self) -> dict[str, int]:
        """Quantities by article."""
        with self._engine.connect() as connection:
            return {row.sku: row.quantity for row in connection.execute(sa.select(stock))}

    def stock_movements(self) -> list[StockMovement]:
        """Every change of stock, oldest first."""
        fields = StockMovement.__dataclass_fields__
        query = sa.select(*(stock_movements.c[name] for name in fields)).order_by(stock_movements.c.id)
        with self._engine.connect() as connection:
            return [StockMovement(**row) for row in connection.execute(query).mappings()]

    def ledger_entries(self) -> list[LedgerEntry]:
        """Every charge and refund the provider knows, oldest first."""
        fields = LedgerEntry.__dataclass_fields__
        query = sa.select(*(ledger.c[name] for name in fields)).order_by(ledger.c.at)
        with self._engine.connect() as connection:
            return [LedgerEntry(**row) for row in connection.execute(query).mappings()]

    def effects_by_state(self) -> dict[str, int]:
        """Number of effects "claimed" (at it, or cut off) and "done"."""
        query = sa.select(effects.c.state, sa.func.count()).group_by(effects.c.state)
        with self._engine.connect() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(query)}

    def effect_times(self) -> list[EffectTime]:
        """When each effect was begun and done, in the order they were begun."""
        query = sa.select(effects.c.key, effects.c.created_at, effects.c.done_at).order_by(effects.c.created_at)
        with self._engine.connect() as connection:
            return [EffectTime(key=row[0], begun_at=row[1], done_at=row[2]) for row in connection.execute(query)]

    def invoices(self) -> list[InvoiceRecord]:
        """Every invoice, by number."""
        size = sa.func.length(invoices.c.content).label("size_bytes")
        query = sa.select(invoices.c.order_id, invoices.c.number, size, invoices.c.created_at)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(invoices.c.number))
            return [InvoiceRecord(**row) for row in rows.mappings()]

    def invoice(self, order_id: str) -> bytes | None:
        """The PDF of an order's invoice; None where there is none."""
        return read_invoice(self._engine, order_id)

    def close(self) -> None:
        """Let the database go."""
        self._engine.dispose()
