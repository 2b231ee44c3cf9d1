"""A page that one process writes and a process forked from it reads: shared memory, no file and no lock.

There are two slots, and a number says which of them counts. The writer fills the other one and then turns the number,
so a reader always finds a whole page, also while the writer is stopped in the middle of its work. A file would do the
same at the price of a disk, which a probe should not wait for.
"""

from __future__ import annotations

import mmap
import struct
import zlib

_NUMBER = struct.Struct("=Q")
_HEAD = struct.Struct("=QI")  # length and checksum of the content that follows
_TRIES = 100

DEFAULT_BYTES = 4 * 1024 * 1024
"""Of address space; memory is taken as it is written to."""


class SharedPage:
    """Make it before the fork. One process writes; any that was forked from it reads."""

    def __init__(self, slot_bytes: int = DEFAULT_BYTES) -> None:
        self._slot = slot_bytes
        self._memory = mmap.mmap(-1, _NUMBER.size + 2 * slot_bytes)

    def write(self, content: bytes) -> bool:
        """Replace the page; False when it does not fit, and the old one stays."""
        if len(content) > self._slot - _HEAD.size:
            return False
        number = self._number() + 1
        start = self._start(number)
        _HEAD.pack_into(self._memory, start, len(content), zlib.crc32(content))
        self._memory[start + _HEAD.size : start + _HEAD.size + len(content)] = content
        _NUMBER.pack_into(self._memory, 0, number)
        return True

    def read(self) -> bytes:
        """The page as it was last written; nothing before that."""
        for _ in range(_TRIES):
            number = self._number()
            if number == 0:
                return b""
            start = self._start(number)
            length, checksum = _HEAD.unpack_from(self._memory, start)
            content = self._memory[start + _HEAD.size : start + _HEAD.size + length]
            # The number may be seen before what was written ahead of it: not every processor keeps the order.
            if self._number() == number and zlib.crc32(content) == checksum:
                return content
        return b""

    def _number(self) -> int:
        number: int = _NUMBER.unpack_from(self._memory, 0)[0]
        return number

    def _start(self, number: int) -> int:
        return _NUMBER.size + (number % 2) * self._slot
