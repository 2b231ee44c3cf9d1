"""What one write of a job's status costs, beside SQLAlchemy's own way to the same statement.

SQLite in a folder of its own; with a URL as argument, that (PostgreSQL) database, whose table `jobs` it writes to.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.store.jobs import begun, ended, progressed
from workerpool_worker.store.records import Ending, Try
from workerpool_worker.store.tables import jobs

WRITES, ROUNDS = 1_000, 7


def a_try(number: int, attempt: int) -> Try:
    """One try of one of the benchmark's jobs."""
    return Try(
        job_id=f"bench-{number}",
        task="order.process",
        queue="order",
        attempt=attempt,
        enqueued_at=1.0,
        correlation_id=f"bench-{number}",
        worker="shop-1@host",
        started_at=time.time(),
    )


def by_sqlalchemy(engine: sa.Engine) -> Callable[[int, int], object]:
    """The plain way: a Core upsert that SQLAlchemy compiles once and keeps, in `engine.begin()`."""
    make = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    insert = make(jobs)
    names = [column.name for column in jobs.c if column.name != "id"]
    statement = insert.on_conflict_do_update(
        index_elements=["id"],
        set_={name: insert.excluded[name] for name in names},
        where=insert.excluded.attempts >= jobs.c.attempts,
    )
    nothing = dict.fromkeys(names)

    def write(number: int, attempt: int) -> None:
        row = nothing | {"id": f"bench-{number}", "task": "order.process", "queue": "order", "worker": "shop-1@host"}
        row |= {"state": "completed", "stage": 2, "attempts": attempt, "result": '{"outcome": "reserved"}'}
        row |= {"updated_at": time.time(), "finished_at": time.time(), "correlation_id": row["id"]}
        with engine.begin() as connection:
            connection.execute(statement, row)

    return write


def ended_once(engine: sa.Engine) -> Callable[[int, int], object]:
    """The product's."""

    def write(number: int, attempt: int) -> None:
        answer = Ending(state="completed", at=time.time(), result={"outcome": "reserved"})
        ended(engine, a_try(number, attempt), answer)

    return write


def measure(write: Callable[[int, int], object], attempt: int) -> float:
    """Milliseconds a write."""
    began = time.perf_counter()
    for number in range(WRITES):
        write(number, attempt)
    return (time.perf_counter() - began) / WRITES * 1e3


def main(url: str) -> None:
    """Measure in turns, so that what else the machine does meets all alike."""
    engine = make_engine(url)
    create_tables(engine)
    ways: dict[str, Callable[[int, int], object]] = {
        "ended": ended_once(engine),
        "begun": lambda number, attempt: begun(engine, a_try(number, attempt)),
        "progressed": lambda number, attempt: progressed(
            engine, f"bench-{number}", 50, "half", attempt=attempt - 1, at=time.time()
        ),
        "ended, by SQLAlchemy": by_sqlalchemy(engine),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    attempt = 0
    for _ in range(ROUNDS):
        for name, write in ways.items():
            attempt += 1
            found[name].append(measure(write, attempt))
    print(f"{engine.dialect.name}, {WRITES} rows, ms a write: median (best, worst) of {ROUNDS} rounds")
    for name, times in found.items():
        print(f"  {name:<22} {median(times):.3f} ({min(times):.3f}, {max(times):.3f})")
    with engine.begin() as connection:
        connection.execute(jobs.delete().where(jobs.c.id.like("bench-%")))
    engine.dispose()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(f"sqlite:///{folder}/bench.db")
