"""Stripe's own stripe-mock: it checks each request against Stripe's OpenAPI description, and keeps no books.

From PATH, else built from its Go module once (a minute) and kept in the user's cache. With neither there, the tests
that need it fail and say so.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import eventually

VERSION = "0.203.0"
_BUILD_S = 20 * 60


@pytest.fixture(scope="session")
def stripe_mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of the session's own."""
    program, port = _program(), _free_port()
    log = tmp_path_factory.mktemp("stripe-mock") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen([program, "-http-addr", f"127.0.0.1:{port}"], stdout=file, stderr=file)
    try:
        eventually(lambda: _listens(port), 30, f"stripe-mock listens; {log}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _program() -> Path:
    on_path = shutil.which("stripe-mock")
    if on_path is not None:
        return Path(on_path)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "workerpool" / f"stripe-mock-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        # Other test runs of this user wait for the first to build it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "stripe-mock").is_file():
            _build(folder)
    return folder / "stripe-mock"


def _build(folder: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.fail("no stripe-mock: neither stripe-mock nor go (https://go.dev/dl/) on PATH")
    done = subprocess.run(
        [go, "install", f"github.com/stripe/stripe-mock@v{VERSION}"],
        env={**os.environ, "GOFLAGS": "-mod=mod", "GOWORK": "off", "CGO_ENABLED": "0", "GOBIN": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_BUILD_S,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"no stripe-mock: go install: {(done.stderr or done.stdout).strip().splitlines()[-1]}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
