"""The decision which tags belong to nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool_worker.parent.recovery import LEASE_S, Lease, Orphans, find_orphans

pytestmark = pytest.mark.unit

NOW = 1_000.0


def find(
    leases: dict[str, tuple[float, str]],
    indexed: str,
    *,
    seen: dict[str, float] | None = None,
    now_s: float = 50.0,
    starting: bool = False,
) -> Orphans:
    made = {name: Lease(expires=expires, tags=frozenset(tags)) for name, (expires, tags) in leases.items()}
    return find_orphans(
        me="me", leases=made, indexed=indexed, seen=seen or {}, now_redis_s=NOW, now_s=now_s, starting=starting
    )


def test_what_a_live_lease_names_is_left_alone() -> None:
    found = find({"me": (NOW + 6, "a"), "other": (NOW + 1, "b")}, "ab")
    assert found == Orphans(restore=(), watch={}, expired=())


def test_what_an_expired_lease_names_is_restored_at_once() -> None:
    found = find({"me": (NOW + 6, ""), "dead": (NOW - 0.1, "b")}, "b")
    assert found == Orphans(restore=("b",), watch={}, expired=("dead",))


def test_an_expired_leases_tag_that_another_holds_by_now_is_left_alone() -> None:
    found = find({"me": (NOW + 6, "b"), "dead": (NOW - 9, "b")}, "b")
    assert found == Orphans(restore=(), watch={}, expired=("dead",))


def test_what_nobody_names_is_watched_for_the_life_of_a_lease_first() -> None:
    leases = {"me": (NOW + 6, ""), "other": (NOW + 6, "")}
    first = find(leases, "x", now_s=50.0)
    assert first == Orphans(restore=(), watch={"x": 50.0}, expired=())
    assert find(leases, "x", seen=first.watch, now_s=50.0 + LEASE_S - 0.1).restore == ()
    assert find(leases, "x", seen=first.watch, now_s=50.0 + LEASE_S).restore == ("x",)


def test_a_tag_claimed_in_between_is_watched_anew() -> None:
    claimed = find({"me": (NOW + 6, ""), "other": (NOW + 6, "x")}, "x", seen={"x": 50.0}, now_s=52.0)
    assert claimed.watch == {}


def test_the_only_worker_starting_takes_everything() -> None:
    assert find({"me": (NOW + 6, "")}, "xy", starting=True).restore == ("x", "y")
    assert find({"me": (NOW + 6, ""), "other": (NOW + 1, "")}, "xy", starting=True).restore == ()
    assert find({"me": (NOW + 6, "")}, "xy", starting=False).restore == ()


@given(
    leases=st.dictionaries(
        st.sampled_from(["me", "b", "c"]),
        st.tuples(st.floats(NOW - 10, NOW + 10), st.text("uvwxyz", max_size=4)),
    ),
    indexed=st.text("uvwxyz", max_size=6),
    starting=st.booleans(),
)
def test_nothing_a_live_lease_names_is_ever_restored(
    leases: dict[str, tuple[float, str]], indexed: str, starting: bool
) -> None:
    found = find(leases, "".join(dict.fromkeys(indexed)), starting=starting)
    live = "".join(tags for expires, tags in leases.values() if expires > NOW)
    assert not set(found.restore) & set(live)
    assert not set(found.restore) & set(found.watch)
    assert all(leases[name][0] <= NOW and name != "me" for name in found.expired)


@pytest.mark.parametrize("raw", ["", "[]", "{}", '{"expires": "soon", "tags": []}', '{"expires": 1, "tags": 3}'])
def test_a_lease_that_cannot_be_read_holds_nothing(raw: str) -> None:
    assert Lease.decode(raw) == Lease(expires=0.0, tags=frozenset())


def test_a_lease_survives_the_hash() -> None:
    lease = Lease(expires=NOW, tags=frozenset("ab"))
    assert Lease.decode(lease.encode().encode()) == lease


def test_who_was_without_redis_takes_nobody_for_dead_on_a_lease_that_ran_out_meanwhile() -> None:
    """All were held up alike: the first one back sees the leases of the others as they were before."""
    leases = {"me": Lease(expires=106, tags=frozenset()), "other": Lease(expires=99, tags=frozenset({"b1"}))}
    asked = {"me": "me", "leases": leases, "indexed": ["b1"], "now_redis_s": 100.0, "now_s": 50.0}
    for starting in (False, True):
        found = find_orphans(**asked, seen={}, starting=starting, stalled=True)  # type: ignore[arg-type]
        assert (found.restore, found.watch, found.expired) == ((), {"b1": 50.0}, ())
        found = find_orphans(**asked, seen={}, starting=starting)  # type: ignore[arg-type]
        assert (found.restore, found.expired) == (("b1",), ("other",))
