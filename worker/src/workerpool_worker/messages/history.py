"""What a job has behind it, in a header of its message: it is counted in the very move of the message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

HISTORY = "workerpool"


@dataclass(frozen=True, kw_only=True)
class History:
    """What a job has behind it.

    Attributes:
        tries: Tries that were spent: those that ended with an error or cut off, not those that were put off.
        unknown: Those of them that ended with an error nobody foresaw.
        lost: Those of them that ended with their worker or child, or at the hard time limit.
        deferred: How often it was put off by a rate limit.
        slot_s: The time a rate limit has set aside for it, Unix seconds; 0 without one.
        cut_off: Whether the try before this one did not end in order, so that its claims are nobody's any more.
    """

    tries: int = 0
    unknown: int = 0
    lost: int = 0
    deferred: int = 0
    slot_s: float = 0.0
    cut_off: bool = False

    @classmethod
    def of(cls, headers: Mapping[str, Any] | None) -> Self:
        """Read it from a message's headers; what is missing or of another type counts as never."""
        found = (headers or {}).get(HISTORY)
        if not isinstance(found, dict):
            return cls()
        numbers = {name: _whole(found.get(name)) for name in ("tries", "unknown", "lost", "deferred")}
        slot = found.get("slot_s")
        slot_s = float(slot) if isinstance(slot, int | float) else 0.0
        return cls(**numbers, slot_s=slot_s, cut_off=found.get("cut_off") is True)

    def as_header(self) -> dict[str, Any]:
        """The header's value; what says nothing is left out."""
        return {name: value for name, value in asdict(self).items() if value}


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
