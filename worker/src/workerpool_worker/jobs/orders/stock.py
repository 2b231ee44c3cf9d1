"""How much is there of each article, and taking from it without ever taking what is not there."""

from __future__ import annotations

import time
from collections.abc import Iterable

import sqlalchemy as sa

from workerpool_worker.jobs.orders.tables import stock, stock_movements
from workerpool_worker.models import OrderLine
from workerpool_worker.runtime.database import insert_once


def set_stock(engine: sa.Engine, sku: str, quantity: int) -> None:
    """Set the quantity of an article, whether it exists yet or not."""
    if quantity < 0:
        raise ValueError(f"quantity of {sku} must not be negative (got {quantity})")
    with engine.begin() as connection:
        if not insert_once(connection, stock, {"sku": sku, "quantity": quantity}, on="sku"):
            connection.execute(stock.update().where(stock.c.sku == sku).values(quantity=quantity))


def fill_up(engine: sa.Engine, needed: dict[str, int], *, to: int) -> None:
    """Where there is less of an article than needed, set it to `to`; elsewhere change nothing.

    So it may be done while orders are taken in, and again: what they moved stays accounted for while there is enough.
    """
    with engine.begin() as connection:
        for sku, quantity in sorted(needed.items()):
            if not insert_once(connection, stock, {"sku": sku, "quantity": max(to, quantity)}, on="sku"):
                short = stock.update().where(stock.c.sku == sku, stock.c.quantity < quantity)
                connection.execute(short.values(quantity=max(to, quantity)))


def read_stock(engine: sa.Engine) -> dict[str, int]:
    """Quantities by article."""
    with engine.connect() as connection:
        return {row.sku: row.quantity for row in connection.execute(sa.select(stock).order_by(stock.c.sku))}


def wanted(lines: Iterable[OrderLine]) -> dict[str, int]:
    """Quantity by article, articles named twice added up, in one order for every transaction: no deadlocks."""
    total: dict[str, int] = {}
    for line in lines:
        total[line.sku] = total.get(line.sku, 0) + line.quantity
    return dict(sorted(total.items()))


def reserve(connection: sa.Connection, order_id: str, quantities: dict[str, int]) -> str | None:
    """Take all or nothing, in the caller's transaction; the first article that is short, or None when all was taken."""
    with connection.begin_nested() as part:
        for sku, quantity in quantities.items():
            # Check and take in one statement: between a SELECT and an UPDATE another order would fit.
            taken = connection.execute(
                stock.update()
                .where(stock.c.sku == sku, stock.c.quantity >= quantity)
                .values(quantity=stock.c.quantity - quantity)
            )
            if taken.rowcount != 1:
                part.rollback()
                return sku
            _move(connection, order_id, sku, "reserve", -quantity)
    return None


def release(connection: sa.Connection, order_id: str) -> None:
    """Give back what an order had reserved, in the caller's transaction."""
    reserved = connection.execute(
        sa.select(stock_movements.c.sku, stock_movements.c.quantity)
        .where(stock_movements.c.order_id == order_id, stock_movements.c.kind == "reserve")
        .order_by(stock_movements.c.sku)
    ).all()
    for sku, quantity in reserved:
        connection.execute(stock.update().where(stock.c.sku == sku).values(quantity=stock.c.quantity - quantity))
        _move(connection, order_id, sku, "release", -quantity)


def _move(connection: sa.Connection, order_id: str, sku: str, kind: str, quantity: int) -> None:
    connection.execute(
        stock_movements.insert().values(order_id=order_id, sku=sku, kind=kind, quantity=quantity, at=time.time())
    )
