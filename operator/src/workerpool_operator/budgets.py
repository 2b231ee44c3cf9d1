"""Limits that several pools share, over the loops of all brokers of a process.

A pool asks and gets its answer within one step of the event loop, so that no other pool asks in between: what it was
granted counts as used from that moment on, until it is seen at another size. So no two decisions together pass the
limit. What a replica count hides counts as well: replicas that are leaving, and those that are still up although the
size asked for is lower.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
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
    """One pool of a budget. ``used`` replicas of it are there, leave, or were granted and are about to come.

    ``asked`` is what it claimed when it was looked at last, ``greatest`` the most that it could claim.
    """

    budget: Budget
    claim: Claim
    used: int = 0
    asked: int = 0
    greatest: int = 0


@dataclass(slots=True)
class _Division:
    """Shares, worked out when they are asked for. ``changed`` says that claims are others by now."""

    given: dict[PoolKey, int] | None = None
    changed: bool = False
    divided_s: float = 0.0
    """When they were worked out, on the monotonic clock."""

    def of(
        self, most: int, members: Mapping[PoolKey, _Member], claim: Callable[[_Member], Claim]
    ) -> dict[PoolKey, int]:
        """The shares of all members."""
        pools, now_s = len(members), time.monotonic()
        old = pools <= FEW or now_s >= self.divided_s + pools * REST_A_POOL_S
        if self.given is None or (self.changed and old):
            self.given = shares(most, {key: claim(member) for key, member in members.items()})
            self.changed, self.divided_s = False, now_s
        return self.given


@dataclass(slots=True)
class _Shared:
    """One budget. ``now`` divides it by what the pools claim, ``sure`` by the most that they could claim.

    ``wished`` adds up the claims: while that fits, everybody has what it wishes, and there is nothing to divide.
    """

    members: dict[PoolKey, _Member] = field(default_factory=dict)
    used: int = 0
    wished: int = 0
    most: int = 0
    disagreement: str = ""
    now: _Division = field(default_factory=_Division)
    sure: _Division = field(default_factory=_Division)

    def renew(self) -> None:
        """Have the shares worked out anew: other pools take part, or by other terms."""
        self.now.given = self.sure.given = None


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
            claim = claim._replace(weight=spec.budget.weight)
            self._join(key, _Member(budget=spec.budget, claim=claim, used=size, greatest=spec.max_replicas))
        elif member.budget != spec.budget:
            member.budget = spec.budget
            shared.renew()
            member.claim = member.claim._replace(weight=spec.budget.weight)
            _agree(key.namespace, shared)

    def hold(self, key: PoolKey, *, size: int | None = None) -> None:
        """Take note that nobody decides a pool at present: what it has stays its own, and it asks for nothing more."""
        shared, member = self._find(key)
        if shared is None or member is None:
            return
        used = member.used if size is None else size
        member.asked = member.greatest = 0
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
            shared.renew()
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
        by_hand = spec.paused or spec.pinned_replicas is not None
        greatest = 0 if by_hand else spec.max_replicas
        shared.sure.changed |= greatest != member.greatest
        member.greatest = greatest
        _note(shared, member, claim_of(observation, spec, alone), _there(observation.replicas))
        allotment = _allotment(shared, key, observation.replicas.current)
        member.asked = member.claim.wish
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
        shared.renew()
        _agree(key.namespace, shared)


def _there(replicas: Replicas, granted: int = 0) -> int:
    """How many replicas there really are, or will be when what was granted has come.

    Those that are ready beyond the size asked for have yet to be told to go.
    """
    return max(replicas.current, replicas.ready, granted) + replicas.leaving


def _note(shared: _Shared, member: _Member, claim: Claim, used: int) -> None:
    if claim != member.claim:
        shared.wished += claim.wish - member.claim.wish
        shared.sure.changed |= (claim.floor, claim.held) != (member.claim.floor, member.claim.held)
        member.claim, shared.now.changed = claim, True
    shared.used += used - member.used
    member.used = used


def _allotment(shared: _Shared, key: PoolKey, current: int) -> Allotment:
    """What a pool may have. More than it can be sure of it takes only when it wished for it at its last look as well.

    Others had their turn meanwhile: where work comes for all of them at once, the first one does not start replicas
    that it would have to give back a moment later.
    """
    member = shared.members[key]
    share = member.claim.wish
    if shared.wished > shared.most:
        share = shared.now.of(shared.most, shared.members, lambda one: one.claim)[key]
    replicas = allowed(share, current=current, free=shared.most - shared.used)
    asks_others = replicas > max(current, member.asked)
    if asks_others:
        sure = shared.sure.of(shared.most, shared.members, _greatest)[key]
        asks_others = replicas > sure
        replicas = min(replicas, max(current, member.asked, sure))
    return Allotment(
        budget=member.budget.name,
        replicas=replicas,
        share=share,
        used=shared.used,
        max_replicas=shared.most,
        pools=len(shared.members),
        asks_others=asks_others,
        disagreement=shared.disagreement,
    )


def _greatest(member: _Member) -> Claim:
    return member.claim._replace(wish=max(member.claim.wish, member.greatest))


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
