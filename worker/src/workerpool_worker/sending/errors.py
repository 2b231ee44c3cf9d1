"""What can go wrong in sending."""

from __future__ import annotations


class BrokerUnreachableError(ConnectionError):
    """Redis could not be reached, or took nothing; the text says where it was looked for and what it said."""


class NotQueuedModeError(RuntimeError):
    """What was asked for only makes sense where jobs go into Redis."""
