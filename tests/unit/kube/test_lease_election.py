"""The rules of one candidate, and a simulated world that tries to make two of them lead at one time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerpool_operator.kube.lease_election import Do, Election, Lease, Step, Timing

pytestmark = pytest.mark.unit

TIMING = Timing()


def _lease(holder: str, version: int = 1, *, renewed: str = "t0", duration_s: float | None = 8.0) -> Lease:
    return Lease(holder=holder, version=str(version), duration_s=duration_s, transitions=0, renewed=renewed)


def _leader(*, since_s: float = 0.0) -> Election:
    """A candidate that took a free lease."""
    election = Election(identity="me", timing=TIMING)
    election.looked(_lease("", 1), now_s=since_s)
    election.sending(Do.TAKE)
    election.wrote(Do.TAKE, _lease("me", 2), sent_s=since_s, now_s=since_s)
    return election


def test_a_free_lease_is_taken_at_once_and_renewed_in_time() -> None:
    election = Election(identity="me", timing=TIMING)
    assert election.step(0.0).do is Do.LOOK
    election.looked(_lease(""), now_s=0.1)
    assert election.step(0.1) == Step(do=Do.TAKE, at_s=0.1)
    election.sending(Do.TAKE)
    assert not election.leads(0.1)
    election.wrote(Do.TAKE, _lease("me", 2), sent_s=0.1, now_s=0.4)
    assert election.leads(0.4)
    step = election.step(0.4)
    assert step.do is Do.RENEW
    assert step.at_s == pytest.approx(2.1)


def test_a_leader_trusts_a_renewal_from_the_moment_it_was_sent() -> None:
    election = _leader()
    election.sending(Do.RENEW)
    election.wrote(Do.RENEW, _lease("me", 3), sent_s=2.0, now_s=4.9)
    assert election.leads(6.9)
    assert not election.leads(7.0)


def test_a_leader_that_was_paused_does_not_lead_when_it_wakes() -> None:
    election = _leader()
    assert not election.leads(20.0)
    election.sending(Do.RENEW)
    election.refused(Do.RENEW, now_s=20.1)
    election.looked(_lease("other", 9), now_s=20.2)
    assert not election.leads(20.2)
    assert election.step(20.2).do is Do.LOOK


def test_a_paused_leader_whom_nobody_replaced_leads_again_by_its_next_renewal() -> None:
    election = _leader()
    assert election.step(20.0).do is Do.RENEW
    election.sending(Do.RENEW)
    election.wrote(Do.RENEW, _lease("me", 3), sent_s=20.0, now_s=20.1)
    assert election.leads(20.1)


def test_another_holder_is_given_its_time_from_the_last_change_that_was_seen() -> None:
    election = Election(identity="me", timing=TIMING)
    election.looked(_lease("other", 1, renewed="t0"), now_s=0.0)
    election.looked(_lease("other", 2, renewed="t1"), now_s=7.5)
    assert (election.step(7.5).do, election.step(7.5).at_s) == (Do.LOOK, 8.5)
    election.looked(_lease("other", 2, renewed="t1"), now_s=15.0)
    assert (election.step(15.0).do, election.step(15.0).at_s) == (Do.TAKE, 15.5)


def test_a_label_on_the_lease_is_no_sign_of_life() -> None:
    election = Election(identity="me", timing=TIMING)
    election.looked(_lease("other", 1), now_s=0.0)
    election.looked(_lease("other", 2), now_s=7.9)
    assert (election.step(7.9).do, election.step(7.9).at_s) == (Do.TAKE, 8.0)


def test_the_holders_own_duration_counts() -> None:
    election = Election(identity="me", timing=TIMING)
    election.looked(_lease("other", duration_s=60.0), now_s=0.0)
    election.looked(_lease("other", duration_s=60.0), now_s=59.5)
    assert (election.step(59.5).do, election.step(59.5).at_s) == (Do.TAKE, 60.0)
    election.looked(_lease("third", duration_s=None), now_s=100.0)
    election.looked(_lease("third", duration_s=None), now_s=107.5)
    assert election.step(107.5).at_s == 108.0


def test_a_lease_of_the_same_name_from_before_a_restart_is_anothers() -> None:
    election = Election(identity="me", timing=TIMING)
    election.looked(_lease("me"), now_s=0.0)
    assert not election.holds
    assert election.step(0.0).do is Do.LOOK


def test_a_missing_lease_is_made_and_leads_only_when_nobody_else_can_still() -> None:
    election = Election(identity="me", timing=TIMING)
    election.looked(None, now_s=0.0)
    assert election.step(0.0).do is Do.CREATE
    election.sending(Do.CREATE)
    election.wrote(Do.CREATE, _lease("me"), sent_s=0.0, now_s=0.2)
    assert not election.leads(4.0)
    election.sending(Do.RENEW)
    election.wrote(Do.RENEW, _lease("me", 2), sent_s=4.0, now_s=4.1)
    assert not election.leads(5.1)
    assert election.leads(5.2)


def test_a_create_that_was_never_answered_counts_from_when_it_is_found() -> None:
    election = Election(identity="me", timing=TIMING)
    election.looked(None, now_s=0.0)
    election.sending(Do.CREATE)
    election.failed(now_s=2.5)
    assert (election.step(2.5).do, election.step(2.5).at_s) == (Do.LOOK, 3.0)
    election.looked(_lease("me"), now_s=3.1)
    assert (election.step(3.1).do, election.step(3.1).at_s) == (Do.RENEW, 3.1)
    election.sending(Do.RENEW)
    election.wrote(Do.RENEW, _lease("me", 2), sent_s=3.1, now_s=3.2)
    assert not election.leads(8.0)
    assert election.leads(8.1 - 0.0001) is False


def test_a_leader_whose_lease_is_deleted_makes_it_again_and_goes_on() -> None:
    election = _leader()
    election.sending(Do.RENEW)
    election.refused(Do.RENEW, now_s=2.1)
    election.looked(None, now_s=2.2)
    assert election.leads(2.2)
    election.sending(Do.CREATE)
    election.wrote(Do.CREATE, _lease("me", 5), sent_s=2.2, now_s=2.3)
    assert election.leads(7.1)


def test_a_leader_that_resigned_leads_no_more_whatever_is_answered() -> None:
    election = _leader()
    election.sending(Do.RENEW)
    election.resign()
    assert not election.leads(1.0)
    election.wrote(Do.RENEW, _lease("me", 3), sent_s=2.0, now_s=2.1)
    assert not election.leads(2.1)


@pytest.mark.parametrize(("renew", "deadline", "duration"), [(0, 5, 8), (5, 5, 8), (2, 8, 8), (2, 9, 8)])
def test_times_that_contradict_each_other_are_refused(renew: float, deadline: float, duration: float) -> None:
    with pytest.raises(ValueError, match="renew_every < renew_deadline < lease_duration"):
        Timing(renew_every_s=renew, renew_deadline_s=deadline, lease_duration_s=duration)


@dataclass
class World:
    """One lease at an API server, candidates with clocks of their own, and a network that delays and loses."""

    random: random.Random
    now_s: float = 0.0
    lease: Lease | None = None
    events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    stretches: list[tuple[float, float, str]] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=itertools.count)

    def later(self, delay_s: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now_s + delay_s, next(self._ids), do))

    def run(self, until_s: float) -> None:
        while self.events and self.events[0][0] < until_s:
            self.now_s, _, do = heapq.heappop(self.events)
            do()

    def store(self, holder: str, transitions: int) -> Lease:
        version = str(next(self._ids))
        self.lease = Lease(holder=holder, version=version, duration_s=8.0, transitions=transitions, renewed=version)
        return self.lease

    def delay_s(self) -> float:
        return self.random.choice((0.001, 0.01, 0.1, 1.0, 2.4, self.random.uniform(0, 30)))


@dataclass
class Candidate:
    """Drives an election as ``Leadership`` does, with time-outs, pauses and crashes."""

    world: World
    name: str
    offset_s: float
    election: Election
    paused_until_s: float = 0.0
    request: int = 0

    def clock(self) -> float:
        return self.world.now_s + self.offset_s

    def awake(self, do: Callable[[], None]) -> Callable[[], None]:
        """Run when not paused; what was due meanwhile is run at the end of the pause."""

        def step() -> None:
            if self.world.now_s < self.paused_until_s:
                self.world.later(self.paused_until_s - self.world.now_s, step)
            else:
                do()

        return step

    def turn(self) -> None:
        step = self.election.step(self.clock())
        if step.at_s > self.clock():
            self.world.later(min(step.at_s - self.clock(), 3600.0), self.awake(self.turn))
            return
        self.request += 1
        number, sent_s, basis = self.request, self.clock(), self.election.lease
        if step.do is not Do.LOOK:
            self.election.sending(step.do)
        self.world.later(self.world.delay_s(), lambda: self.at_server(step.do, basis, number, sent_s))
        self.world.later(TIMING.request_s, self.awake(lambda: self.timed_out(number)))

    def at_server(self, do: Do, basis: Lease | None, number: int, sent_s: float) -> None:
        world, found = self.world, self.world.lease
        if self.world.random.random() < 0.1:
            return  # lost on its way there
        answer: Lease | None = found
        refused = False
        if do is Do.CREATE:
            refused = found is not None
            answer = found if refused else world.store(self.name, 0)
        elif do is not Do.LOOK:
            assert basis is not None
            refused = found is None or found.version != basis.version
            answer = found if refused else world.store(self.name, basis.transitions + (do is Do.TAKE))
        if self.world.random.random() < 0.1:
            return  # lost on its way back
        world.later(world.delay_s(), self.awake(lambda: self.answered(do, answer, refused, number, sent_s)))

    def answered(self, do: Do, lease: Lease | None, refused: bool, number: int, sent_s: float) -> None:
        if number != self.request:
            return  # it timed out
        self.request += 1
        if refused:
            self.election.refused(do, now_s=self.clock())
        elif do is Do.LOOK:
            self.election.looked(lease, now_s=self.clock())
        else:
            assert lease is not None
            self.election.wrote(do, lease, sent_s=sent_s, now_s=self.clock())
        self.led()
        self.turn()

    def timed_out(self, number: int) -> None:
        if number == self.request:
            self.request += 1
            self.election.failed(now_s=self.clock())
            self.turn()

    def led(self) -> None:
        """Note the stretch in which it may believe to lead as far as is known now."""
        start_s = max(self.world.now_s, self.election.leads_from_s - self.offset_s)
        end_s = self.election.leads_until_s - self.offset_s
        if start_s < end_s:
            self.world.stretches.append((start_s, end_s, self.name))


def _run_world(seed: int, candidates: int, deletes: bool) -> World:
    rng = random.Random(seed)
    world = World(random=rng)
    for number in range(candidates):
        name = f"c{number}"
        candidate = Candidate(
            world=world,
            name=name,
            offset_s=rng.uniform(-1e6, 1e6),
            election=Election(identity=name, timing=TIMING),
        )
        world.later(rng.uniform(0, 20), candidate.turn)
        for _ in range(rng.randrange(4)):
            at_s, long_s = rng.uniform(0, 200), rng.choice((3.0, 6.0, 20.0, 1e9))

            def pause(candidate: Candidate = candidate, long_s: float = long_s) -> None:
                candidate.paused_until_s = max(candidate.paused_until_s, world.now_s + long_s)

            world.later(at_s, pause)
    for _ in range(rng.randrange(4) if deletes else 0):
        world.later(rng.uniform(0, 200), lambda: setattr(world, "lease", None))
    world.run(until_s=240.0)
    return world


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), candidates=st.integers(2, 4), deletes=st.booleans())
def test_there_are_never_two_leaders(seed: int, candidates: int, deletes: bool) -> None:
    stretches = sorted(_run_world(seed, candidates, deletes).stretches)
    latest: dict[str, float] = {}
    for start_s, end_s, name in stretches:
        others = [until_s for other, until_s in latest.items() if other != name]
        assert all(until_s <= start_s for until_s in others), stretches
        latest[name] = max(latest.get(name, end_s), end_s)


def test_the_simulated_world_does_elect_and_does_change_leaders() -> None:
    worlds = [_run_world(seed, 3, deletes=True) for seed in range(50)]
    led = [{name for *_, name in world.stretches} for world in worlds]
    assert sum(bool(names) for names in led) > 40
    assert sum(len(names) > 1 for names in led) > 20
