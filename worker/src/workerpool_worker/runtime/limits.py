"""Rate limits as people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ENTRY = re.compile(r"(queue|provider):([A-Za-z0-9._-]{1,253})\s*=\s*(\d+)/(s|m|h|d)(?:\s+burst\s+(\d+))?")
_PER_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """`jobs` in `per_s` seconds, `burst` of them at once after a pause."""

    kind: str
    name: str
    jobs: int
    per_s: float
    burst: int

    @property
    def interval_s(self) -> float:
        """Seconds from one job to the next at the full rate."""
        return self.per_s / self.jobs


def parse_limits(text: str) -> tuple[RateLimit, ...]:
    """Read `queue:email=100/m, provider:stripe=25/s burst 50`; without a burst, one job at a time.

    Raises:
        ValueError: it cannot be read; the text names the entry.
    """
    return tuple(_limit(part.strip()) for part in text.split(",") if part.strip())


def _limit(text: str) -> RateLimit:
    found = _ENTRY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} must be such as queue:email=100/m or provider:stripe=25/s burst 50")
    kind, name, jobs, unit, burst = found.groups()
    if not int(jobs) or (burst is not None and not int(burst)):
        raise ValueError(f"{text!r}: a limit of none would stop the jobs; pause the pool instead")
    return RateLimit(kind=kind, name=name, jobs=int(jobs), per_s=_PER_S[unit], burst=int(burst or 1))
