"""How long a replica takes from being asked for until it takes jobs, learnt from the sizes alone."""

from __future__ import annotations

from typing import NamedTuple

from workerpool_operator.core.observation import Replicas

STARTS_MAX = 1_000
STALE_AFTER = 3.0
"""A replica that has been starting for so many usual starts is not counted on any more."""


class Starting(NamedTuple):
    """Replicas that were asked for at the same time and do not serve yet."""

    asked_s: float
    replicas: int


class Startup(NamedTuple):
    """Weighted mean and mean absolute deviation of the starts seen, in seconds, and those under way, oldest first.

    The two are kept as TCP keeps its round-trip time (RFC 6298): gains of 1/8 and 1/4.
    """

    starts: int = 0
    mean_s: float = 0.0
    deviation_s: float = 0.0
    under_way: tuple[Starting, ...] = ()

    def lead_s(self, assumed_s: float, now_s: float) -> float:
        """How long before it is needed a replica must be asked for: the mean and two deviations.

        Before a start was seen it is ``assumed_s``, or twice the time that the first one has been under way by now.
        """
        if self.starts:
            return self.mean_s + 2.0 * self.deviation_s
        waited_s = now_s - self.under_way[0].asked_s if self.under_way else 0.0
        return max(assumed_s, 2.0 * waited_s)

    def seen(self, replicas: Replicas, current_before: int, asked_s: float, now_s: float) -> Startup:
        """With the replicas as they are now; what is new in them was asked for at ``asked_s``.

        Those that are missing among the ready have not started. Those that were dropped were the last to be asked for;
        those that began to serve, the first. A replica that falls out (a crash, a lost node) starts anew.
        """
        under_way = list(self.under_way)
        if replicas.current > current_before:
            under_way.append(Starting(asked_s, replicas.current - current_before))
        missing = max(0, replicas.current - replicas.ready)
        surplus = sum(one.replicas for one in under_way) - missing
        dropped = min(max(0, current_before - replicas.current), max(0, surplus))
        _take(under_way, dropped, last=True)
        startup = self
        if surplus > dropped:
            for one in _take(under_way, surplus - dropped, last=False):
                startup = startup.added(max(0.0, now_s - one.asked_s)) if replicas.ready else startup
        elif surplus < 0:
            under_way.append(Starting(now_s, -surplus))
        return startup._replace(under_way=tuple(under_way))

    def added(self, took_s: float) -> Startup:
        """With one more start."""
        if not self.starts:
            return self._replace(starts=1, mean_s=took_s, deviation_s=took_s / 10.0)
        return self._replace(
            starts=min(self.starts + 1, STARTS_MAX),
            mean_s=self.mean_s + (took_s - self.mean_s) / 8.0,
            deviation_s=self.deviation_s + (abs(took_s - self.mean_s) - self.deviation_s) / 4.0,
        )


def _take(under_way: list[Starting], count: int, *, last: bool) -> list[Starting]:
    """Take replicas off one end of the list; returns what was taken."""
    taken = []
    while count > 0 and under_way:
        one = under_way.pop(-1 if last else 0)
        gone = min(one.replicas, count)
        count -= gone
        taken.append(Starting(one.asked_s, gone))
        if gone < one.replicas:
            under_way.insert(len(under_way) if last else 0, Starting(one.asked_s, one.replicas - gone))
    return taken
