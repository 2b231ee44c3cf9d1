"""The shop's tables: stock, what moved it, orders, and their invoices."""

from __future__ import annotations

import sqlalchemy as sa

from workerpool_worker.runtime.database import metadata

stock = sa.Table(
    "stock",
    metadata,
    sa.Column("sku", sa.String(128), primary_key=True),
    sa.Column("quantity", sa.Integer, sa.CheckConstraint("quantity >= 0"), nullable=False),
)

stock_movements = sa.Table(
    "stock_movements",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("order_id", sa.String(128), nullable=False),
    sa.Column("sku", sa.String(128), nullable=False),
    # "reserve" takes from the stock (negative), "release" gives back after a declined payment.
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.UniqueConstraint("order_id", "sku", "kind"),
)

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("total_minor", sa.BigInteger, nullable=False),
    sa.Column("refunded_minor", sa.BigInteger, nullable=False, default=0),
    sa.Column("invoice_number", sa.String(40), unique=True),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
)

invoices = sa.Table(
    "invoices",
    metadata,
    sa.Column("order_id", sa.String(128), primary_key=True),
    sa.Column("number", sa.String(40), nullable=False, unique=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    # When it was issued, which is what the PDF says too.
    sa.Column("created_at", sa.Float, nullable=False),
)

counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
