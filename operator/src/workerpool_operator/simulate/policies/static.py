"""A size that never changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from workerpool_operator.simulate.drain import Drain, Pick
from workerpool_operator.simulate.world import World


@dataclass(kw_only=True, slots=True)
class StaticPolicy:
    """``size`` replicas from before the first job to the end."""

    size: int
    name: str = "static"
    next_s: float = inf
    drain: Drain = field(default=Drain(pick=Pick.BY_TRUTH))

    @property
    def initial(self) -> int:
        """All of them."""
        return self.size

    def ask(self, now_s: float, world: World) -> int:
        """Never asked."""
        del now_s, world
        return self.size

    def rest(self, until_s: float) -> None:
        """Nothing to leave out."""
