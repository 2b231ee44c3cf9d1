"""The log file of a replica: opened for its process, its last line quoted after a crash, new lines shown on demand.

A worker always writes to a file, also when its lines are shown in the terminal: local mode then follows the file. With
a pipe instead, a worker that outlives local mode would fail in the middle of a job at its next line of output.
"""

from __future__ import annotations

import os
from pathlib import Path

_ROTATE_BYTES = 16 * 1024 * 1024
_TAIL_BYTES = 8192
_READ_BYTES = 65536
_LINE_BYTES = 8192


def open_log(path: Path) -> int:
    """Open a log for appending, its folder created; one that has grown large is first moved to ``<name>.1``.

    Returns:
        A file descriptor that the caller closes.

    Raises:
        OSError: The folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _append(path)
    if os.fstat(descriptor).st_size <= _ROTATE_BYTES:
        return descriptor
    os.close(descriptor)
    path.replace(path.with_name(f"{path.name}.1"))
    return _append(path)


def _append(path: Path) -> int:
    # Only the owner reads it: what a job prints may be anybody's data.
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def last_line(path: Path, *, since_bytes: int) -> str:
    """The last line that is not blank, written at or after an offset; empty when there is none or it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since_bytes, size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


class LogFollower:
    """Reads what is added to a log, line by line, never more than a bounded piece at a time.

    Args:
        path: The file.
        since_bytes: Where to begin.
    """

    def __init__(self, path: Path, *, since_bytes: int) -> None:
        self._path = path
        self._offset = since_bytes
        self._partial = b""

    def new_lines(self, *, final: bool = False) -> list[str]:
        """The lines completed since the last call; with ``final`` also the rest, and an unfinished last one."""
        lines: list[bytes] = []
        while True:
            piece = self._read()
            *complete, self._partial = (self._partial + piece).split(b"\n")
            lines += complete
            if len(self._partial) > _LINE_BYTES:
                lines.append(self._partial)
                self._partial = b""
            if not final or len(piece) < _READ_BYTES:
                break
        if final and self._partial:
            lines.append(self._partial)
            self._partial = b""
        return [line.decode(errors="replace").rstrip("\r") for line in lines]

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                piece = file.read(_READ_BYTES)
        except OSError:
            return b""
        self._offset += len(piece)
        return piece
