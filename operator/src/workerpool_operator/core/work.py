"""The jobs a pool has to face, counted from what was seen."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from workerpool_operator.core.observation import InFlight, Observation

_NOTHING_HELD = InFlight()


class Work(NamedTuple):
    """The jobs a pool has to face, as far as they could be read.

    ``running`` leaves out what finishes on replicas that are going away; ``due`` are scheduled jobs whose time comes
    within the lead time.
    """

    ready: int
    running: int
    due: int
    stranded: int

    @property
    def outstanding(self) -> int:
        """All of them."""
        return self.ready + self.running + self.due + self.stranded

    def __str__(self) -> str:
        rest = (f" + {self.due} due" if self.due else "") + (f" + {self.stranded} stranded" if self.stranded else "")
        return f"{self.ready} waiting + {self.running} running{rest}"


def work_of(observation: Observation, lead_s: float) -> Work:
    """Count the jobs a pool has to face now, or within the time in seconds that a replica takes to start."""
    held = observation.in_flight
    if not isinstance(held, InFlight):
        held = _NOTHING_HELD
    return Work(
        ready=observation.ready,
        running=max(0, held.running - held.running_on_leaving),
        due=bisect_right(held.due_in_s, lead_s) if held.due_in_s else 0,
        stranded=held.stranded,
    )
