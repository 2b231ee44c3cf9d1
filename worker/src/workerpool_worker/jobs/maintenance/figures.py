"""The figures of a day: from the SQL tables what was done, from Redis what waits and what died."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from workerpool_worker.jobs.orders.tables import orders
from workerpool_worker.jobs.payments.books import provider_charges, provider_refunds
from workerpool_worker.messages import keys
from workerpool_worker.messages.dead_letters import DeadLetters
from workerpool_worker.messages.headers import ENQUEUED_AT
from workerpool_worker.runtime.database import reading
from workerpool_worker.store.places import PRIORITY_STEPS
from workerpool_worker.store.tables import jobs

_SEPARATOR = "\x06\x16"


@dataclass(frozen=True, kw_only=True)
class Day:
    """From its first moment to the first of the next, Unix seconds. Some days have 23 or 25 hours."""

    begins_s: float
    ends_s: float

    @classmethod
    def of(cls, day: dt.date, zone: dt.tzinfo) -> Day:
        """The day by the clocks of a zone."""
        first, last = (dt.datetime.combine(it, dt.time(), zone) for it in (day, day + dt.timedelta(days=1)))
        return cls(begins_s=first.timestamp(), ends_s=last.timestamp())


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """How many jobs of a queue ended in a state."""

    queue: str
    state: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Money:
    """How many of a state, and their sum in the currency's minor unit."""

    currency: str
    state: str
    count: int
    amount_minor: int


@dataclass(frozen=True, kw_only=True)
class Done:
    """What the day brought.

    Attributes:
        ended: Jobs that completed or failed.
        orders: Those taken in.
        charges: Those asked for, as they stand now.
        refunds: The same.
    """

    ended: tuple[Jobs, ...]
    orders: tuple[Money, ...]
    charges: tuple[Money, ...]
    refunds: tuple[Money, ...]


@dataclass(frozen=True, kw_only=True)
class Letters:
    """Dead letters of a queue: all there are, and those of the day."""

    queue: str
    count: int
    of_the_day: int


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What waits in a queue now; the oldest waits for `oldest_minutes`, None where no message says since when."""

    queue: str
    count: int
    delayed: int
    oldest_minutes: int | None


@dataclass(frozen=True, kw_only=True)
class Now:
    """How things stand as the report is made."""

    dead_letters: tuple[Letters, ...]
    waiting: tuple[Waiting, ...]


def of_database(engine: sa.Engine, day: Day) -> Done:
    """What the SQL tables say of a day."""
    count = sa.func.count()
    ended = sa.select(jobs.c.queue, jobs.c.state, count.label("count")).group_by(jobs.c.queue, jobs.c.state)
    refunded = provider_refunds.join(provider_charges, provider_charges.c.payment_id == provider_refunds.c.payment_id)
    with reading(engine) as connection:
        within = _within(jobs.c.finished_at, day)
        rows = connection.execute(ended.where(within).order_by(jobs.c.queue, jobs.c.state)).mappings()
        return Done(
            ended=tuple(Jobs(**row) for row in rows),
            orders=_sums(
                connection,
                orders,
                day,
                currency=orders.c.currency,
                state=orders.c.state,
                amount=orders.c.total_minor,
                at=orders.c.created_at,
            ),
            charges=_sums(
                connection,
                provider_charges,
                day,
                currency=provider_charges.c.currency,
                state=provider_charges.c.status,
                amount=provider_charges.c.amount_minor,
                at=provider_charges.c.created_at,
            ),
            refunds=_sums(
                connection,
                refunded,
                day,
                currency=provider_charges.c.currency,
                state=provider_refunds.c.status,
                amount=provider_refunds.c.amount_minor,
                at=provider_refunds.c.created_at,
            ),
        )


def of_redis(client: Any, queues: Sequence[str], day: Day, *, now_s: float) -> Now:
    """What lies in Redis. Queues are those named and those that ever had a dead letter.

    Raises:
        redis.exceptions.RedisError: Redis cannot be asked.
    """
    letters = DeadLetters(client)
    dead = []
    for queue, count in letters.counts().items():
        of_the_day = client.zcount(keys.dead_letters(queue), day.begins_s, f"({day.ends_s!r}")
        dead.append(Letters(queue=queue, count=count, of_the_day=int(of_the_day)))
    known = sorted({*queues, *letters.queues()})
    waiting = tuple(found for queue in known if (found := _waiting(client, queue, now_s)) is not None)
    return Now(dead_letters=tuple(dead), waiting=waiting)


def _waiting(client: Any, queue: str, now_s: float) -> Waiting | None:
    lists = [queue if not step else f"{queue}{_SEPARATOR}{step}" for step in PRIORITY_STEPS]
    lengths = [int(client.llen(name)) for name in lists]
    delayed = int(client.zcard(keys.delayed(queue)))
    if not sum(lengths) and not delayed:
        return None
    # The end of a list is fetched next: there lies what has waited longest, retries aside.
    oldest = [_sent_s(client.lindex(name, -1)) for name, length in zip(lists, lengths, strict=True) if length]
    known = [sent_s for sent_s in oldest if sent_s is not None]
    minutes = int(max(now_s - min(known), 0) // 60) if known else None
    return Waiting(queue=queue, count=sum(lengths), delayed=delayed, oldest_minutes=minutes)


def _sent_s(raw: bytes | None) -> float | None:
    try:
        sent = json.loads(raw or b"null")["headers"][ENQUEUED_AT]
    except (ValueError, KeyError, TypeError):
        return None
    return float(sent) if isinstance(sent, int | float) else None


def _sums(
    connection: sa.Connection,
    table: sa.FromClause,
    day: Day,
    *,
    currency: sa.ColumnElement[Any],
    state: sa.ColumnElement[Any],
    amount: sa.ColumnElement[Any],
    at: sa.ColumnElement[Any],
) -> tuple[Money, ...]:
    query = (
        sa.select(currency, state, sa.func.count(), sa.func.coalesce(sa.func.sum(amount), 0))
        .select_from(table)
        .where(_within(at, day))
        .group_by(currency, state)
        .order_by(currency, state)
    )
    return tuple(
        Money(currency=row[0], state=row[1], count=int(row[2]), amount_minor=int(row[3]))
        for row in connection.execute(query)
    )


def _within(column: sa.ColumnElement[Any], day: Day) -> sa.ColumnElement[bool]:
    return sa.and_(column >= day.begins_s, column < day.ends_s)
