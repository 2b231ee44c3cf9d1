"""How a limit is divided: what must hold of every division, and a few that one can redo by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.strategies import NOW_S
from workerpool_operator.core.budget import Claim, allowed, claim_of, shares
from workerpool_operator.core.decision import Decision, History, Reason
from workerpool_operator.core.observation import (
    ActiveSchedule,
    Allotment,
    Cause,
    InFlight,
    Observation,
    QueueDepth,
    Replicas,
    Unavailable,
)
from workerpool_operator.core.policy import decide
from workerpool_operator.core.spec import Budget, Fallback, PoolSpec, ScaleUp

pytestmark = pytest.mark.unit

BUDGET = Budget(name="db", max_replicas=6, weight=2)
SPEC = PoolSpec(max_replicas=20, backlog_per_replica=10, budget=BUDGET)


@st.composite
def claims(draw: st.DrawFn, *, held: bool = True) -> Claim:
    wish = draw(st.integers(0, 40))
    floor = draw(st.integers(0, wish) | st.just(0))
    return Claim(
        wish=wish,
        floor=floor,
        held=draw(st.integers(0, floor)) if held else 0,
        current=draw(st.integers(0, 40)),
        weight=draw(st.integers(1, 5) | st.integers(1, 1000)),
    )


@st.composite
def budgets(draw: st.DrawFn, *, held: bool = True) -> tuple[int, dict[str, Claim]]:
    return draw(st.integers(1, 120)), draw(st.dictionaries(st.sampled_from("abcdefgh"), claims(held=held), max_size=8))


def one_by_one(most: int, wanted: dict[str, Claim]) -> dict[str, int]:
    """The same division, replica by replica, as the words say it."""
    given = {key: claim.held for key, claim in wanted.items()}
    for bound in ("floor", "wish"):
        while sum(given.values()) < most:
            thirsty = [
                (Fraction(given[key], claim.weight), -claim.weight, claim.current <= given[key], key)
                for key, claim in wanted.items()
                if given[key] < getattr(claim, bound)
            ]
            if not thirsty:
                break
            given[min(thirsty)[-1]] += 1
    return given


@given(budgets())
def test_it_is_the_division_replica_by_replica(budget: tuple[int, dict[str, Claim]]) -> None:
    assert shares(*budget) == one_by_one(*budget)


@given(budgets())
def test_never_above_the_limit_unless_that_is_held_nor_above_a_wish(budget: tuple[int, dict[str, Claim]]) -> None:
    most, wanted = budget
    given = shares(most, wanted)
    assert given.keys() == wanted.keys()
    assert sum(given.values()) <= max(most, sum(claim.held for claim in wanted.values()))
    assert all(wanted[key].held <= share <= wanted[key].wish for key, share in given.items())


@given(budgets())
def test_nothing_is_left_over_while_somebody_wants_it(budget: tuple[int, dict[str, Claim]]) -> None:
    most, wanted = budget
    given = shares(most, wanted)
    assert sum(given.values()) >= min(most, sum(claim.wish for claim in wanted.values()))


@given(budgets())
def test_floors_come_first(budget: tuple[int, dict[str, Claim]]) -> None:
    most, wanted = budget
    given = shares(most, wanted)
    above = [key for key, share in given.items() if share > wanted[key].floor]
    below = [key for key, share in given.items() if share < wanted[key].floor]
    assert not (above and below)
    if sum(claim.floor for claim in wanted.values()) <= most:
        assert not below


@given(budgets())
def test_no_replica_could_go_to_somebody_who_has_less_for_its_weight(budget: tuple[int, dict[str, Claim]]) -> None:
    """Max-min fairness: one more for a hungry pool would leave somebody with less for its weight than it has now."""
    most, wanted = budget
    given = shares(most, wanted)
    cut = any(share < wanted[key].floor for key, share in given.items())
    for poor, share in given.items():
        top, weight = (wanted[poor].floor if cut else wanted[poor].wish), wanted[poor].weight
        if share >= top:
            continue
        for rich, other in given.items():
            if other > (wanted[rich].held if cut else wanted[rich].floor):
                assert Fraction(other - 1, wanted[rich].weight) <= Fraction(share, weight)


@given(budgets(held=False), st.integers(1, 60))
def test_a_larger_limit_takes_nothing_from_anybody(budget: tuple[int, dict[str, Claim]], more: int) -> None:
    most, wanted = budget
    small, large = shares(most, wanted), shares(most + more, wanted)
    assert all(large[key] >= small[key] for key in wanted)


@given(budgets(), st.sampled_from("abcdefgh"), st.integers(1, 20))
def test_who_wishes_for_more_gets_no_less_and_the_others_no_more(
    budget: tuple[int, dict[str, Claim]], key: str, more: int
) -> None:
    most, wanted = budget
    if key not in wanted:
        return
    before = shares(most, wanted)
    after = shares(most, wanted | {key: wanted[key]._replace(wish=wanted[key].wish + more)})
    assert after[key] >= before[key]
    assert all(after[other] <= before[other] for other in wanted if other != key)


@given(budgets(), st.randoms(use_true_random=False))
def test_the_order_of_the_pools_does_not_matter(budget: tuple[int, dict[str, Claim]], random: object) -> None:
    most, wanted = budget
    keys = list(wanted)
    random.shuffle(keys)  # type: ignore[attr-defined]
    assert shares(most, {key: wanted[key] for key in keys}) == shares(most, wanted)


def hungry(weight: int = 1, **more: int) -> Claim:
    return Claim(wish=40, weight=weight, **more)


@pytest.mark.parametrize(
    ("most", "wanted", "expected"),
    [
        (3, {"a": hungry(2), "b": hungry()}, {"a": 2, "b": 1}),
        (3, {"a": hungry(2), "b": Claim(wish=0)}, {"a": 3, "b": 0}),
        (12, {"a": hungry(3), "b": hungry(2), "c": hungry()}, {"a": 6, "b": 4, "c": 2}),
        # docs/budgets.md: c wants one only; nobody but a wants any; c's minimum is three; a is pinned
        (12, {"a": hungry(3), "b": hungry(2), "c": Claim(wish=1)}, {"a": 7, "b": 4, "c": 1}),
        (12, {"a": hungry(3), "b": Claim(wish=0), "c": Claim(wish=0)}, {"a": 12, "b": 0, "c": 0}),
        (12, {"a": hungry(3), "b": hungry(2), "c": hungry(floor=3)}, {"a": 5, "b": 4, "c": 3}),
        (12, {"a": Claim(wish=9, floor=9, held=9, weight=3), "b": hungry(2), "c": hungry()}, {"a": 9, "b": 2, "c": 1}),
        # c wants one only: a and b share the rest by their weights
        (11, {"a": hungry(3), "b": hungry(2), "c": Claim(wish=1)}, {"a": 6, "b": 4, "c": 1}),
        # each has one before the heavy one has a second
        (4, {"a": hungry(1000), "b": hungry(), "c": hungry()}, {"a": 2, "b": 1, "c": 1}),
        # too few for all: the heavier ones have them
        (1, {"a": hungry(), "b": hungry(2)}, {"a": 0, "b": 1}),
        # the odd one stays with who has it
        (3, {"a": hungry(current=1), "b": hungry(current=2)}, {"a": 1, "b": 2}),
        # a floor comes before fairness, then who has least is raised first
        (6, {"a": hungry(floor=4), "b": hungry()}, {"a": 4, "b": 2}),
        # floors that do not fit are cut by weight
        (6, {"a": Claim(wish=9, floor=9, weight=2), "b": Claim(wish=9, floor=9)}, {"a": 4, "b": 2}),
        # what is held is held, and others go without
        (6, {"a": Claim(wish=9, floor=9, held=9), "b": hungry(floor=2)}, {"a": 9, "b": 0}),
        (6, {}, {}),
    ],
)
def test_divisions_to_redo_by_hand(most: int, wanted: dict[str, Claim], expected: dict[str, int]) -> None:
    assert shares(most, wanted) == expected


@pytest.mark.parametrize(
    ("share", "current", "free", "most"),
    [(4, 2, 5, 4), (4, 2, 1, 3), (4, 2, 0, 2), (4, 2, -3, 2), (2, 4, 5, 2), (2, 4, -1, 2), (3, 3, 0, 3)],
)
def test_a_pool_grows_into_what_is_free_and_shrinks_at_once(share: int, current: int, free: int, most: int) -> None:
    assert allowed(share, current=current, free=free) == most


# -- what a pool claims


def seen(ready: int = 0, current: int = 0, *, cause: Cause | None = None, peak: int = 0) -> Observation:
    away = None if cause is None else Unavailable(cause=cause, message="away")
    return Observation(
        time_s=NOW_S,
        replicas=Replicas(current=current, ready=current, busy=0),
        queues={"q": away or QueueDepth(ready=ready)},
        in_flight=away or InFlight(),
        schedules=(ActiveSchedule(name="peak", min_replicas=peak),) if peak else (),
    )


def claimed(observation: Observation, spec: PoolSpec) -> Claim:
    return claim_of(observation, spec, decide(observation, spec, History()))


@pytest.mark.parametrize(
    ("observation", "spec", "claim"),
    [
        (seen(80, 3), SPEC, Claim(wish=8, current=3, weight=2)),
        (seen(80, 3, peak=5), SPEC, Claim(wish=8, floor=5, current=3, weight=2)),
        (seen(), PoolSpec(min_replicas=2, budget=BUDGET), Claim(wish=2, floor=2, weight=2)),
        (seen(80, 3), PoolSpec(pinned_replicas=5, budget=BUDGET), Claim(5, 5, 5, 3, 2)),
        (seen(80, 3), PoolSpec(pinned_replicas=1, min_replicas=2, budget=BUDGET), Claim(1, 1, 1, 3, 2)),
        (seen(80, 3), PoolSpec(paused=True, budget=BUDGET), Claim(3, 3, 3, 3, 2)),
        # what cannot be read is held; the fallback above it is a wish as any other
        (seen(current=3, cause=Cause.TIMEOUT), SPEC, Claim(3, 3, 3, 3, 2)),
        (
            seen(current=3, cause=Cause.TIMEOUT),
            PoolSpec(fallback=Fallback(replicas=5, after_s=0), budget=BUDGET),
            Claim(5, 3, 3, 3, 2),
        ),
        # nothing was read so far: as hungry as can be
        (seen(current=3, cause=Cause.NOT_YET_READ), SPEC, Claim(20, 3, 3, 3, 2)),
        # where it goes step by step, all of it is claimed
        (
            seen(80, 3),
            PoolSpec(max_replicas=7, scale_up=ScaleUp(max_replicas_per_step=1), budget=BUDGET),
            Claim(wish=7, current=3, weight=2),
        ),
    ],
)
def test_what_a_pool_claims(observation: Observation, spec: PoolSpec, claim: Claim) -> None:
    assert claimed(observation, spec) == claim


# -- what comes of it in a decision


def allotment(replicas: int, *, share: int | None = None, disagreement: str = "") -> Allotment:
    return Allotment(
        budget="db",
        replicas=replicas,
        share=replicas if share is None else share,
        used=5,
        max_replicas=6,
        pools=2,
        disagreement=disagreement,
    )


def within(found: Allotment, observation: Observation, spec: PoolSpec = SPEC) -> Decision:
    bounded = Observation(
        time_s=observation.time_s,
        replicas=observation.replicas,
        queues=observation.queues,
        in_flight=observation.in_flight,
        schedules=observation.schedules,
        allotment=found,
    )
    return decide(bounded, spec, History())


def test_a_decision_keeps_to_the_budget_and_says_so() -> None:
    decision = within(allotment(4), seen(80, 3))
    assert (decision.target, decision.reason, decision.limits) == (
        4,
        Reason.BUDGET_EXHAUSTED,
        (Reason.BUDGET_EXHAUSTED,),
    )
    assert decision.message.endswith("budget db allows 4: its share of 6 is 4")
    waiting = within(allotment(3, share=4, disagreement="its pools disagree"), seen(80, 3))
    assert waiting.message.endswith("allows 3: its share of 6 is 4, and 5 are in use (its pools disagree)")


def test_a_budget_that_is_not_reached_changes_nothing() -> None:
    assert within(allotment(8), seen(80, 3)) == decide(seen(80, 3), SPEC, History())


@pytest.mark.parametrize(
    ("observation", "spec", "target", "reason"),
    [
        (seen(80, 3, peak=5), SPEC, 1, Reason.BUDGET_EXHAUSTED),
        (seen(80, 3), PoolSpec(pinned_replicas=5, budget=BUDGET), 5, Reason.PINNED),
        (seen(80, 3), PoolSpec(paused=True, budget=BUDGET), 3, Reason.PAUSED),
        (seen(current=3, cause=Cause.TIMEOUT), SPEC, 3, Reason.BROKER_UNREADABLE),
    ],
)
def test_only_what_is_promised_or_said_by_hand_goes_above(
    observation: Observation, spec: PoolSpec, target: int, reason: Reason
) -> None:
    decision = within(allotment(1), observation, spec)
    assert (decision.target, decision.reason) == (target, reason)


def test_busy_workers_are_waited_for() -> None:
    busy = Observation(
        time_s=NOW_S,
        replicas=Replicas(current=3, ready=3, busy=3),
        queues={"q": QueueDepth(ready=80)},
        in_flight=InFlight(running=3),
        allotment=allotment(1),
    )
    decision = decide(busy, SPEC, History())
    assert (decision.target, decision.reason) == (3, Reason.BUSY_WORKERS)
    assert decision.limits == (Reason.BUDGET_EXHAUSTED,)
