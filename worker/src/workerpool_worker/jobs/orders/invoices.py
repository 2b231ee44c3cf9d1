"""Where invoices are kept: in the database, one an order, for as long as the order; and as a file for who wants one.

A pod's disk goes with the pod. The database is what all workers of a pool share, and what is backed up.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from workerpool_worker.jobs.orders.tables import invoices
from workerpool_worker.runtime.database import insert_once


def keep_invoice(
    engine: sa.Engine, order_id: str, *, number: str, issued_at_s: float, render: Callable[[], bytes]
) -> bool:
    """Keep an order's invoice unless there is one; whether this call did. Of two at once the first one's stays."""
    with engine.connect() as connection:
        found = connection.execute(sa.select(invoices.c.order_id).where(invoices.c.order_id == order_id)).first()
    if found is not None:
        return False
    # Outside of any transaction: nobody waits for a PDF.
    row = {"order_id": order_id, "number": number, "content": render(), "created_at": issued_at_s}
    with engine.begin() as connection:
        return insert_once(connection, invoices, row, on="order_id")


def read_invoice(engine: sa.Engine, order_id: str) -> bytes | None:
    """The PDF of an order's invoice; None where there is none."""
    with engine.connect() as connection:
        query = sa.select(invoices.c.content).where(invoices.c.order_id == order_id)
        return connection.execute(query).scalar_one_or_none()


def export(path: Path, content: bytes) -> None:
    """Write the file, atomically: a reader sees all of it or nothing.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
