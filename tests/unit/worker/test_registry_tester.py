"""The tester for jobs of one's own finds what a worker would trip over."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from workerpool_worker.api import (
    Email,
    Job,
    JobContext,
    JobSpec,
    Outcome,
    PermanentError,
    TransientError,
    create_missing,
    once_in_transaction,
)
from workerpool_worker.registry_checks import RegistryError
from workerpool_worker.testing import JobTester, Killed

pytestmark = pytest.mark.unit

metadata = sa.MetaData()
notes = sa.Table("notes", metadata, sa.Column("text", sa.String(50)))
behaviour: list[Callable[[JobContext, Any], Any]] = []


class Note(Job):
    task = "shop.note"
    queue = "shop"
    prefix = "note"
    text: str = "hello"
    amount: float | None = None


JOBS = (JobSpec(Note, f"{__name__}:run"),)


def run(context: JobContext, job: Note) -> Any:
    create_missing(context.engine, metadata)
    return behaviour[-1](context, job)


def carelessly(context: JobContext, job: Note) -> Outcome:
    with context.engine.begin() as connection:
        connection.execute(notes.insert().values(text=job.text))
    return {"outcome": "noted"}


def carefully(context: JobContext, job: Note) -> Outcome:
    def work(connection: sa.Connection) -> dict[str, Any]:
        connection.execute(notes.insert().values(text=job.text))
        return {"outcome": "noted"}

    result, did_it = once_in_transaction(context.engine, f"note:{job.id}", job.arguments(), work, owner=context.job_id)
    context.publish(Email(id=job.id, to="a@example.org", subject="Noted", text=job.text))
    context.progress(100, "noted")
    return result if did_it else result | {"repeated": True}


def worker_that(how: Callable[[JobContext, Any], Any], **more: Any) -> JobTester:
    behaviour.append(how)
    return JobTester(JOBS, **more)


def rows(tester: JobTester) -> int:
    with tester.engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(notes)).scalar_one())


def test_a_careful_job_passes() -> None:
    with worker_that(carefully) as tester:
        assert tester.check_once(Note(id="1")) == {"outcome": "noted"}
        assert rows(tester) == 1
        assert [job.job_id for job in tester.published] == ["email-1", "email-1"]
        assert tester.progress == [(100, "noted"), (100, "noted")]


def test_a_careless_one_is_told_what_it_doubles() -> None:
    with worker_that(carelessly) as tester:
        with pytest.raises(AssertionError, match=r"note-1: done again, it changed the table notes: .*hello"):
            tester.check_once(Note(id="1"))
        tester.check_once(Note(id="2"), except_tables=["notes"])


def test_a_follow_up_with_a_new_id_each_time_is_found() -> None:
    ids = iter("abcd")

    def publish(context: JobContext, _job: Note) -> Outcome:
        context.publish(Email(id=next(ids), to="a@example.org", subject="x", text="x"))
        return {"outcome": "noted"}

    with worker_that(publish) as tester, pytest.raises(AssertionError, match="it published another job: Email"):
        tester.check_once(Note(id="1"))


def test_a_kill_loses_the_transaction_and_nothing_before_it() -> None:
    def twice(context: JobContext, job: Note) -> Outcome:
        try:
            carelessly(context, job)
            return carelessly(context, job)
        except Exception:  # noqa: BLE001 - what a kill must get past
            return {"outcome": "survived"}

    with worker_that(twice) as tester:
        # The first commit is that of its tables.
        with pytest.raises(Killed, match="at commit 3"):
            tester.run(Note(id="1"), killed_at_commit=3)
        assert rows(tester) == 1
        tester.run(Note(id="1"))
        assert rows(tester) == 3
        with pytest.raises(AssertionError, match="over after 3 commits and was not killed at commit 9"):
            tester.run(Note(id="1"), killed_at_commit=9)
        assert tester.run(Note(id="1")) == {"outcome": "noted"}


def test_a_claim_left_by_a_kill_is_taken_over_by_the_redelivered_try_only() -> None:
    done: list[str] = []

    def charge(context: JobContext, job: Note) -> Outcome:
        with context.effect(f"charge:{job.id}", job.arguments()) as claimed:
            if claimed.already_done:
                return {"outcome": "charged", "repeated": True}
            done.append(job.id)
            return claimed.done({"outcome": "charged"})

    with worker_that(charge) as tester:
        with pytest.raises(Killed):
            tester.run(Note(id="1"), killed_at_commit=3)
        with pytest.raises(TransientError, match="another attempt is at it"):
            tester.run(Note(id="1"))
        assert tester.run(Note(id="1"), redelivered=True) == {"outcome": "charged"}
        assert tester.run(Note(id="1"))["repeated"] is True
    assert done == ["1", "1"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [(None, "a job answers with a dict"), ("done", "not with 'done'"), ({"at": object()}, "the outcome is no JSON")],
)
def test_an_answer_that_cannot_be_kept_is_found(answer: Any, says: str) -> None:
    with worker_that(lambda *_: answer) as tester, pytest.raises(AssertionError, match=says):
        tester.run(Note(id="1"))


def test_a_message_that_json_changes_is_found() -> None:
    with worker_that(carelessly) as tester, pytest.raises(AssertionError, match="another one after JSON"):
        tester.run(Note(id="1", amount=float("nan")))


def test_progress_has_its_bounds() -> None:
    with (
        worker_that(lambda context, _: context.progress(101, "x")) as tester,
        pytest.raises(AssertionError, match="0 to 100, not to 101"),
    ):
        tester.run(Note(id="1"))


def test_errors_come_as_the_worker_sees_them() -> None:
    def locked(*_: object) -> None:
        raise sa.exc.OperationalError("select", {}, sqlite3.OperationalError("database is locked"))

    def refused(*_: object) -> None:
        raise PermanentError("never")

    with worker_that(locked) as tester, pytest.raises(TransientError, match="database is locked"):
        tester.run(Note(id="1"))
    with worker_that(refused) as tester, pytest.raises(PermanentError, match="never"):
        tester.run(Note(id="1"))


def test_settings_are_those_of_the_test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENT_PROVIDER", "stripe")
    seen: list[Any] = []

    def look(context: JobContext, _job: Note) -> Outcome:
        seen.append((context.settings.payment_provider, context.settings.concurrency, threading.current_thread().name))
        return {"outcome": "looked"}

    with worker_that(look, environ={"WORKERPOOL_CONCURRENCY": "3"}) as tester:
        tester.run(Note(id="1"))
    assert seen == [("sandbox", 3, threading.current_thread().name)]


def test_two_testers_share_nothing() -> None:
    with worker_that(carelessly) as one, worker_that(carelessly) as other:
        one.run(Note(id="1"))
        other.run(Note(id="1"))
        assert (rows(one), rows(other)) == (1, 1)


def test_a_job_the_worker_would_refuse_is_refused() -> None:
    with pytest.raises(RegistryError, match="JobTester: the code of Note must be module:function"):
        JobTester((JobSpec(Note, "nowhere"),))
    with JobTester() as tester, pytest.raises(AssertionError, match=r"Note is not among the jobs: JobTester\(JOBS\)"):
        tester.run(Note(id="1"))
