"""How many slots the arrivals keep busy, learnt at several paces at once."""

from __future__ import annotations

import math
from typing import NamedTuple

LOAD_WINDOWS_S = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
"""Time constants of the means of the load, in seconds."""

REFUTED_AT = 3.0
"""A longer mean is refuted by a shorter one that is this many of the shorter one's standard deviations away."""

_NOTHING = (0.0,) * len(LOAD_WINDOWS_S)


class LoadEstimate(NamedTuple):
    """The load now, in busy slots, with the standard deviation of that estimate and the time constant it is from.

    ``lasting`` is the longest mean, whatever the shorter ones say; ``peak`` the most that any mean, less its own
    standard deviation, speaks for.
    """

    slots: float = 0.0
    deviation: float = 0.0
    window_s: float = LOAD_WINDOWS_S[0]
    lasting: float = 0.0
    peak: float = 0.0


class Load(NamedTuple):
    """Exponentially weighted means of the load, one for each of :data:`LOAD_WINDOWS_S`.

    A mean is ``sums / weights``: right from the first moment, not drawn towards zero by a past that nobody saw.
    """

    sums: tuple[float, ...] = _NOTHING
    weights: tuple[float, ...] = _NOTHING

    def added(self, slots: float, elapsed_s: float) -> Load:
        """With the mean load of the last ``elapsed_s`` seconds."""
        gains = [-math.expm1(-elapsed_s / window_s) for window_s in LOAD_WINDOWS_S]
        sums = [total + gain * (slots - total) for total, gain in zip(self.sums, gains, strict=True)]
        weights = [weight + gain * (1.0 - weight) for weight, gain in zip(self.weights, gains, strict=True)]
        return Load(tuple(sums), tuple(weights))

    def estimate(self, job_s: float, variation: float) -> LoadEstimate:
        """The longest mean that no shorter one refutes: steady under a steady load, quick after a change.

        This is adaptive windowing (Bifet and Gavaldà, *Learning from time-changing data with adaptive windowing*, 2007)
        with a handful of fixed windows. Arrivals of rate ``a`` with jobs of mean ``s`` and squared coefficient of
        variation ``v`` bring work of variance ``a s^2 (1 + v)`` a second (a compound Poisson process), and a mean with
        time constant ``w`` keeps ``1 / 2w`` of it.
        """
        if not self.weights[-1]:
            return LoadEstimate()
        noise = job_s * (1.0 + variation) / 2.0
        accepted: list[tuple[float, float]] = []
        for window_s, total, weight in zip(LOAD_WINDOWS_S, self.sums, self.weights, strict=True):
            mean, span_s = max(0.0, total / weight), window_s * weight
            # an empty window is no proof of no load at all: as much as one job in it may have been missed
            deviation = math.sqrt(max(mean, noise / span_s) * noise / span_s)
            if any(abs(mean - shorter) > REFUTED_AT * own for shorter, own in accepted):
                break
            accepted.append((mean, deviation))
        slots, deviation = accepted[-1]
        return LoadEstimate(
            slots=slots,
            deviation=deviation,
            window_s=LOAD_WINDOWS_S[len(accepted) - 1],
            lasting=max(0.0, self.sums[-1] / self.weights[-1]),
            peak=max(mean - own for mean, own in accepted),
        )
