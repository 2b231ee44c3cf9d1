"""Run a job here and now, without Redis: for the unit tests of jobs of one's own.

    def test_a_greeting_is_kept_once() -> None:
        with JobTester(JOBS) as tester:
            assert tester.check_once(Greeting(id="1", name="Ada")) == {"outcome": "greeted"}

The job gets a database of its own (SQLite in memory unless another is named) with the worker's tables in it. What it
publishes and how far it says it is are kept in lists.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from workerpool_worker import registry
from workerpool_worker.models import Job
from workerpool_worker.registry import JobSpec
from workerpool_worker.runtime.attempt import code_of
from workerpool_worker.runtime.context import JobContext, Outcome
from workerpool_worker.runtime.database import create_tables, make_engine, transient_outside_errors
from workerpool_worker.settings import load_settings

__all__ = ["JobTester", "Killed"]

_Rows = dict[str, list[str]]


class Killed(BaseException):
    """The try ended as by SIGKILL: nothing caught it, and what was not committed is gone."""


class JobTester:
    """A worker for one test.

    Args:
        jobs: The jobs under test; the bundled ones are known already.
        environ: What `context.settings` is made of. This process's own environment is not looked at.
        database_url: SQLite in memory, or a database the test brings. One in memory is one thread's: a job with
            threads of its own needs a file.

    Attributes:
        engine: The database, to look at what the job did.
        published: The follow-up jobs, in order, every time they were published.
        progress: What the job said of how far it is: (percent, message).

    Raises:
        RegistryError: the worker would refuse one of the jobs.
    """

    def __init__(
        self,
        jobs: Iterable[JobSpec] = (),
        *,
        environ: Mapping[str, str] | None = None,
        database_url: str = "sqlite://",
    ) -> None:
        known = registry.added(registry.registered(), tuple(jobs), "JobTester")
        self._specs = {entry.spec.message: entry.spec for entry in known}
        self._settings = load_settings({**(environ or {}), "DATABASE_URL": database_url})
        self.published: list[Job] = []
        self.progress: list[tuple[float, str]] = []
        self.engine = make_engine(self._settings.database)
        create_tables(self.engine)

    def run(self, job: Job, *, redelivered: bool = False, killed_at_commit: int | None = None) -> Outcome:
        """One try of a job; what it answers. The errors it raises come through.

        Args:
            job: The message; it goes through JSON, as on its way through Redis.
            redelivered: Whether the try before this one was cut off.
            killed_at_commit: The try dies at its nth commit, and loses that transaction.

        Raises:
            Killed: as asked for.
            AssertionError: the message or the outcome is no JSON, or the try had fewer commits.
        """
        context = JobContext(
            settings=self._settings,
            engine=self.engine,
            job_id=job.job_id,
            redelivered=redelivered,
            publish=lambda follow_up: self.published.append(_through_json(follow_up)),
            progress=self._told,
        )
        code = code_of(self._spec(job))
        with transient_outside_errors(), self._killed_at(killed_at_commit):
            outcome = code(context, _through_json(job))
        return _checked_outcome(outcome)

    def check_once(self, job: Job, *, except_tables: Collection[str] = ()) -> Outcome:
        """Run a job, then again as a worker does that cannot know that it was done; the first outcome.

        Raises:
            AssertionError: the second time changed the database or published something new.
        """
        outcome = self.run(job)
        before, sent = self._rows(except_tables), list(self.published)
        self.run(job, redelivered=True)
        for follow_up in self.published[len(sent) :]:
            # The same job again is dropped by whoever has it done: its id is the same.
            if follow_up not in sent:
                raise AssertionError(f"{job.job_id}: done again, it published another job: {follow_up!r}")
        after = self._rows(except_tables)
        for table in sorted(before.keys() | after.keys()):
            if before.get(table) != after.get(table):
                raise AssertionError(
                    f"{job.job_id}: done again, it changed the table {table}: {before.get(table)} -> {after.get(table)}"
                )
        return outcome

    def close(self) -> None:
        """Let the database go."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _spec(self, job: Job) -> JobSpec:
        if type(job) not in self._specs:
            raise AssertionError(f"{type(job).__name__} is not among the jobs: JobTester(JOBS)")
        return self._specs[type(job)]

    def _told(self, percent: float, message: str) -> None:
        if not 0 <= percent <= 100:  # noqa: PLR2004 - per cent
            raise AssertionError(f"progress goes from 0 to 100, not to {percent}")
        self.progress.append((percent, message))

    @contextmanager
    def _killed_at(self, number: int | None) -> Iterator[None]:
        if number is None:
            yield
            return
        commits = 0

        def on_commit(_connection: sa.Connection) -> None:
            nonlocal commits
            commits += 1
            if commits == number:
                raise Killed(f"at commit {number}")

        sa.event.listen(self.engine, "commit", on_commit)
        try:
            yield
        finally:
            sa.event.remove(self.engine, "commit", on_commit)
        raise AssertionError(f"the try was over after {commits} commits and was not killed at commit {number}")

    def _rows(self, except_tables: Collection[str]) -> _Rows:
        tables = sa.MetaData()
        tables.reflect(self.engine)
        with self.engine.connect() as connection:
            return {
                name: sorted(str(tuple(row)) for row in connection.execute(sa.select(table)))
                for name, table in tables.tables.items()
                if name not in except_tables
            }


def _through_json(job: Job) -> Job:
    copied = type(job).model_validate(json.loads(json.dumps(job.arguments())))
    if copied != job:
        raise AssertionError(f"the message is another one after JSON: {job!r} -> {copied!r}")
    return copied


def _checked_outcome(outcome: Any) -> Outcome:
    if not isinstance(outcome, dict):
        raise AssertionError(  # noqa: TRY004 - what the test finds wrong with the job
            f"a job answers with a dict such as {{'outcome': 'done'}}, not with {outcome!r}"
        )
    try:
        json.dumps(outcome)
    except TypeError as error:
        raise AssertionError(f"the outcome is no JSON: {error}: {outcome!r}") from error
    return outcome
