"""Limits that several pools share, over the loops of all brokers of a process.

A pool asks and gets its answer within one step of the event loop, so that no other pool asks in between: what it was
granted counts as used from that moment on, until it is seen at another size. So no two decisions together pass the
limit. What a replica count hides counts as well: replicas that are leaving, and those that are still up although the
size asked for is lower.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace

from workerpool_operator.core.budget import Claim, allowed, claim_of, shares
from workerpool_operator.core.decision import Decision, History
from workerpool_operator.core.observation import Allotment, Observation, Replicas
from workerpool_operator.core.policy import decide
from workerpool_operator.core.spec import Budget, PoolSpec
from workerpool_operator.ports import PoolKey

log = logging.getLogger(__name__)

FEW = 50
"""With more pools than this, the shares are worked out anew only every so often while claims change.

With a thousand it takes 5 ms. Shares that are a little old do no harm: pools grow into what is free only.
"""

REST_A_POOL_S = 50e-6
"""How long shares are good for then, for each pool: a tenth of the time goes into them at most."""

MOST_NAMED = 3
"""So many pools are named in a text; of the others, their number."""


@dataclass(slots=True)
class _Member:
    """One pool of a budget. ``used`` replicas of it are there, leave, or were granted and are about to come."""

    budget: Budget
    claim: Claim
    used: int = 0


@dataclass(slots=True)
class _Shared:
    """One budget. ``given`` are the shares, None when they have to be worked out anew before the next answer.

    ``changed`` says that claims are others by now; ``divided_s`` is when they were worked out, on the monotonic clock.

    ``wished`` adds up what all would like to have: while that fits, everybody has it, and there is nothing to divide.
    """

    members: dict[PoolKey, _Member] = field(default_factory=dict)
    used: int = 0
    wished: int = 0
    given: dict[PoolKey, int] | None = None
    changed: bool = False
    divided_s: float = 0.0
    most: int = 0
    disagreement: str = ""


class Budgets:
    """Who takes part in which budget, and what each pool may have of it. One instance for all loops of a process."""

    def __init__(self) -> None:
        self._shared: dict[tuple[str, str], _Shared] = {}
        self._budget_of: dict[PoolKey, str] = {}

    # -- who takes part

    def __contains__(self, key: PoolKey) -> bool:
        return key in self._budget_of

    def enrol(self, key: PoolKey, spec: PoolSpec, *, size: int = 0) -> None:
        """Count a pool in, or out where it has no budget any more, before it is decided for the first time.

        Until then it claims its maximum, so that the first to be decided does not take what is due to the others.
        ``size`` is how many replicas it is known to have; for a pool that was decided, that is known better.
        """
        if spec.budget is None:
            self.forget(key)
            return
        shared, member = self._find(key)
        if shared is None or member is None or self._budget_of[key] != spec.budget.name:
            claim = Claim(wish=max(size, spec.max_replicas), floor=spec.min_replicas, current=size)
            self._join(key, _Member(budget=spec.budget, claim=claim._replace(weight=spec.budget.weight), used=size))
        elif member.budget != spec.budget:
            member.budget, shared.given = spec.budget, None
            member.claim = member.claim._replace(weight=spec.budget.weight)
            _agree(key.namespace, shared)

    def hold(self, key: PoolKey, *, size: int | None = None) -> None:
        """Take note that nobody decides a pool at present: what it has stays its own, and it asks for nothing more."""
        shared, member = self._find(key)
        if shared is None or member is None:
            return
        used = member.used if size is None else size
        _note(shared, member, Claim(used, used, used, used, member.budget.weight), used)

    def forget(self, key: PoolKey) -> None:
        """Count a pool out: it is gone, or has no budget any more."""
        shared, member = self._find(key)
        if shared is None or member is None:
            return
        name = self._budget_of.pop(key)
        shared.used -= member.used
        shared.wished -= member.claim.wish
        del shared.members[key]
        if shared.members:
            shared.given = None
            _agree(key.namespace, shared)
        else:
            del self._shared[key.namespace, name]

    def forget_all(self) -> None:
        """Count everybody out: another process decides from here on."""
        self._shared.clear()
        self._budget_of.clear()

    # -- what a pool may have

    def decide(
        self, key: PoolKey, observation: Observation, spec: PoolSpec, history: History
    ) -> tuple[Observation, Decision]:
        """Decide the size of a pool within its budget; returns the observation with what the budget leaves the pool.

        It is decided without the budget first, which says what the pool claims.
        """
        alone = decide(observation, spec, history)
        if spec.budget is None:
            return observation, alone
        self.enrol(key, spec)
        shared, member = self._find(key)
        if shared is None or member is None:
            raise AssertionError(f"pool {key} was enrolled a line ago")
        _note(shared, member, claim_of(observation, spec, alone), _there(observation.replicas))
        allotment = _allotment(shared, key, observation.replicas.current)
        seen = replace(observation, allotment=allotment)
        bounded = any(outcome.after > allotment.replicas for outcome in alone.trace)
        decision = decide(seen, spec, history) if bounded else alone
        _note(shared, member, member.claim, _there(observation.replicas, decision.target))
        return seen, decision

    # -- inside

    def _find(self, key: PoolKey) -> tuple[_Shared, _Member] | tuple[None, None]:
        name = self._budget_of.get(key)
        if name is None:
            return None, None
        shared = self._shared[key.namespace, name]
        return shared, shared.members[key]

    def _join(self, key: PoolKey, member: _Member) -> None:
        _, before = self._find(key)
        if before is not None:
            member.used, member.claim = before.used, before.claim._replace(weight=member.budget.weight)
            self.forget(key)
        self._budget_of[key] = member.budget.name
        shared = self._shared.setdefault((key.namespace, member.budget.name), _Shared())
        shared.members[key] = member
        shared.used += member.used
        shared.wished += member.claim.wish
        shared.given = None
        _agree(key.namespace, shared)


def _there(replicas: Replicas, granted: int = 0) -> int:
    """How many replicas there really are, or will be when what was granted has come.

    Those that are ready beyond the size asked for have yet to be told to go.
    """
    return max(replicas.current, replicas.ready, granted) + replicas.leaving


def _note(shared: _Shared, member: _Member, claim: Claim, used: int) -> None:
    if claim != member.claim:
        shared.wished += claim.wish - member.claim.wish
        member.claim, shared.changed = claim, True
    shared.used += used - member.used
    member.used = used


def _allotment(shared: _Shared, key: PoolKey, current: int) -> Allotment:
    member = shared.members[key]
    share = member.claim.wish if shared.wished <= shared.most else _divided(shared)[key]
    return Allotment(
        budget=member.budget.name,
        replicas=allowed(share, current=current, free=shared.most - shared.used),
        share=share,
        used=shared.used,
        max_replicas=shared.most,
        pools=len(shared.members),
        disagreement=shared.disagreement,
    )


def _divided(shared: _Shared) -> dict[PoolKey, int]:
    pools = len(shared.members)
    if shared.given is None or (
        shared.changed and (pools <= FEW or time.monotonic() >= shared.divided_s + pools * REST_A_POOL_S)
    ):
        shared.given = shares(shared.most, {key: member.claim for key, member in shared.members.items()})
        shared.changed, shared.divided_s = False, time.monotonic()
    return shared.given


def _agree(namespace: str, shared: _Shared) -> None:
    """Work out the limit in force: the lowest that any of the pools names."""
    if not shared.disagreement and {shared.most} == {member.budget.max_replicas for member in shared.members.values()}:
        return
    limits: dict[int, list[str]] = {}
    for key, member in sorted(shared.members.items()):
        limits.setdefault(member.budget.max_replicas, []).append(key.name)
    before, shared.most, shared.disagreement = shared.disagreement, min(limits), ""
    if len(limits) > 1:
        named = ", ".join(f"{most} in {_names(limits[most])}" for most in sorted(limits))
        shared.disagreement = f"its pools disagree on maxReplicas ({named}): the lowest counts"
    if shared.disagreement not in ("", before):
        name = next(iter(shared.members.values())).budget.name
        log.warning("budget %s/%s: %s", namespace, name, shared.disagreement)


def _names(pools: list[str]) -> str:
    more = len(pools) - MOST_NAMED
    return ", ".join(pools[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
