"""What is said to workers, when, and what is made of their silence; no broker and no time passes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping

import pytest

from workerpool_operator.core.observation import Cause, Unavailable
from workerpool_operator.ports import WorkerBeat
from workerpool_operator.queues.cordons import SOON_AGAIN_S, TRY_AGAIN_S, UNANSWERED, Cordons

pytestmark = pytest.mark.unit
MAIL = frozenset({"mail"})
NONE: frozenset[str] = frozenset()
AWAY = Unavailable(cause=Cause.UNREACHABLE, message="redis:6379 refused the connection")


class Control:
    """Workers that obey at once; ``deaf`` ones neither answer nor obey."""

    def __init__(self, **takes: frozenset[str]) -> None:
        self.takes: dict[str, frozenset[str]] = dict(takes)
        self.deaf: set[str] = set()
        self.away: Unavailable | None = None
        self.asked: list[set[str]] = []
        self.jobs: dict[str, int] = {}
        self.counted: list[set[str]] = []
        self.prefixes: set[str] = set()
        self.answers_may_come = asyncio.Event()
        self.answers_may_come.set()
        self.jobs_may_come = asyncio.Event()
        self.jobs_may_come.set()

    async def queues_of(
        self, workers: Collection[str], *, key_prefix: str
    ) -> Mapping[str, frozenset[str]] | Unavailable:
        self.asked.append(set(workers))
        self.prefixes.add(key_prefix)
        found = {one: self.takes[one] for one in workers if one in self.takes and one not in self.deaf}
        answer = self.away or found
        await self.answers_may_come.wait()
        return answer

    async def jobs_of(self, workers: Collection[str], *, key_prefix: str) -> Mapping[str, int] | Unavailable:
        if workers:
            self.counted.append(set(workers))
            self.prefixes.add(key_prefix)
        answer = {one: self.jobs[one] for one in workers if one in self.jobs and one not in self.deaf}
        await self.jobs_may_come.wait()
        return self.away or answer

    async def cancel(self, queues: Mapping[str, Collection[str]], *, key_prefix: str) -> Unavailable | None:
        self.prefixes.add(key_prefix)
        return self._obey(queues, lambda takes, names: takes - names)

    async def add(self, queues: Mapping[str, Collection[str]], *, key_prefix: str) -> Unavailable | None:
        self.prefixes.add(key_prefix)
        return self._obey(queues, lambda takes, names: takes | names)

    async def close(self) -> None:
        """Nothing to close."""

    def _obey(
        self,
        queues: Mapping[str, Collection[str]],
        change: Callable[[frozenset[str], frozenset[str]], frozenset[str]],
    ) -> Unavailable | None:
        if self.away is None:
            for worker, names in queues.items():
                if worker not in self.deaf:
                    self.takes[worker] = change(self.takes[worker], frozenset(names))
        return self.away


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def control() -> Control:
    return Control(a=MAIL, b=MAIL | {"sms"})


@pytest.fixture
def cordons(control: Control, clock: Clock) -> Iterator[Cordons]:
    made = Cordons("shop/mail", lambda: control, key_prefix=lambda: "x:", clock=clock)
    yield made
    made.stop()


async def test_told_asked_until_they_did_and_given_back_what_they_took(cordons: Cordons, control: Control) -> None:
    able = await cordons.ask({"one": ["a", "b"]})
    assert able == {"one": {"a": MAIL, "b": MAIL | {"sms"}}}
    assert await cordons.cordon(able, {})
    assert control.takes == {"a": NONE, "b": NONE}
    await cordons.refresh()
    assert cordons.cordoned() == {"one"}
    control.takes["b"] = frozenset({"sms"})  # it came again
    await cordons.refresh()
    assert control.takes["b"] == NONE
    await cordons.give_back(["one"])
    assert cordons.cordoned() == NONE
    assert control.takes == {"a": MAIL, "b": MAIL | {"sms"}}
    assert cordons.returned() == NONE, "it has not said so"
    await cordons.refresh()
    assert cordons.returned() == {"one"}
    assert control.prefixes == {"x:"}


def beat(worker: str, active: int = 0) -> WorkerBeat:
    return WorkerBeat(hostname=worker, pid=1, active=active, processed=1, age_s=0.0)


async def test_those_that_look_idle_are_asked_whether_they_have_a_job_in_hand(
    cordons: Cordons, control: Control, clock: Clock
) -> None:
    shown: list[frozenset[str]] = []
    cordons.on_idle = lambda: shown.append(cordons.idle())
    able = await cordons.ask({"one": ["a"], "two": ["b"]})
    await cordons.cordon(able, {"one": [beat("a")], "two": [beat("b", 1)]})
    control.jobs = {"a": 1, "b": 1}
    await cordons.refresh()
    assert control.counted == [{"a"}], "the other has a job by its heartbeat"
    assert not shown
    control.jobs["a"] = 0
    await cordons.refresh()
    assert shown == [{"one"}]
    cordons.gone = frozenset({"one"})
    clock.now_s += 1.0
    cordons.hear("two", [beat("b")])
    control.jobs["b"] = 0
    await cordons.refresh()
    assert control.asked[-1] == control.counted[-1] == {"b"}, "one that goes is asked nothing"
    assert shown[-1] == {"one", "two"}


async def test_a_heartbeat_without_a_job_has_them_asked_at_once(
    cordons: Cordons, control: Control, clock: Clock
) -> None:
    shown = asyncio.Event()
    cordons.on_idle = shown.set
    control.jobs = {"a": 0}
    await cordons.cordon(await cordons.ask({"one": ["a"]}), {"one": [beat("a", 1)]})
    async with asyncio.timeout(5):
        while len(control.asked) < 2:  # noqa: ASYNC110 - then it is confirmed what it was told, and nobody is asked
            await asyncio.sleep(0.001)
    assert not control.counted
    clock.now_s += 1.0
    cordons.hear("one", [beat("a")])
    async with asyncio.timeout(3.0):  # by itself it would be asked after five
        await shown.wait()
    assert cordons.idle() == {"one"}


async def test_one_that_does_not_say_what_it_has_in_hand_is_known_by_its_heartbeats(
    cordons: Cordons, control: Control, clock: Clock
) -> None:
    await cordons.cordon(await cordons.ask({"one": ["a"]}), {"one": [beat("a")]})
    await cordons.refresh()
    assert control.counted == [{"a"}]
    assert cordons.idle() == NONE
    clock.now_s += 2.0
    cordons.hear("one", [beat("a")])
    assert cordons.idle() == {"one"}


async def test_one_that_has_not_said_that_it_takes_no_more_is_asked_nothing_else(
    cordons: Cordons, control: Control
) -> None:
    control.jobs = {"a": 0}
    able = await cordons.ask({"one": ["a"]})
    control.away = AWAY
    await cordons.cordon(able, {"one": [beat("a")]})
    control.away = None
    await cordons.refresh()  # it is told again here
    assert not control.counted
    assert cordons.idle() == NONE
    await cordons.refresh()
    assert cordons.idle() == {"one"}


async def test_an_answer_from_before_it_was_given_back_and_cordoned_again_is_none(
    cordons: Cordons, control: Control, clock: Clock
) -> None:
    control.jobs = {"a": 0}
    able = await cordons.ask({"one": ["a"]})
    await cordons.cordon(able, {"one": [beat("a", 1)]})
    await cordons.refresh()
    clock.now_s += 1.0
    cordons.hear("one", [beat("a")])
    control.jobs_may_come.clear()
    question = asyncio.create_task(cordons.refresh())
    while not control.counted:  # noqa: ASYNC110 - a few turns of the loop
        await asyncio.sleep(0)
    clock.now_s += 1.0
    await cordons.give_back(["one"])
    await cordons.cordon(able, {"one": [beat("a")]})
    control.jobs_may_come.set()
    await question
    assert cordons.idle() == NONE


async def test_a_message_that_was_lost_is_sent_again(cordons: Cordons, control: Control) -> None:
    able = await cordons.ask({"one": ["a"]})
    control.away = AWAY
    assert not await cordons.cordon(able, {})
    assert cordons.cordoned() == {"one"}
    control.away = None
    await cordons.refresh()
    assert control.takes["a"] == NONE
    control.away = AWAY
    await cordons.give_back(["one"])
    control.away = None
    await cordons.refresh()
    assert control.takes["a"] == MAIL
    await cordons.refresh()
    assert cordons.returned() == {"one"}


async def test_an_answer_from_before_is_none(cordons: Cordons, control: Control, clock: Clock) -> None:
    """Given back while a question is under way, and the telling lost: the old answer must not pass for the new one."""
    await cordons.cordon(await cordons.ask({"one": ["a"]}), {})
    control.takes["a"] = MAIL  # it has not obeyed yet
    control.answers_may_come.clear()
    question = asyncio.create_task(cordons.refresh())
    await asyncio.sleep(0)
    assert len(control.asked) == 2
    clock.now_s += 1.0
    control.away = AWAY
    await cordons.give_back(["one"])
    control.answers_may_come.set()
    await question
    assert cordons.returned() == NONE
    control.away, control.takes["a"] = None, NONE  # now it obeys what it was told at first
    await cordons.refresh()
    assert control.takes["a"] == MAIL


async def test_a_busy_worker_that_does_not_answer_ends_it_for_a_while(
    cordons: Cordons, control: Control, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    control.deaf = {"a", "b"}
    assert cordons.drains
    assert await cordons.ask({"one": ["a"]}, busy=["one"]) == {}
    assert (cordons.drains, cordons.deaf(["a"]), cordons.deaf(["b"])) == (False, True, False)
    assert await cordons.ask({"two": ["b"]}, busy=["two"]) == {}
    assert control.asked == [{"a"}], "nobody is asked while it is known"
    clock.now_s += TRY_AGAIN_S
    assert cordons.drains
    assert await cordons.ask({"one": ["a"]}, busy=["one"]) == {}
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warnings) == 1, "said once"
    assert UNANSWERED in warnings[0]
    clock.now_s += TRY_AGAIN_S
    control.deaf = set()
    assert await cordons.ask({"one": ["a"]}, busy=["one"]) == {"one": {"a": MAIL}}


async def test_one_that_listens_is_proof_that_the_pool_can(cordons: Cordons, control: Control) -> None:
    control.deaf = {"a"}
    assert await cordons.ask({"one": ["a"], "two": ["b"]}, busy=["one", "two"]) == {"two": {"b": MAIL | {"sms"}}}
    assert cordons.drains
    assert cordons.deaf(["a"])
    assert await cordons.ask({"one": ["a"]}, busy=["one"]) == {}
    assert not cordons.drains, "all that is left is deaf"
    assert control.asked == [{"a", "b"}]


async def test_an_idle_one_that_does_not_answer_is_asked_again_soon(
    cordons: Cordons, control: Control, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    control.deaf = {"a"}
    assert await cordons.ask({"one": ["a"]}) == {}
    assert cordons.drains
    assert not caplog.records
    clock.now_s += SOON_AGAIN_S
    control.deaf = set()
    assert await cordons.ask({"one": ["a"]}) == {"one": {"a": MAIL}}


async def test_all_workers_of_a_replica_have_to_listen(cordons: Cordons, control: Control) -> None:
    control.deaf = {"b"}
    assert await cordons.ask({"one": ["a", "b"]}) == {}


async def test_without_control_there_is_none() -> None:
    cordons = Cordons("shop/mail", lambda: None)
    assert not cordons.drains
    assert await cordons.ask({"one": ["a"]}) == {}
    cordons.adopt("one", {"a": MAIL})
    await cordons.refresh()
    assert cordons.cordoned() == {"one"}
    cordons.stop()
    assert not cordons


async def test_who_was_stopped_in_the_middle_says_nothing_more(cordons: Cordons, control: Control) -> None:
    """Another operator leads: it must not be contradicted."""
    able = await cordons.ask({"one": ["a"]})
    cordons.stop()
    assert not await cordons.cordon(able, {})
    cordons.adopt("one", {"a": MAIL})
    await cordons.give_back(["one"])
    await cordons.refresh()
    assert control.takes["a"] == MAIL
    assert not cordons
