"""How pools divide a limit that they share: weighted max-min fairness in whole replicas.

Nobody gets more than it wishes, and what one does not want goes to the others. While there is too little, the pool with
the fewest replicas for its weight gets the next one. So no pool could have one more without taking it from a pool that
has no more for its weight (Bertsekas and Gallager, Data Networks, 2nd edition, 1992, section 6.5.2, "Max-Min Flow
Control", with weights), and every hungry pool has one before any, beyond its promised floor, has a second (Adams'
method of apportionment: Balinski and Young, Fair Representation, 1982).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from workerpool_operator.core.decision import Decision, Reason
from workerpool_operator.core.observation import Cause, Observation
from workerpool_operator.core.spec import PoolSpec


class _Ordered(Protocol):
    """Something that can be sorted, and told apart."""

    def __lt__(self, other: Any, /) -> bool: ...

    def __hash__(self) -> int: ...


Key = TypeVar("Key", bound=_Ordered)


class Claim(NamedTuple):
    """What one pool asks of its budget.

    ``wish`` is the size it would have without the budget. ``floor`` of it is promised (minReplicas, a schedule), and
    ``held`` cannot be taken away, whatever the budget says: a pinned or paused size, or one that is held because the
    queues cannot be read. ``current`` is the size it has.
    """

    wish: int
    floor: int = 0
    held: int = 0
    current: int = 0
    weight: int = 1


def claim_of(observation: Observation, spec: PoolSpec, decision: Decision) -> Claim:
    """What a pool claims, by the decision that was taken without its budget.

    A size that is only reached step by step is claimed at once: others do not grow into what they would have to give
    back a step later. Before anything was read, a pool claims its maximum: whoever is read first does not take all.
    """
    unavailable, current = observation.unavailable, observation.replicas.current
    wish = decision.target
    if spec.paused or spec.pinned_replicas is not None:
        held = wish
    elif unavailable:
        held = min(current, wish)
        if all(part.cause is Cause.NOT_YET_READ for part in unavailable):
            wish = max(wish, spec.max_replicas)
    else:
        held = 0
        stepping = [rule.before for rule in decision.trace if rule.reason is Reason.STEP_LIMITED]
        wish = max(wish, min(spec.max_replicas, max(stepping, default=0)))
    promised = max([spec.min_replicas, *(schedule.min_replicas for schedule in observation.schedules)])
    return Claim(
        wish=wish,
        floor=max(held, min(wish, promised)),
        held=held,
        current=current,
        weight=spec.budget.weight if spec.budget is not None else 1,
    )


def shares(most: int, claims: Mapping[Key, Claim]) -> dict[Key, int]:
    """Divide ``most`` replicas among the claims.

    What is held is granted first, even where it exceeds the limit; then the floors; then the wishes. Where the floors
    do not fit, they are cut by weight and nobody gets more. The result depends on nothing but the arguments: between
    equals the heavier comes first, then who has the replica already, then the order of the keys.
    """
    held = {key: claim.held for key, claim in claims.items()}
    if sum(held.values()) >= most:
        return held
    floors = _fill(most, claims, low=held, high={key: claim.floor for key, claim in claims.items()})
    if sum(floors.values()) >= most:
        return floors
    return _fill(most, claims, low=floors, high={key: claim.wish for key, claim in claims.items()})


def allowed(share: int, *, current: int, free: int) -> int:
    """The most a pool may have now: it grows only into what is free, however large its share."""
    return share if share <= current else min(share, current + max(0, free))


def _fill(most: int, claims: Mapping[Key, Claim], *, low: Mapping[Key, int], high: Mapping[Key, int]) -> dict[Key, int]:
    """Raise the water from ``low`` until ``most`` is reached or everybody has ``high``; ``low`` fits into ``most``.

    At a level everybody has ``level`` times its weight, rounded up, within its bounds. Levels are counted in parts of
    the largest weight, so that one level more gives nobody more than one replica.
    """
    if sum(high.values()) <= most:
        return dict(high)
    wanting = sorted(key for key in claims if high[key] > 0)  # sorted once: to compare keys is what costs most
    rows = [(claims[key].weight, low[key], high[key]) for key in wanting]
    parts = max(weight for weight, _, _ in rows)
    reached, too_high = 0, max(-(-top * parts // weight) for weight, _, top in rows)
    while too_high - reached > 1:
        level = (reached + too_high) // 2
        if sum(_sizes(rows, level, parts)) <= most:
            reached = level
        else:
            too_high = level
    sizes = _sizes(rows, reached, parts)
    # replicas / weight: equal ratios of such small numbers are equal floats
    thirsty = sorted(
        (size / weight, -weight, claims[key].current <= size, number)
        for number, (key, size, (weight, _, top)) in enumerate(zip(wanting, sizes, rows, strict=True))
        if size < top
    )
    for *_, number in thirsty[: most - sum(sizes)]:
        sizes[number] += 1
    return dict.fromkeys(claims, 0) | dict(zip(wanting, sizes, strict=True))


def _sizes(rows: Sequence[tuple[int, int, int]], level: int, parts: int) -> list[int]:
    """What a level gives to each of weight, bottom and top."""
    return [min(top, max(bottom, -(-level * weight // parts))) for weight, bottom, top in rows]
