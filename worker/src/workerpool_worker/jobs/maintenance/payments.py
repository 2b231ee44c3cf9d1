"""Charges without a final answer, and orders nobody asked the money of."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import sqlalchemy as sa

from workerpool_worker.broker.connect import client_for
from workerpool_worker.jobs.maintenance.whereabouts import look_for
from workerpool_worker.jobs.orders.tables import orders
from workerpool_worker.jobs.payments.books import provider_charges
from workerpool_worker.models import Payment, Verify
from workerpool_worker.runtime.context import JobContext
from workerpool_worker.runtime.database import reading
from workerpool_worker.runtime.idempotency import effects

_AT_ONCE = 500
_SELDOM_S = 3_600.0
_ASKED_FOR_S = 86_400.0
_NAMED = 10

_log = logging.getLogger("workerpool_worker.maintenance")


def verify(context: JobContext, now_s: float) -> Mapping[str, int]:
    """Ask the provider about charges that have no final answer, less often the longer they are without one."""
    wanted = _unsettled(context.engine, now_s, context.settings.recover_after_seconds)
    for payment_id in wanted:
        context.publish(Verify(id=payment_id))
    return {"verified": len(wanted)}


def charge(context: JobContext, now_s: float) -> Mapping[str, int]:
    """Find orders that nobody asks the money of: reserved, no charge known, and its job nowhere.

    It cannot be sent again from here, because no payment token is kept. The shop can: it sends the order again, under
    its id, and the order sends its payment again.
    """
    candidates = _unpaid(context.engine, now_s - context.settings.recover_after_seconds)
    if not candidates:
        return {"orders_without_payment": 0}
    jobs = {f"{Payment.prefix}-{order_id}": order_id for order_id in candidates}
    with client_for(context.settings) as client:
        found = look_for(context.engine, client, jobs, queues=context.settings.queues)
    # What is in the dead letters is somebody's to requeue, and shows there.
    stuck = sorted(jobs[job_id] for job_id in found.gone - found.letters.keys())
    if stuck:
        _log.error(
            "%d orders are reserved and their payments are nowhere; send these orders again under their ids",
            len(stuck),
            extra={"fields": {"orders": stuck[:_NAMED]}},
        )
    return {"orders_without_payment": len(stuck)}


def _unsettled(engine: sa.Engine, now_s: float, after_s: float) -> list[str]:
    """Asked for a day at the most (who never answers is in the report), pending ones for as long as it takes."""
    table = provider_charges
    query = (
        sa.select(table.c.payment_id, table.c.created_at, table.c.updated_at)
        .where(
            table.c.updated_at < now_s - after_s,
            sa.or_(
                table.c.status == "pending",
                sa.and_(table.c.status == "asked", table.c.created_at > now_s - _ASKED_FOR_S),
            ),
        )
        .order_by(table.c.updated_at)
    )
    due: list[str] = []
    with reading(engine) as connection:
        for payment_id, created_s, updated_s in connection.execute(query):
            # As long again as it has been waited for, once an hour at the least.
            wait_s = min(max(updated_s - created_s, after_s), _SELDOM_S)
            if now_s - updated_s >= wait_s:
                due.append(payment_id)
            if len(due) >= _AT_ONCE:
                break
    return due


def _unpaid(engine: sa.Engine, before_s: float) -> list[str]:
    known = sa.or_(provider_charges.c.order_id == orders.c.id, provider_charges.c.payment_id == orders.c.id)
    begun = effects.c.key == sa.literal("payment:").concat(orders.c.id)
    query = (
        sa.select(orders.c.id)
        .where(
            orders.c.state == "reserved",
            orders.c.total_minor > 0,
            orders.c.updated_at < before_s,
            ~sa.exists().where(known),
            ~sa.exists().where(begun),
        )
        .order_by(orders.c.updated_at)
        .limit(_AT_ONCE)
    )
    with reading(engine) as connection:
        return list(connection.execute(query).scalars())
