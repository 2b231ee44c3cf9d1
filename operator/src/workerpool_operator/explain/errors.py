"""Why nothing could be explained. Every text is one line for the person who asked, with what to do about it.

ExplainError
├── NoSuchPool       there is nothing to explain: no such pool, or no decision about it
├── Standby          the process that was asked does not decide
└── Forbidden        a right is missing
"""

# ruff: noqa: N818 - each is named after what is the matter

from __future__ import annotations

from collections.abc import Sequence


class ExplainError(Exception):
    """It could not be asked, or the answer is of no use."""

    exit_status = 2


class NoSuchPool(ExplainError):
    """Nothing is known of the pool. ``known`` are those of which something is."""

    exit_status = 1

    def __init__(self, text: str, *, known: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.known = tuple(known)


class Standby(ExplainError):
    """The process does not lead; ``leader`` does, "" is nobody."""

    def __init__(self, text: str, *, leader: str) -> None:
        super().__init__(text)
        self.leader = leader


class Forbidden(ExplainError):
    """A right is missing."""
