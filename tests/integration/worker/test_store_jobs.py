"""Writing and reading the status of jobs, on SQLite and on PostgreSQL, in order and out of it, by many at once."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from celery.exceptions import SoftTimeLimitExceeded

from tests.support.databases import emptied
from workerpool_worker.runtime.database import create_tables, make_engine
from workerpool_worker.store.jobs import LARGEST_RESULT, begun, ended, progressed, waiting
from workerpool_worker.store.queries import counts, find, listing
from workerpool_worker.store.records import Ending, JobRecord, StatusError, Try
from workerpool_worker.store.tables import jobs

pytestmark = pytest.mark.integration

SENT = 1_000.0


@pytest.fixture
def engine(database: sa.Engine) -> sa.Engine:
    create_tables(database)
    return database


def a_try(attempt: int = 1, *, began: float = SENT + 1, job_id: str = "order-1", **more: Any) -> Try:
    facts: dict[str, Any] = {"task": "order.process", "queue": "order", "enqueued_at": SENT, "worker": "w1"} | more
    return Try(job_id=job_id, attempt=attempt, started_at=began, **facts)


def known(engine: sa.Engine, job_id: str = "order-1") -> JobRecord:
    found = find(engine, job_id)
    assert found is not None
    return found


def test_a_job_from_the_sending_to_the_end(engine: sa.Engine) -> None:
    assert find(engine, "order-1") is None
    with engine.begin() as connection:
        waiting(connection, job_id="order-1", task="order.process", queue="order", enqueued_at=SENT, correlation_id="c")
    assert known(engine).state == "waiting"
    assert (known(engine).attempts, known(engine).started_at) == (0, None)

    assert begun(engine, a_try(1))
    assert progressed(engine, "order-1", 40, "page 4 of 10", attempt=1, at=SENT + 2)
    assert (known(engine).state, known(engine).percent, known(engine).message) == ("active", 40.0, "page 4 of 10")

    put_off = Ending(state="delayed", at=SENT + 3, error_class="TransientError", error="away", due_at=SENT + 9)
    assert ended(engine, a_try(1), put_off)
    found = known(engine)
    assert (found.state, found.due_at, found.finished_at, found.percent) == ("delayed", SENT + 9, None, 40.0)

    assert begun(engine, a_try(2, began=SENT + 9, worker="w2"))
    found = known(engine)
    assert (found.state, found.attempts, found.percent, found.message, found.due_at) == ("active", 2, 0.0, None, None)
    assert (found.error_class, found.error) == ("TransientError", "away"), "the last error stays to be seen"

    assert ended(
        engine, a_try(2, began=SENT + 9, worker="w2"), Ending(state="completed", at=SENT + 10, result={"a": 1})
    )
    assert known(engine) == JobRecord(
        id="order-1", task="order.process", queue="order", state="completed", attempts=2, percent=100.0,
        result={"a": 1}, correlation_id="c", worker="w2", enqueued_at=SENT, started_at=SENT + 9, finished_at=SENT + 10,
        updated_at=SENT + 10,
    )  # fmt: skip


def test_what_the_caller_rolls_back_is_not_waiting(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        waiting(connection, job_id="j", task="t", queue="q", enqueued_at=SENT, due_at=SENT + 60)
        connection.rollback()
    assert find(engine, "j") is None
    with engine.begin() as connection:
        waiting(connection, job_id="j", task="t", queue="q", enqueued_at=SENT, due_at=SENT + 60)
    assert (known(engine, "j").state, known(engine, "j").due_at) == ("delayed", SENT + 60)


Write = Callable[[sa.Engine], bool]


def history() -> list[Write]:
    """A job whose first try was put off, whose second one's worker was taken for dead, whose third one completed."""
    return [
        lambda e: begun(e, a_try(1)),
        lambda e: ended(e, a_try(1), Ending(state="delayed", at=SENT + 2, error="one", due_at=SENT + 3)),
        lambda e: begun(e, a_try(2, began=SENT + 3)),
        lambda e: begun(e, a_try(3, began=SENT + 5)),
        lambda e: ended(e, a_try(3, began=SENT + 5), Ending(state="completed", at=SENT + 6, result={"by": 3})),
        lambda e: ended(e, a_try(2, began=SENT + 3), Ending(state="failed", at=SENT + 8, error="late")),
    ]


