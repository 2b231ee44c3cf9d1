"""`workerpool-worker migrate`, and what every command says of a database that is too new."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.integration.worker.bench import Bench, until
from tests.support.databases import set_version, version
from workerpool_worker.messages import keys
from workerpool_worker.models import Payment
from workerpool_worker.runtime import database as worker_database
from workerpool_worker.runtime.database import create_tables, engine_for, make_engine
from workerpool_worker.store.schema import HEAD, SchemaError
from workerpool_worker.store.upgrade import upgrade

pytestmark = pytest.mark.integration

NEWER = f"{int(HEAD.split('.')[0]) + 1}.0"
COMMAND = str(Path(sys.executable).with_name("workerpool-worker"))


def test_a_newer_major_is_refused_and_stays_as_it_is(
    database: sa.Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_tables(database)
    set_version(database, NEWER)
    for action in (create_tables, upgrade):
        with pytest.raises(SchemaError, match=f"have version {NEWER}, made by a newer workerpool-worker") as caught:
            action(database)
        assert caught.value.retry_after_s == 30, "a job is tried again when another worker may be there"
    # A process looks once; this one may have looked at the same server before.
    monkeypatch.setattr(worker_database, "_engines", {})
    with pytest.raises(SchemaError):
        engine_for(database_url)
    assert version(database) == [NEWER]
    environment = {**os.environ, "DATABASE_URL": database_url}
    for arguments in (["stock"], ["migrate"], ["migrate", "--check"], ["jobs", "list"], ["jobs", "show", "x"]):
        done = subprocess.run([COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert done.stderr.count("\n") == 1, done.stderr
        assert f"version {NEWER}, made by a newer" in done.stderr


def test_the_command_says_what_is_to_be_done_and_does_it(
    database_url: str, database: sa.Engine, tmp_path: Path
) -> None:
    environment = {**os.environ, "DATABASE_URL": database_url}

    def migrate(*arguments: str) -> tuple[int, str, str]:
        command = [COMMAND, "migrate", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    status, _, error = migrate("--check")
    assert (status, error.count("\n")) == (1, 1)
    assert f"no version, this program needs {HEAD}; run migrate" in error
    assert not (tmp_path / "test.db").exists(), "looking made a database"
    status, said, _ = migrate()
    assert (status, said.rstrip().endswith(f"brought to version {HEAD}")) == (0, True)
    status, said, _ = migrate("--check")
    assert (status, said.rstrip().endswith(f"version {HEAD}, up to date")) == (0, True)
    set_version(database, HEAD.replace(".", ".1"))
    status, said, _ = migrate("--check")
    assert (status, "which can work with it" in said) == (0, True)
    set_version(database, "nonsense")
    status, _, error = migrate("--check")
    assert (status, "'nonsense', which is no version" in error) == (1, True)


def test_a_worker_beside_a_newer_one_loses_no_job_and_does_not_fall_over(bench: Bench) -> None:
    engine = make_engine(f"sqlite:///{bench.folder / 'workerpool.db'}")
    set_version(engine, NEWER)
    worker = bench.start().ready()
    bench.producer.send(Payment(id="p1", amount_minor=500))

    def put_off() -> bool:
        return bool(bench.redis.zcard(keys.delayed("payment")))

    until(put_off, timeout_s=60, what=worker.log.read_text)
    assert worker.said(f"version {NEWER}, made by a newer workerpool-worker")
    assert "Traceback" not in worker.log.read_text()
    assert worker.process.poll() is None
    assert bench.charges() == []
    engine.dispose()
