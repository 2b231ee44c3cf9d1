"""A Redis of one's own: find a server binary, run it on a loopback port, stop it, start it again where it was.

The demo, local mode and the tests use it. Errors::

    RedisServerError
    ├── RedisMissingError    no server binary on this machine; the text says what to install
    └── RedisStartError      it could not be started or did not come up; the text says why
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from workerpool_operator.local.folder_lock import FolderInUseError, locked
from workerpool_operator.local.redis_binary import RedisServerError, find_redis

_READY_LINE = b"Ready to accept connections"
_POLL_S = 0.005
_PORT_ATTEMPTS = 5
_LOCK_WAIT_S = 2.0
"""A server that was killed gives its folder back a moment after it is gone (a child may be writing its file anew)."""

# Runs in the child before the server replaces it: on Linux the kernel then ends the server when its parent dies, even
# by SIGKILL. A preexec_fn would do the same, but may deadlock in a program with threads.
_DIE_WITH_PARENT = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGTERM)\n"  # 1 is PR_SET_PDEATHSIG
    "if os.getppid() != int(sys.argv[1]): sys.exit('the parent is gone')\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


class RedisStartError(RedisServerError):
    """The server could not be started, or did not come up."""


class RedisServer:
    """One Redis process with its data in a folder; the same port and the same data after a restart.

    Not safe for use by several threads at once. On Linux, a server started by the main thread ends with this process
    however that ends (elsewhere and from other threads, it ends by :meth:`stop` only: Linux would end it together with
    the *thread* that started it).

    Args:
        folder: Where data, configuration and log (``redis.log``) go; created when missing.
        port: The loopback port, None for any that is free.
        password: Password of the default user, None for none.
        append_fsync: Redis' ``appendfsync``: ``always``, ``everysec`` or ``no``. The append-only file is always on.
        config: Further lines of ``redis.conf``, such as ACL users.
        binary: The server to run, None for the one :func:`find_redis` finds.
        on_launch: Told the process' id at every start, before the server is up.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        password: str | None = None,
        append_fsync: str = "everysec",
        config: Sequence[str] = (),
        binary: Path | None = None,
        on_launch: Callable[[int], None] = lambda _pid: None,
    ) -> None:
        self.folder = folder
        self.host = "127.0.0.1"
        self._port = port
        self._any_port = port is None
        self._password = password
        self._append_fsync = append_fsync
        self._config = tuple(config)
        self._binary = binary
        self._on_launch = on_launch
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port it listens on; known once it was started.

        Raises:
            RedisServerError: It has no port yet.
        """
        if self._port is None:
            raise RedisServerError("this Redis server has no port before it was started")
        return self._port

    @property
    def url(self) -> str:
        """Its URL with the password, database 0."""
        return self.url_for(database=0)

    def url_for(self, *, database: int = 0, user: str = "", password: str | None = None) -> str:
        """Its URL for a database and, where given, an ACL user."""
        secret = self._password if password is None else password
        login = f"{quote(user)}:{quote(secret, safe='')}@" if secret is not None else ""
        return f"redis://{login}{self.host}:{self.port}/{database}"

    @property
    def pid(self) -> int | None:
        """The process, None while it does not run."""
        return self._process.pid if self.running and self._process else None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        """The file its output goes to."""
        return self.folder / "redis.log"

    def start(self, *, timeout_s: float = 10.0) -> Self:
        """Start it and wait until it answers; when it already runs, do nothing.

        After :meth:`stop` or :meth:`kill` it comes back on the same port with the same data.

        Raises:
            RedisMissingError: There is no server binary.
            RedisStartError: It did not come up: port in use, not executable, bad configuration, or too slow.
        """
        if self.running:
            return self
        binary = self._binary or find_redis()
        for attempt in range(_PORT_ATTEMPTS):
            if self._any_port:
                self._port = _free_port()
            try:
                self._launch(binary, timeout_s)
            except RedisStartError as error:
                # Between finding a free port and binding it, another process may take it.
                if not self._any_port or attempt == _PORT_ATTEMPTS - 1 or "in use" not in str(error):
                    raise
            else:
                break
        self._any_port = False
        return self

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """Ask it to end, and wait; kill it when it has not ended in time."""
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> Self:
        """Stop and start it: same port, same data."""
        self.stop()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, binary: Path, timeout_s: float) -> None:
        try:
            begin = self._spawn(binary)
        except FolderInUseError as error:
            raise RedisStartError(
                f"the data in {self.folder} is in use by a Redis of another run, or of one that ended while its workers"
                " still finish their jobs: wait for it, stop it, or use another folder"
            ) from error
        except OSError as error:
            raise RedisStartError(f"cannot write to {self.folder}: {error.strerror or error}") from error
        self._wait_until_up(begin, timeout_s)

    def _spawn(self, binary: Path) -> int:
        """Start the process; returns where its log begins."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder, wait_s=_LOCK_WAIT_S) as lock, self.log.open("ab") as log:
            command = [str(binary), str(self._write_config())]
            if sys.platform == "linux" and threading.current_thread() is threading.main_thread():
                command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
            begin = log.tell()
            try:
                # A session of its own, so that Ctrl-C in the terminal stops the workers before their broker.
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(lock,),
                )
            except OSError as error:
                raise RedisStartError(f"cannot run {binary}: {error.strerror}") from error
        self._on_launch(self._process.pid)
        return begin

    def _wait_until_up(self, begin: int, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        # Its own log line first: on a port in use, somebody else's Redis would answer the PING.
        while not (_READY_LINE in self._log_since(begin) and self._answers()):
            if not self.running:
                raise RedisStartError(f"Redis did not start on {self.host}:{self.port}: {self._why(begin)}")
            if time.monotonic() > deadline_s:
                self.kill()
                raise RedisStartError(
                    f"Redis on {self.host}:{self.port} was not up in {timeout_s:g} s: {self._last_words(begin)}"
                )
            time.sleep(_POLL_S)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                reply = connection.recv(64)
        except OSError:
            return False
        # -NOAUTH is an answer too.
        return bool(reply) and not reply.startswith(b"-LOADING")

    def _log_since(self, begin: int) -> bytes:
        with self.log.open("rb") as log:
            log.seek(begin)
            return log.read()

    def _why(self, begin: int) -> str:
        if b"Address already in use" in self._log_since(begin):
            return "the port is in use; choose another one"
        return self._last_words(begin)

    def _last_words(self, begin: int) -> str:
        lines = self._log_since(begin).decode(errors="replace").splitlines()
        lines = [line.strip() for line in lines if line.strip()]
        return " | ".join(lines[-3:]) or "it said nothing"

    def _write_config(self) -> Path:
        path = self.folder / "redis.conf"
        lines = [
            f"bind {self.host}",
            f"port {self.port}",
            f'dir "{_quoted(str(self.folder.resolve()))}"',
            "daemonize no",
            "appendonly yes",
            f"appendfsync {self._append_fsync}",
            'save ""',
            "maxmemory-policy noeviction",
        ]
        if self._password is not None:
            lines.append(f'requirepass "{_quoted(self._password)}"')
        # The password must not be in the process list, so it goes through a file only its owner can read.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join([*lines, *self._config, ""]))
        return path


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
