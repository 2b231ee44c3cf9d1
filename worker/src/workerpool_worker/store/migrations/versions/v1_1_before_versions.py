"""1.1: the tables of the time before there were versions. A database that has them keeps them, and what is in them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from workerpool_worker.store.schema import SchemaError

revision = "1.1"
down_revision = None

_TEXT, _FLOAT, _INTEGER, _MONEY = sa.Text, sa.Float, sa.Integer, sa.BigInteger


def upgrade() -> None:
    """Make what is missing."""
    _table(
        "effects",
        _required("key", sa.String(300), primary_key=True),
        _required("params_hash", sa.String(64)),
        _required("state", sa.String(10)),
        _required("owner", sa.String(300)),
        _required("token", _INTEGER),
        _required("lease_until", _FLOAT),
        sa.Column("result", _TEXT),
        _required("created_at", _FLOAT),
        sa.Column("done_at", _FLOAT),
    )
    _shop()
    _payments()
    _sandboxes()


def _shop() -> None:
    _table(
        "stock",
        _required("sku", sa.String(128), primary_key=True),
        sa.Column("quantity", _INTEGER, sa.CheckConstraint("quantity >= 0"), nullable=False),
    )
    _table(
        "stock_movements",
        sa.Column("id", _INTEGER, primary_key=True, autoincrement=True),
        _required("order_id", sa.String(128)),
        _required("sku", sa.String(128)),
        _required("kind", sa.String(10)),
        _required("quantity", _INTEGER),
        _required("at", _FLOAT),
        sa.UniqueConstraint("order_id", "sku", "kind"),
    )
    _table(
        "orders",
        _required("id", sa.String(128), primary_key=True),
        _required("state", sa.String(20)),
        sa.Column("reason", _TEXT),
        _required("customer", _TEXT),
        _required("email", _TEXT),
        _required("currency", sa.String(3)),
        _required("total_minor", _MONEY),
        _required("refunded_minor", _MONEY),
        sa.Column("invoice_number", sa.String(40), unique=True),
        _required("created_at", _FLOAT),
        _required("updated_at", _FLOAT),
    )
    _table(
        "invoices",
        _required("order_id", sa.String(128), primary_key=True),
        _required("number", sa.String(40), unique=True),
        _required("content", sa.LargeBinary),
        _required("created_at", _FLOAT),
    )
    _table("counters", _required("name", sa.String(40), primary_key=True), _required("value", _MONEY))


def _payments() -> None:
    _table(
        "provider_charges",
        _required("payment_id", sa.String(128), primary_key=True),
        _required("provider", sa.String(20)),
        sa.Column("provider_id", sa.String(200)),
        _required("status", sa.String(10)),
        sa.Column("reason", _TEXT),
        sa.Column("action_url", _TEXT),
        _required("amount_minor", _MONEY),
        _required("currency", sa.String(3)),
        sa.Column("order_id", sa.String(128)),
        _required("customer", _TEXT),
        sa.Column("email", _TEXT),
        sa.Column("pending_since", _FLOAT),
        _required("created_at", _FLOAT),
        _required("updated_at", _FLOAT),
    )
    _index("provider_charges", "provider_id")
    _table(
        "provider_refunds",
        _required("refund_id", sa.String(128), primary_key=True),
        _required("payment_id", sa.String(128)),
        _required("provider", sa.String(20)),
        sa.Column("provider_id", sa.String(200)),
        _required("status", sa.String(10)),
        sa.Column("amount_minor", _MONEY),
        _required("created_at", _FLOAT),
        sa.Column("asked_at", _FLOAT),
    )
    _index("provider_refunds", "payment_id")


def _sandboxes() -> None:
    _table(
        "sandbox_ledger",
        _required("idempotency_key", sa.String(200), primary_key=True),
        _required("kind", sa.String(10)),
        _required("payment", sa.String(200)),
        _required("status", sa.String(10)),
        _required("amount_minor", _MONEY),
        _required("currency", sa.String(3)),
        sa.Column("reason", _TEXT),
        _required("at", _FLOAT),
    )
    _index("sandbox_ledger", "payment")
    _table(
        "sandbox_sms",
        sa.Column("id", _INTEGER, primary_key=True, autoincrement=True),
        _required("reference", sa.String(128)),
        _required("to", sa.String(20)),
        _required("text", _TEXT),
        _required("at", _FLOAT),
    )
    _index("sandbox_sms", "reference")


def _required(name: str, kind: Any, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, **more)


def _table(name: str, *parts: sa.schema.SchemaItem) -> None:
    op.create_table(name, *parts, if_not_exists=True)
    # A table of this name may be the shop's own: better to stop here than to write orders into it.
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(name)}
    missing = [part.name for part in parts if isinstance(part, sa.Column) and part.name not in there]
    if missing:
        raise SchemaError(
            f"the table {name} of the database is not this worker's: it has no column {missing[0]}. Give the worker a "
            "database of its own, or on PostgreSQL a schema: DATABASE_URL=...?options=-csearch_path%3Dworkerpool"
        )


def _index(table: str, column: str) -> None:
    op.create_index(f"ix_{table}_{column}", table, [column], if_not_exists=True)
