"""Where a local run can be asked about its decisions: a Unix socket in its state folder, for its own user alone.

Each run has a socket of its own, ``explain/<pid>.sock``: runs may share a state folder when none of them needs the
embedded Redis. A run that was killed leaves its socket behind; nobody answers there, and the next run removes it.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from workerpool_operator.report.last import ExplainPages

DESCRIPTORS = Path("/proc/self/fd")
"""Where the system names open folders, if it does: a way to names of any length."""
_FOLDER = "explain"
_LONGEST_BYTES = 100
"""A little less than any system's limit for the address of a socket (104 on macOS, 108 on Linux)."""
_SHUTDOWN_S = 1.0
_PROBE_S = 1.0


@asynccontextmanager
async def explain_socket(state_dir: Path, pages: ExplainPages, *, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Answer ``workerpool explain`` meanwhile. Where that cannot be, ``say`` is told why and the run goes on."""
    folder = state_dir / _FOLDER
    app = web.Application()
    pages.add_to(app)
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    path = folder / f"{os.getpid()}.sock"
    await runner.setup()
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            _remove_dead(folder)
            # valid until the server is closed, which removes what it finds there
            address = stack.enter_context(reachable(path))
            await web.UnixSite(runner, address).start()
        except OSError as error:
            say(f"workerpool explain cannot ask this run: {path}: {error.strerror or error}")
        try:
            yield
        finally:
            await runner.cleanup()
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def live_sockets(state_dir: Path) -> list[Path]:
    """The sockets of the runs that are alive, the latest run first."""
    with contextlib.suppress(OSError):
        return sorted(filter(_answers, _sockets(state_dir / _FOLDER)), key=_made_s, reverse=True)
    return []


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """An address of the socket that is short enough for the system: relative, or by way of its open folder.

    Raises:
        OSError: There is none, or the folder cannot be opened.
    """
    shortest = min(str(path.absolute()), os.path.relpath(path), key=len)
    if len(os.fsencode(shortest)) <= _LONGEST_BYTES:
        yield shortest
        return
    if not DESCRIPTORS.is_dir():
        raise OSError(f"its name is too long for a socket ({len(shortest)} characters): use a shorter --state-dir")
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"{DESCRIPTORS}/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def _sockets(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix == ".sock" and path.is_socket()]


def _made_s(path: Path) -> float:
    return path.stat().st_mtime


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_S)
        try:
            with reachable(path) as address:
                probe.connect(address)
        except OSError:
            return False
        return True


def _remove_dead(folder: Path) -> None:
    for path in _sockets(folder):
        if not _answers(path):
            path.unlink(missing_ok=True)
