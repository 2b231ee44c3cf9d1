"""What the clean-up removes and what it leaves, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa

from workerpool_worker.jobs.orders.tables import orders
from workerpool_worker.jobs.payments.books import provider_charges
from workerpool_worker.jobs.sms.sandbox import messages
from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.runtime.idempotency import effects
from workerpool_worker.store.jobs import begun, ended
from workerpool_worker.store.queries import counts, listing
from workerpool_worker.store.records import Ending, Try
from workerpool_worker.store.retention import DAY_S, Pause, Removed, clean_up

pytestmark = pytest.mark.integration

NOW = 1_000 * DAY_S


@pytest.fixture
def engine(database: sa.Engine) -> sa.Engine:
    create_tables(database)
    return database


def clean(
    engine: sa.Engine,
    *,
    days: tuple[float, float] = (7, 30),
    most: tuple[int, int] = (1_000, 1_000),
    pause: Pause = lambda _: None,
    batch: int = 10,
) -> Removed:
    return clean_up(
        engine,
        keep_completed_s=days[0] * DAY_S,
        keep_failed_s=days[1] * DAY_S,
        keep_completed=most[0],
        keep_failed=most[1],
        keep_effects_s=90 * DAY_S,
        now_s=NOW,
        batch=batch,
        pause=pause,
    )


def put(engine: sa.Engine, name: str, state: str, *, days_ago: float, due_in_days: float | None = None) -> None:
    at = NOW - days_ago * DAY_S
    this = Try(job_id=name, task="t", queue="q", attempt=1, started_at=at)
    if state == "active":
        begun(engine, this)
    else:
        due = None if due_in_days is None else NOW + due_in_days * DAY_S
        ended(engine, this, Ending(state=state, at=at, due_at=due))  # type: ignore[arg-type]


def left(engine: sa.Engine) -> set[str]:
    return {job.id for job in listing(engine, limit=10_000).jobs}


def test_statuses_go_by_age(engine: sa.Engine) -> None:
    for days in range(1, 41):
        put(engine, f"c{days}", "completed", days_ago=days)
        put(engine, f"f{days}", "failed", days_ago=days)
    pauses: list[float] = []
    removed = clean(engine, pause=pauses.append)
    assert (removed.completed, removed.failed) == (33, 10)
    assert left(engine) == {f"c{days}" for days in range(1, 8)} | {f"f{days}" for days in range(1, 31)}
    assert len(pauses) >= 3, "a pause after each full batch"
    assert all(0 < pause <= 0.5 for pause in pauses)
    assert clean(engine) == Removed(), "nothing is left to do"


def test_statuses_go_by_number_the_oldest_first(engine: sa.Engine) -> None:
    for number in range(40):
        # Ten at a time at the same moment: the number that is kept is exact all the same.
        put(engine, f"c{number:02}", "completed", days_ago=number // 10)
        put(engine, f"f{number:02}", "failed", days_ago=number // 10)
    removed = clean(engine, most=(15, 0))
    assert (removed.completed, removed.failed) == (25, 40)
    assert left(engine) == {f"c{number:02}" for number in [*range(10), *range(15, 20)]}


def test_what_is_not_over_stays_until_nobody_can_come_back_to_it(engine: sa.Engine) -> None:
    put(engine, "active", "active", days_ago=29)
    put(engine, "gone", "active", days_ago=31)
    put(engine, "delayed", "delayed", days_ago=31, due_in_days=300)
    put(engine, "overdue", "delayed", days_ago=80, due_in_days=-31)
    put(engine, "given-back", "waiting", days_ago=31)
    assert clean(engine, days=(0, 0)).abandoned == 3
    assert left(engine) == {"active", "delayed"}
    assert clean(engine, days=(0, 400)).abandoned == 0


def test_effects_are_forgotten_long_after_they_happened_and_claims_never(engine: sa.Engine) -> None:
    facts = {"params_hash": "h", "owner": "o", "token": 1, "lease_until": 0.0, "created_at": 1.0}
    rows = [
        {"key": f"{state}-{days:03}", "state": state, "done_at": NOW - days * DAY_S if state == "done" else None}
        for state in ("done", "claimed")
        for days in range(80, 105)
    ]
    with engine.begin() as connection:
        connection.execute(effects.insert(), [facts | row for row in rows])
    assert clean(engine).effects == 14
    with engine.connect() as connection:
        keys = set(connection.execute(sa.select(effects.c.key)).scalars())
    assert keys == {f"claimed-{days:03}" for days in range(80, 105)} | {f"done-{days:03}" for days in range(80, 91)}


def charge(payment_id: str, status: str, *, days_ago: float) -> dict[str, object]:
    at = NOW - days_ago * DAY_S
    row: dict[str, object] = {"payment_id": payment_id, "provider": "stripe", "status": status, "amount_minor": 5}
    return row | {"currency": "EUR", "customer": "Ada", "email": "a@x.y", "created_at": at, "updated_at": at}


def test_of_old_charges_the_customer_goes_and_the_books_stay(engine: sa.Engine) -> None:
    order = {"id": "o", "state": "paid", "customer": "Ada", "email": "a@x.y", "currency": "EUR", "total_minor": 5}
    sms = {"reference": "r", "to": "+39333", "text": "Hello"}
    with engine.begin() as connection:
        rows = [charge("old", "succeeded", days_ago=91), charge("new", "succeeded", days_ago=89)]
        rows += [charge("declined", "declined", days_ago=500), charge("waits", "pending", days_ago=500)]
        connection.execute(provider_charges.insert(), [*rows, charge("asked", "asked", days_ago=500)])
        connection.execute(orders.insert(), order | {"refunded_minor": 0, "created_at": 1.0, "updated_at": 1.0})
        connection.execute(messages.insert(), [sms | {"at": NOW - days * DAY_S} for days in (500, 91, 89)])
    removed = clean(engine)
    assert (removed.customers, removed.sms) == (2, 2)
    with engine.connect() as connection:
        books = connection.execute(sa.select(provider_charges).order_by(provider_charges.c.payment_id)).all()
        assert [row.payment_id for row in books] == ["asked", "declined", "new", "old", "waits"]
        assert [row.email for row in books] == ["a@x.y", None, "a@x.y", None, "a@x.y"]
        assert [row.customer for row in books] == ["Ada", "", "Ada", "", "Ada"]
        kept = connection.execute(sa.select(orders)).one()
        assert (kept.customer, kept.email) == ("Ada", "a@x.y"), "an order is a record of the business"
    assert clean(engine) == Removed()


def test_jobs_are_written_while_thousands_are_removed(engine: sa.Engine, database_url: str) -> None:
    row = {"task": "t", "queue": "q", "state": "completed", "stage": 2, "attempts": 1, "updated_at": 1.0}
    with engine.begin() as connection:
        table = sa.table("jobs", *(sa.column(name) for name in ("id", *row)))
        connection.execute(table.insert(), [row | {"id": f"old-{number}"} for number in range(20_000)])
    writer = make_engine(database_url)
    waits: list[float] = []
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            began = time.monotonic()
            put(writer, f"new-{len(waits)}", "completed", days_ago=0)
            waits.append(time.monotonic() - began)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        removed = clean(engine, most=(1_000_000, 1_000), batch=1000, pause=time.sleep)
    finally:
        over.set()
        thread.join()
        writer.dispose()
    assert removed.completed == 20_000
    # Under one long transaction there would be one or two, and on SQLite a failure after 15 s.
    assert len(waits) > 20
    assert sum(count.count for count in counts(engine)) == len(waits), "what was written meanwhile stays"