def test_in_whatever_order_they_come_the_latest_try_is_what_is_known(engine: sa.Engine) -> None:
    for order in itertools.permutations(history()):
        with engine.begin() as connection:
            connection.execute(jobs.delete())
        for write in order:
            write(engine)
        found = known(engine)
        assert (found.state, found.attempts, found.result, found.error) == ("completed", 3, {"by": 3}, None)


COMPLETED = Ending(state="completed", at=SENT + 5, result={})
FAILED = Ending(state="failed", at=SENT + 5, error="no")
DELAYED = Ending(state="delayed", at=SENT + 5, due_at=SENT + 9)


@pytest.mark.parametrize("over", [COMPLETED, FAILED])
def test_what_is_over_is_not_begun_again_by_the_same_or_an_older_try(engine: sa.Engine, over: Ending) -> None:
    assert ended(engine, a_try(2), over)
    before = known(engine)
    for attempt in (1, 2):
        assert not begun(engine, a_try(attempt))
        assert not ended(engine, a_try(attempt), DELAYED)
        assert not ended(engine, a_try(attempt), over), "the first end is the one that counts"
        assert not progressed(engine, "order-1", 7, "late", attempt=attempt, at=SENT + 9)
    with engine.begin() as connection:
        waiting(connection, job_id="order-1", task="t", queue="q", enqueued_at=SENT)
    assert known(engine) == before
    assert begun(engine, a_try(3)), "a newer try is news"


def test_of_one_try_that_two_workers_did_completed_counts(engine: sa.Engine) -> None:
    assert ended(engine, a_try(1), FAILED)
    assert ended(engine, a_try(1), COMPLETED)
    assert not ended(engine, a_try(1), FAILED)
    assert known(engine).state == "completed"


def test_a_try_that_was_put_off_without_being_spent_begins_again(engine: sa.Engine) -> None:
    assert begun(engine, a_try(1))
    assert ended(engine, a_try(1), DELAYED)
    assert not begun(engine, a_try(1)), "the first beginning, come late"
    assert begun(engine, a_try(1, began=SENT + 9))
    assert known(engine).state == "active"


def test_a_job_that_is_sent_again_is_a_new_one(engine: sa.Engine) -> None:
    assert ended(engine, a_try(9), COMPLETED)
    assert begun(engine, a_try(1, enqueued_at=SENT + 100, began=SENT + 101))
    found = known(engine)
    assert (found.state, found.attempts, found.enqueued_at, found.result) == ("active", 1, SENT + 100, None)
    assert not ended(engine, a_try(10), COMPLETED), "a try of the earlier sending"


def test_a_failed_job_that_is_requeued_begins_again_whatever_its_number(engine: sa.Engine) -> None:
    assert ended(engine, a_try(20), FAILED)
    assert not begun(engine, a_try(19, began=SENT + 4)), "it began before the end: it is late"
    assert begun(engine, a_try(1, began=SENT + 60))
    assert ended(engine, a_try(1, began=SENT + 60), Ending(state="completed", at=SENT + 61))
    assert (known(engine).state, known(engine).attempts) == ("completed", 1)


def test_a_message_that_does_not_say_when_it_was_sent(engine: sa.Engine) -> None:
    assert begun(engine, a_try(1, enqueued_at=None))
    assert ended(engine, a_try(1, enqueued_at=None), COMPLETED)
    assert not begun(engine, a_try(1, enqueued_at=None))
    assert begun(engine, a_try(2, enqueued_at=SENT)), "a retry was stamped"
    assert not begun(engine, a_try(1, enqueued_at=None)), "the same sending"


def test_progress_is_of_the_try_that_runs(engine: sa.Engine) -> None:
    assert not progressed(engine, "order-1", 10, "nobody has begun", attempt=1, at=SENT)
    assert begun(engine, a_try(2))
    assert not progressed(engine, "order-1", 90, "the one before", attempt=1, at=SENT + 2)
    for said, kept in ((-5, 0.0), (250, 100.0), (float("nan"), 0.0), (33.5, 33.5)):
        assert progressed(engine, "order-1", said, "x" * 9_000, attempt=2, at=SENT + 3)
        assert known(engine).percent == kept
    assert len(known(engine).message or "") == 500


