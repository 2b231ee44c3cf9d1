"""How many slots keep waits short under a steady random load: queueing theory, for targets too short to react."""

from __future__ import annotations

import math

LATE_SHARE = 0.005
"""Half of the 1% of jobs that may be late: the other half is for what a steady load does not explain."""


def staffed(load: float, job_s: float, variation: float, target_s: float) -> int:
    """The least number of slots with which no more than :data:`LATE_SHARE` of the jobs wait longer than the target.

    ``P(wait > t) = C(c, a) exp(-2 (c - a) t / (s (1 + v)))`` for ``c`` slots under a load of ``a`` busy slots, jobs of
    mean ``s`` and squared coefficient of variation ``v``: Erlang's C formula for M/M/c, the exponent divided by
    ``(1 + v) / 2`` as Allen and Cunneen do for other job lengths (Allen, *Probability, Statistics and Queueing Theory*,
    1990, 5.2.2; Whitt, *Approximations for the GI/G/m queue*, 1993). ``C`` is had from Erlang's B by its recursion.
    """
    if load <= 0.0:
        return 0
    blocked, slots = 1.0, 0
    while True:
        slots += 1
        blocked = load * blocked / (slots + load * blocked)
        if slots <= load:
            continue
        waits = blocked / (1.0 - load / slots * (1.0 - blocked))
        decay = 2.0 * (slots - load) * target_s / (job_s * (1.0 + variation))
        if waits * math.exp(-min(decay, 700.0)) <= LATE_SHARE:
            return slots
