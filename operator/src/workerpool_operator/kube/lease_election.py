"""Who leads: the rules of one candidate for a Lease. Pure; time is an argument, always on the candidate's own clock.

Clocks of two machines are never compared. A leader trusts a renewal for ``renew_deadline_s`` from the moment it *sent*
it; a standby takes a Lease that it *saw* unchanged for the longer ``lease_duration_s``. The API server handled the
renewal between those two moments, so the leader stops before the standby starts. Every write names the version it is
based on, so of two that want the Lease only one gets it.

A Lease that is missing was never there, or was deleted a moment ago under a leader who has not noticed. Whoever makes
it anew therefore leads only after ``renew_deadline_s``, unless it was itself leading. A Lease whose holder is empty was
released by a leader who had stopped, and is taken at once; whoever empties it by hand says the same.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

_NEVER_S = -math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Times of an election in seconds; all candidates for one Lease should have the same."""

    lease_duration_s: float = 8.0
    renew_every_s: float = 2.0
    renew_deadline_s: float = 5.0
    look_every_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.renew_every_s < self.renew_deadline_s < self.lease_duration_s or self.look_every_s <= 0:
            message = (
                "the times of a lease must be 0 < renew_every < renew_deadline < lease_duration, not"
                f" {self.renew_every_s:g}, {self.renew_deadline_s:g}, {self.lease_duration_s:g} s"
            )
            raise ValueError(message)

    @property
    def request_s(self) -> float:
        """How long one request may take, so that a second one fits before the deadline."""
        return self.renew_deadline_s / 2

    @property
    def retry_s(self) -> float:
        """How long to wait after a request that failed."""
        return min(0.5, self.renew_every_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A Lease as it was read. ``holder`` is "" when nobody holds it; ``duration_s`` None when it does not say."""

    holder: str
    version: str
    duration_s: float | None
    transitions: int
    renewed: str

    @property
    def life(self) -> tuple[str, str, int]:
        """What changes when its holder is alive, and not when somebody else labels it."""
        return self.holder, self.renewed, self.transitions


class Do(enum.Enum):
    """What a candidate does next."""

    LOOK = "look"
    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What to do, and when on the candidate's clock."""

    do: Do
    at_s: float


class Election:
    """What one candidate knows and may do. ``identity`` must be this process's alone."""

    def __init__(self, *, identity: str, timing: Timing) -> None:
        self._identity, self._timing = identity, timing
        self.lease: Lease | None = None
        self._look_at_s: float | None = _NEVER_S  # None once what is known is good enough to act on
        self._life: tuple[str, str, int] | None = None
        self._changed_at_s = self._looked_at_s = self._renew_at_s = _NEVER_S
        self._leads_from_s = self._leads_until_s = _NEVER_S
        self._wrote = False
        self._create_unanswered = False
        self._resigned = False

    @property
    def leads_until_s(self) -> float:
        """When it stops to lead unless it renews."""
        return self._leads_until_s

    @property
    def leads_from_s(self) -> float:
        """When it may begin to lead."""
        return self._leads_from_s

    @property
    def holds(self) -> bool:
        """Whether the Lease as last seen carries the name of this very process."""
        return self._wrote and self.lease is not None and self.lease.holder == self._identity

    def leads(self, now_s: float) -> bool:
        """Whether it leads."""
        return not self._resigned and self._leads_from_s <= now_s < self._leads_until_s

    def step(self, now_s: float) -> Step:
        """What to do next."""
        if self._look_at_s is not None:
            return Step(do=Do.LOOK, at_s=self._look_at_s)
        if self.lease is None:
            return Step(do=Do.CREATE, at_s=now_s)
        if self.holds:
            return Step(do=Do.RENEW, at_s=self._renew_at_s)
        if not self.lease.holder:
            return Step(do=Do.TAKE, at_s=now_s)
        duration_s = self.lease.duration_s or self._timing.lease_duration_s
        expires_s = self._changed_at_s + duration_s
        again_s = self._looked_at_s + self._timing.look_every_s
        return Step(do=Do.TAKE, at_s=expires_s) if expires_s <= again_s else Step(do=Do.LOOK, at_s=again_s)

    def looked(self, lease: Lease | None, *, now_s: float) -> None:
        """The Lease was read, None if there is none; ``now_s`` is when the answer was there."""
        self._see(lease, now_s)
        if self.holds:
            self._renew_at_s = now_s
            if self._create_unanswered:
                self._leads_from_s = now_s + self._timing.renew_deadline_s
                self._create_unanswered = False
        elif lease is not None:
            self._leads_until_s = _NEVER_S

    def sending(self, do: Do) -> None:
        """A write is about to be sent: it may be carried out even if no answer comes."""
        self._wrote = True
        self._create_unanswered = self._create_unanswered or do is Do.CREATE

    def wrote(self, do: Do, lease: Lease, *, sent_s: float, now_s: float) -> None:
        """The write was carried out; ``sent_s`` is when it was sent, ``now_s`` when the answer was there."""
        if do is Do.TAKE:
            self._leads_from_s = _NEVER_S
        elif do is Do.CREATE and not self.leads(sent_s):
            self._leads_from_s = now_s + self._timing.renew_deadline_s
        self._create_unanswered = False
        self._see(lease, now_s)
        self._leads_until_s = sent_s + self._timing.renew_deadline_s
        self._renew_at_s = sent_s + self._timing.renew_every_s

    def refused(self, do: Do, *, now_s: float) -> None:
        """The write was not carried out, since things are not as they were: look at once."""
        if do is Do.CREATE:
            self._create_unanswered = False
        self._look_at_s = now_s

    def failed(self, *, now_s: float) -> None:
        """No usable answer came: look again in a moment."""
        self._look_at_s = now_s + self._timing.retry_s

    def resign(self) -> None:
        """Lead no more, whatever answer is still on its way."""
        self._resigned = True

    def _see(self, lease: Lease | None, now_s: float) -> None:
        life = lease.life if lease is not None else None
        if life != self._life:
            self._life, self._changed_at_s = life, now_s
        self.lease, self._looked_at_s, self._look_at_s = lease, now_s, None
