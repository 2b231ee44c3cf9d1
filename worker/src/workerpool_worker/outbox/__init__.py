"""The transactional outbox: a job that commits together with what it is about, or not at all.

    with engine.begin() as connection:
        connection.execute(orders.insert().values(id="1001", ...))
        outbox.add(connection, Order(id="1001", ...))

Once that has committed, a relay (`workerpool-worker relay`) puts the job into Redis, however long Redis is away. It may
do so twice where it is killed in between; the job's id is the same, so its effects happen once.

A program without SQLAlchemy takes the statement and its parameters from `insert_statement`.
"""

from workerpool_worker.outbox.adding import SQL, add, insert_statement

__all__ = ["SQL", "add", "insert_statement"]