def test_whatever_text_comes_it_is_kept_in_bounds(engine: sa.Engine) -> None:
    odd = "a\0b\ud800c" + "é" * 9_000
    this = a_try(1, job_id="j" * 900, task=odd, queue=odd, worker=odd, correlation_id=odd)
    ending = Ending(state="failed", at=SENT + 2, error_class=odd, error=odd, result={"x": "y" * LARGEST_RESULT})
    assert ended(engine, this, ending)
    found = known(engine, "j" * 900)
    assert found.error is not None
    assert found.error.startswith("ab?cé")
    assert (len(found.error), len(found.task)) == (3_999, 299)
    assert found.result == {"too_large": True, "characters": LARGEST_RESULT + 9}
    assert ended(engine, a_try(1, job_id="i"), Ending(state="completed", at=SENT, result={"at": SENT, "who": {1}}))
    assert known(engine, "i").result == {"at": SENT, "who": "{1}"}


def test_a_database_that_is_away_is_one_kind_of_error(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE jobs")
    with pytest.raises(StatusError, match=r"the status could not be written: .*jobs") as caught:
        begun(engine, a_try(1))
    assert "\n" not in str(caught.value)
    nowhere = make_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(StatusError, match="could not be written"):
        ended(nowhere, a_try(1), COMPLETED)
    nowhere.dispose()


def test_a_write_leaves_no_transaction_and_no_mode_behind(engine: sa.Engine) -> None:
    for number in range(5):
        begun(engine, a_try(1, job_id=f"j{number}"))
    with engine.connect() as connection:
        connection.execute(jobs.delete())
        connection.rollback()
    assert sum(count.count for count in counts(engine)) == 5, "a connection came back in autocommit mode"


def test_a_time_limit_in_the_middle_of_a_write_leaves_no_mode_behind(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(emptied(postgres))
    create_tables(engine)

    def cut_off(*_: object) -> None:
        raise SoftTimeLimitExceeded

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "execute", cut_off)
        with pytest.raises(SoftTimeLimitExceeded):
            begun(engine, a_try(1))
    # As many as the pool may hold: one of them would be the one that was cut off.
    with contextlib.ExitStack() as stack:
        for connection in [stack.enter_context(engine.connect()) for _ in range(3)]:
            driver: Any = connection.connection.driver_connection
            assert driver.autocommit is False
    engine.dispose()


def test_pages_show_every_job_once_though_others_change(engine: sa.Engine) -> None:
    for number in range(25):
        # Many at the same moment: the time alone gives no order.
        this = a_try(1, job_id=f"j{number:02}", queue="a" if number % 2 else "b")
        ended(engine, this, Ending(state="completed" if number % 3 else "failed", at=SENT + number // 5))
    seen: list[str] = []
    cursor = None
    while True:
        page = listing(engine, limit=4, cursor=cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
        begun(engine, a_try(2, job_id=seen[0], began=SENT + 1_000))
    assert sorted(seen) == [f"j{number:02}" for number in range(25)]
    assert seen == sorted(seen, reverse=True)
    only = listing(engine, state="failed", queue="a", since=SENT + 1, before=SENT + 3, task="order.process")
    assert [job.id for job in only.jobs] == ["j09"]
    assert listing(engine, task="other").jobs == ()
    assert listing(engine, limit=25).cursor is None
    for wrong in ("", "x", "x~y", "~"):
        with pytest.raises(ValueError, match="is no cursor"):
            listing(engine, cursor=wrong)


def test_counts_by_queue_and_state(engine: sa.Engine) -> None:
    for number, queue in enumerate(["email", "order", "order"]):
        ended(engine, a_try(1, job_id=str(number), queue=queue), COMPLETED)
    begun(engine, a_try(1, job_id="9", queue="email"))
    found = [(count.queue, count.state, count.count) for count in counts(engine)]
    assert found == [("email", "active", 1), ("email", "completed", 1), ("order", "completed", 2)]
