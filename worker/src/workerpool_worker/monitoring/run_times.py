"""How long jobs ran, added up since this process began: what the heartbeats tell the autoscaler.

Three numbers are enough: whoever hears two heartbeats has the mean and the spread of the runs between them. A heartbeat
that is lost costs nothing, since the next one holds all of it.
"""

from __future__ import annotations


class RunTimes:
    """The runs of one worker's jobs. A retry's run is one too: it held a slot for as long."""

    __slots__ = ("count", "seconds", "squared")

    def __init__(self) -> None:
        self.count, self.seconds, self.squared = 0, 0.0, 0.0

    def add(self, seconds: float) -> None:
        """One more run."""
        seconds = max(seconds, 0.0)  # the clock may have been set back while it ran
        self.count += 1
        self.seconds += seconds
        self.squared += seconds * seconds

    def fields(self) -> dict[str, float]:
        """As a heartbeat has them."""
        return {"job_count": self.count, "job_seconds": self.seconds, "job_seconds_squared": self.squared}


OURS = RunTimes()
"""Of this worker. Its main process alone adds to them and sends them."""
