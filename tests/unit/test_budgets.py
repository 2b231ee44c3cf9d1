"""What pools may have of a limit that they share: who counts, when a pool may grow, and that it is never too much."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerpool_operator.budgets import FEW, Budgets
from workerpool_operator.core.decision import Decision, History, Reason
from workerpool_operator.core.observation import (
    Allotment,
    Cause,
    InFlight,
    Observation,
    QueueDepth,
    Replicas,
    Unavailable,
)
from workerpool_operator.core.spec import Budget, PoolSpec, ScaleDown, WhenBusy
from workerpool_operator.ports import PoolKey

pytestmark = pytest.mark.unit

QUICK = ScaleDown(stabilization_s=0)


def key(name: str, namespace: str = "shop") -> PoolKey:
    return PoolKey(namespace=namespace, name=name)


def spec_of(most: int = 6, weight: int = 1, *, budget: str = "db", **fields: object) -> PoolSpec:
    values = {"max_replicas": 20, "backlog_per_replica": 1, "scale_down": QUICK} | fields
    return PoolSpec(budget=Budget(name=budget, max_replicas=most, weight=weight), **values)  # type: ignore[arg-type]


@dataclass(kw_only=True)
class World:
    """Pools whose sizes move at once; what leaves stays until it is told to be gone."""

    budgets: Budgets = field(default_factory=Budgets)
    specs: dict[PoolKey, PoolSpec] = field(default_factory=dict)
    size: dict[PoolKey, int] = field(default_factory=dict)
    leaving: dict[PoolKey, int] = field(default_factory=dict)
    busy: dict[PoolKey, int] = field(default_factory=dict)
    history: dict[PoolKey, History] = field(default_factory=dict)
    now_s: float = 1_000.0

    def has(self, name: str, *, size: int = 0, **fields: object) -> PoolKey:
        one = key(name)
        self.specs[one] = spec_of(**fields)  # type: ignore[arg-type]
        self.size.setdefault(one, size)
        self.budgets.enrol(one, self.specs[one], size=size)
        return one

    def look(self, name: str, work: int | None, *, moves: bool = True) -> tuple[Allotment | None, Decision]:
        """One look at a pool with so much work, None: that cannot be read."""
        one, away = key(name), Unavailable(cause=Cause.TIMEOUT, message="away")
        size, leaving = self.size[one], self.leaving.get(one, 0)
        self.now_s += 1
        seen = Observation(
            time_s=self.now_s,
            replicas=Replicas(
                current=size,
                ready=size,
                busy=None if work is None else min(size, self.busy.get(one, 0)),
                leaving=leaving,
            ),
            queues={"q": away if work is None else QueueDepth(ready=work)},
            in_flight=away if work is None else InFlight(),
        )
        seen, decision = self.budgets.decide(one, seen, self.specs[one], self.history.get(one, History()))
        self.history[one] = decision.history
        if moves:
            self.leaving[one] = leaving + max(0, size - decision.target)
            self.size[one] = decision.target
        return seen.allotment, decision

    def gone(self, name: str) -> None:
        self.leaving[key(name)] = 0

    @property
    def there(self) -> int:
        return sum(self.size.values()) + sum(self.leaving.values())


def sizes(world: World, *names: str) -> list[int]:
    return [world.size[key(name)] for name in names]


def test_who_is_decided_first_does_not_take_what_is_due_to_others() -> None:
    world = World()
    world.has("email", most=3, weight=2)
    world.has("order", most=3)
    world.look("email", 50)
    world.look("order", 50)
    assert sizes(world, "email", "order") == [2, 1]
    world.look("order", 0)
    assert world.look("email", 50)[0] == Allotment(budget="db", replicas=2, share=3, used=3, max_replicas=3, pools=2), (
        "the replica that was idle has not gone yet"
    )
    world.gone("order")
    world.look("order", 0)
    world.look("email", 50)
    assert sizes(world, "email", "order") == [3, 0]


def test_where_work_comes_for_all_at_once_nobody_starts_what_it_would_give_back() -> None:
    world, weights = World(), {"order": 3, "email": 2, "maintenance": 1}
    for name, weight in weights.items():
        world.has(name, most=12, weight=weight)
    for name in weights:
        world.look(name, 0)
    for name in weights:
        world.look(name, 50)
    assert sizes(world, *weights) == [6, 4, 2]
    assert not any(world.leaving.values())


def test_what_others_do_not_want_is_taken_a_look_later() -> None:
    world = World()
    for name in ("email", "order"):
        world.has(name, most=6, max_replicas=5)
        world.look(name, 0)
    found, decision = world.look("email", 5)
    assert found is not None
    assert (decision.target, found.share, found.asks_others) == (3, 5, True)
    assert decision.message.endswith("budget db allows 3: its share of 6 is 5, and other pools are asked first")
    world.look("order", 0)
    assert world.look("email", 5)[1].target == 5
    assert world.look("email", 4)[1].target == 4
    world.gone("email")
    world.look("email", 4)
    assert world.look("order", 1)[1].target == 1, "what it can be sure of it has at once"


def test_who_has_too_much_gives_back_and_only_then_the_other_grows() -> None:
    world = World()
    world.has("email", most=6)
    world.look("email", 50)
    world.has("order", most=6)
    found, decision = world.look("order", 50)
    assert found is not None
    assert (found.share, found.replicas, decision.target) == (3, 0, 0)
    assert decision.reason is Reason.BUDGET_EXHAUSTED
    assert "budget db allows 0: its share of 6 is 3, and 6 are in use" in decision.message
    world.look("email", 50)
    assert world.look("order", 50)[1].target == 0, "three are still leaving"
    world.gone("email")
    world.look("email", 50)
    world.look("order", 50)
    assert sizes(world, "email", "order") == [3, 3]


def test_busy_workers_above_the_share_are_waited_for() -> None:
    world = World()
    world.has("email", most=4)
    world.look("email", 50)
    world.has("order", most=4)
    world.look("order", 50)
    world.busy[key("email")] = 3
    assert world.look("email", 50)[1].reason is Reason.BUSY_WORKERS
    world.gone("email")
    world.look("email", 50)
    world.look("order", 50)
    assert sizes(world, "email", "order") == [3, 1]


def test_what_was_granted_counts_until_it_is_seen() -> None:
    world = World()
    world.has("email", most=6)
    world.has("order", most=6)
    world.look("email", 4, moves=False)
    world.look("email", 3, moves=False)
    world.look("order", 50)
    assert sizes(world, "email", "order") == [0, 3]
    world.look("email", 0)
    world.look("order", 50)
    assert sizes(world, "email", "order") == [0, 6], "what was granted in vain is free again"


def test_a_pool_that_cannot_be_read_keeps_what_it_has() -> None:
    world = World()
    world.has("email", most=6)
    world.has("order", most=6)
    world.look("order", 0)
    world.look("email", 5)
    world.look("email", 5)
    world.look("email", None)
    world.look("order", 50)
    assert sizes(world, "email", "order") == [5, 1]


def test_a_pinned_pool_takes_from_the_others() -> None:
    world = World()
    world.has("email", most=6)
    world.has("order", most=6, pinned_replicas=5)
    world.look("order", 0)
    world.look("email", 50)
    assert sizes(world, "email", "order") == [1, 5]
    world.has("order", most=6, paused=True)
    world.look("order", 0)
    world.look("email", 50)
    assert sizes(world, "email", "order") == [1, 5], "a paused one keeps it"
    world.has("order", most=6)
    for _ in range(2):
        world.look("order", 0)
        world.gone("order")
    world.look("email", 50)
    assert sizes(world, "email", "order") == [6, 0]


def test_floors_that_do_not_fit_are_cut_and_that_is_said() -> None:
    world = World()
    world.has("email", most=3, min_replicas=4, weight=2)
    world.has("order", most=3, min_replicas=4)
    decisions = [world.look(name, 0)[1] for name in ("email", "order")]
    assert [decision.target for decision in decisions] == [2, 1]
    assert all(decision.limits == (Reason.AT_MINIMUM, Reason.BUDGET_EXHAUSTED) for decision in decisions)
    assert "minReplicas holds 4; budget db allows 2: its share of 3 is 2" in decisions[0].message


def test_pools_that_disagree_get_the_lowest_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.WARNING):
        world.has("email", most=8)
        world.has("order", most=5)
        world.has("payment", most=8)
    text = "its pools disagree on maxReplicas (5 in order, 8 in email, payment): the lowest counts"
    assert caplog.messages[-1] == f"budget shop/db: {text}"
    for name in ("email", "order", "payment"):
        found, decision = world.look(name, 50)
        assert found is not None
        assert (found.max_replicas, found.disagreement) == (5, text)
        assert text in decision.message
    world.has("order", most=8)
    found, _ = world.look("email", 50)
    assert found is not None
    assert (found.max_replicas, found.disagreement) == (8, "")


def test_budgets_of_another_name_or_namespace_are_others() -> None:
    budgets = Budgets()
    for one, name in ((key("email"), "db"), (key("order"), "mail"), (key("email", "test"), "db")):
        budgets.enrol(one, spec_of(3, budget=name), size=3)
        found, _ = budgets.decide(one, _seen(3), spec_of(3, budget=name), History())
        assert found.allotment is not None
        assert (found.allotment.used, found.allotment.pools) == (3, 1)


def test_a_pool_moves_to_another_budget_with_what_it_has() -> None:
    world = World()
    world.has("email", most=3)
    world.look("email", 50)
    world.has("order", most=3)
    world.has("email", most=4, budget="mail")
    world.has("sms", most=4, budget="mail")
    world.look("sms", 50)
    world.look("order", 50)
    assert sizes(world, "email", "sms", "order") == [3, 1, 3]
    world.budgets.enrol(key("email"), PoolSpec())
    assert key("email") not in world.budgets
    world.look("sms", 50)
    assert sizes(world, "sms") == [4]


def test_one_that_nobody_decides_keeps_what_it_has_and_asks_for_nothing() -> None:
    world = World()
    world.has("email", most=6)
    world.has("order", most=6, size=2)
    world.look("email", 50)
    assert sizes(world, "email") == [3], "half of it is the other's, who was not asked yet"
    world.budgets.hold(key("order"))
    world.look("email", 50)
    assert sizes(world, "email") == [4]
    world.budgets.hold(key("order"), size=1)
    world.look("email", 50)
    assert sizes(world, "email") == [5]
    world.budgets.forget(key("order"))
    world.look("email", 50)
    assert sizes(world, "email") == [6]
    world.budgets.forget_all()
    assert key("email") not in world.budgets


def test_a_pool_without_a_budget_is_decided_as_ever() -> None:
    budgets, spec = Budgets(), PoolSpec(backlog_per_replica=1)
    seen = _seen(0, ready=5)
    observation, decision = budgets.decide(key("email"), seen, spec, History())
    assert observation is seen
    assert decision.target == 5


def _seen(current: int, *, ready: int = 0, up: int | None = None, leaving: int = 0) -> Observation:
    return Observation(
        time_s=1.0,
        replicas=Replicas(current=current, ready=current if up is None else up, busy=0, leaving=leaving),
        queues={"q": QueueDepth(ready=ready)},
        in_flight=InFlight(),
    )


def test_replicas_that_were_not_told_to_go_yet_count_as_well() -> None:
    budgets, spec = Budgets(), spec_of(6)
    found, _ = budgets.decide(key("email"), _seen(1, up=4, leaving=1), spec, History())
    assert found.allotment is not None
    assert found.allotment.used == 5


# -- whatever happens


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(2, 5), st.integers(0, 10_000))
def test_no_decisions_together_pass_the_limit(most: int, pools: int, seed: int) -> None:
    """Work comes and goes, workers are busy or not, brokers go away, replicas leave slowly, writes fail."""
    luck, world = random.Random(seed), World()
    names = [f"pool-{number}" for number in range(pools)]
    for name in names:
        world.has(
            name,
            most=most,
            weight=luck.randint(1, 5),
            min_replicas=luck.choice([0, 0, 1]),
            scale_down=ScaleDown(stabilization_s=luck.choice([0, 3]), when_busy=luck.choice(list(WhenBusy))),
        )
    for _ in range(120):
        name = luck.choice(names)
        world.busy[key(name)] = luck.randint(0, 4)
        world.look(name, luck.choice([None, 0, 0, 1, 3, 50]), moves=luck.random() < 0.8)
        if luck.random() < 0.4:
            world.gone(luck.choice(names))
        assert world.there <= most
    settled(world, names, most)


def settled(world: World, names: Iterable[str], most: int) -> None:
    """When all are hungry, nobody is busy and what leaves is gone, all of the budget is in use, by weight."""
    world.busy.clear()
    for _ in range(6):
        for name in names:
            world.look(name, 50)
            world.gone(name)
    assert world.there == most
    weights = {name: budget.weight for name in names if (budget := world.specs[key(name)].budget) is not None}
    for rich in names:
        for poor in names:
            floor = world.specs[key(rich)].min_replicas
            if world.size[key(rich)] > floor:
                assert (world.size[key(rich)] - 1) / weights[rich] <= world.size[key(poor)] / weights[poor]


def test_the_limit_holds_for_what_was_there_before_as_soon_as_it_can() -> None:
    """An operator that starts finds more than the limit: nobody grows, and those above their share shrink."""
    world = World()
    world.has("email", most=4, size=4)
    world.has("order", most=4, size=4)
    for name in ("email", "order", "email", "order"):
        world.look(name, 50)
        world.gone(name)
    assert sizes(world, "email", "order") == [2, 2]
    world.specs[key("email")] = replace(world.specs[key("email")], budget=Budget(name="db", max_replicas=2))
    for name in ("email", "order"):
        world.look(name, 50)
    assert sizes(world, "email", "order") == [1, 1]


def test_among_very_many_pools_the_shares_are_right_a_moment_later() -> None:
    world, names = World(), [f"pool-{number:03}" for number in range(FEW * 2)]
    for name in names:
        world.has(name, most=FEW)
    for name in names:
        world.look(name, 1)
    assert world.there == FEW
    for name in names[:FEW]:
        world.look(name, 0)
        world.gone(name)
        world.look(name, 0)
    limit_s = time.monotonic() + 10
    while sum(sizes(world, *names[FEW:])) < FEW:
        assert time.monotonic() < limit_s
        for name in names[FEW:]:
            world.look(name, 1)
    assert world.there == FEW
