"""When to try again: exponential back-off with full jitter and a cap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): uniform in [0, min(cap, base * 2^n)].

    Many jobs that failed together, because the mail server was away, do not come back together.
    """

    base_s: float
    cap_s: float
    max_retries: int

    def delay_s(self, retries: int, random: float) -> float:
        """Seconds until try number `retries + 1`, given a random number in [0, 1)."""
        # 2**40 is far beyond any cap, and an exponent without bound would overflow a float.
        return random * min(self.cap_s, self.base_s * 2.0 ** min(retries, 40))


def backoff_of(settings: Settings) -> Backoff:
    """The back-off the settings ask for.

    The cap stays below the visibility timeout: kombu would restore a job that waits here for longer.
    """
    return Backoff(
        base_s=settings.retry_base_ms / 1000,
        cap_s=min(settings.retry_cap_ms / 1000, settings.hard_time_limit_seconds),
        max_retries=settings.max_retries,
    )
