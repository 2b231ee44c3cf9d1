"""A pool shrinks by cordon: pods of a real ReplicaSet, real workers in their names, and the test decides the size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.celery_apps.contract import Gate
from tests.support.control_plane.api import path
from tests.support.control_plane.cluster import ControlPlane
from tests.support.drain_world import PATIENCE_S, DrainWorld, drain_world
from tests.support.pool_world import Beats
from workerpool_operator.kube.draining import read_annotation
from workerpool_operator.kube.names import CORDONED_ANNOTATION
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.ports import NoticeKind, OutcomeKind

pytestmark = pytest.mark.integration


@pytest.fixture
async def world(
    control_plane: ControlPlane, simulated_nodes: list[str], redis_server: RedisServer, tmp_path: Path
) -> AsyncIterator[DrainWorld]:
    async with drain_world(control_plane, redis_server.url, tmp_path) as made:
        yield made


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


async def test_the_idle_are_cordoned_and_go_when_they_are_idle_for_sure(world: DrainWorld, gate: Gate) -> None:
    busy, *idle = await world.start(3)
    world.send("hold", gate.path)
    world.work(busy)
    await world.until_active(**{busy: 1})
    for pod in idle:
        world.work(pod)
    await world.until_active(**{busy: 1}, **dict.fromkeys(idle, 0))
    await world.until_listening(*idle)
    state = await world.state()
    assert (state.current, state.ready, state.leaving, state.silent, state.drains) == (3, 3, 0, 0, True)

    outcome = await world.scale(1)
    assert (outcome.kind, outcome.message) == (OutcomeKind.APPLIED, "2 replicas cordoned")
    assert world.annotated() == set(idle)
    assert world.size() == 3, "they are there until it is known that they are idle"
    state = await world.state()
    assert (state.current, state.ready, state.leaving) == (1, 1, 2)
    assert {beat.active for beat in state.leaving_beats} == {0}
    await world.until_listening(*idle, queues=())
    world.send("quick", count=5)  # nobody is left to take them
    await world.until(lambda: world.size() == 1)
    await world.until(lambda: world.pods() == {busy})
    await world.until_state(1, 0)
    assert sorted(world.said(NoticeKind.REPLICA_STOPPED)) == sorted(idle)
    gate.open()
    await world.until(lambda: world.workers[busy].log.read_text().count("succeeded") == 6)
    assert all(" received" not in world.workers[pod].log.read_text() for pod in idle)


async def test_a_busy_one_is_waited_for_given_back_and_cordoned_again(world: DrainWorld, gate: Gate) -> None:
    pods = await world.start(2)
    world.send("hold", gate.path, count=2)
    world.work(pods[0])
    await world.until_active(**{pods[0]: 1})
    world.work(pods[1])
    await world.until_active(**dict.fromkeys(pods, 1))
    await world.until(lambda: all(" received" in world.workers[pod].log.read_text() for pod in pods))

    outcome = await world.scale(1)
    assert outcome.message == "1 replica cordoned, 1 still in a job"
    assert world.annotated() == {pods[0]}, "the one whose job is the oldest"
    body = world.bodies()[pods[0]]
    assert read_annotation(body["metadata"]["annotations"][CORDONED_ANNOTATION]) == {f"celery@{pods[0]}": {"mail"}}
    for _ in range(30):
        state = await world.state()
        assert (state.current, state.leaving) == (1, 1)
    assert world.size() == 2

    # the load returns
    outcome = await world.scale(2)
    assert (outcome.kind, outcome.message) == (OutcomeKind.APPLIED, "1 replica given back")
    assert (world.size(), (await world.state()).current) == (2, 2)
    await world.until(lambda: not world.annotated())
    assert world.pods() == set(pods), "no pod was made for it"

    # less again, and another operator takes over
    await world.scale(1)
    assert world.annotated() == {pods[0]}
    world.scaler.stand_by()
    world.scaler = world.another_scaler()
    state = await world.until_state(1, 1)
    assert state.ready == 1
    gate.open()
    world.send("quick", count=3)
    await world.until(lambda: world.size() == 1)
    await world.until(lambda: world.pods() == {pods[1]})
    await world.until_state(1, 0)
    await world.until(lambda: world.workers[pods[1]].log.read_text().count("succeeded") == 4)
    assert world.workers[pods[0]].log.read_text().count("succeeded") == 1, "no job was cut, none was begun"


async def test_growing_further_than_what_is_given_back_starts_the_rest(world: DrainWorld) -> None:
    pods = await world.start(2)
    for pod in pods:
        world.work(pod)
    await world.until_active(**dict.fromkeys(pods, 0))
    await world.until_listening(*pods)
    await world.scale(0)
    assert world.annotated() == set(pods)
    outcome = await world.scale(3)
    assert outcome.message == "2 replicas given back"
    assert world.size() == 3
    await world.until_state(3, 0)
    world.send("quick", count=4)
    await world.until(lambda: sum(one.log.read_text().count("succeeded") for one in world.workers.values()) == 4)
    await world.until(lambda: not world.annotated())


async def test_an_idle_one_goes_before_anybody_looks_again(world: DrainWorld) -> None:
    """It is asked, and says that it has nothing in hand: no other heartbeat has to come, and no other look."""
    pods = await world.start(2)
    for pod in pods:
        world.work(pod)
    await world.until_active(**dict.fromkeys(pods, 0))
    await world.until_listening(*pods)
    for size in (1, 0):
        await world.scale(size)
        async with asyncio.timeout(PATIENCE_S):
            while world.size() != size:  # noqa: ASYNC110 - nothing here is told of it
                await asyncio.sleep(0.02)
    await world.until(lambda: sorted(world.said(NoticeKind.REPLICA_STOPPED)) == pods)


async def test_to_zero(world: DrainWorld) -> None:
    pods = await world.start(2)
    for pod in pods:
        world.work(pod)
    await world.until_active(**dict.fromkeys(pods, 0))
    await world.until_listening(*pods)
    await world.scale(0)
    state = await world.state()
    assert (state.current, state.ready, state.leaving) == (0, 0, 2)
    await world.until(lambda: world.size() == 0)
    await world.until_state(0, 0)


async def test_one_that_does_not_listen_yet_proves_nothing_of_the_pool(world: DrainWorld) -> None:
    (idle,) = await world.start(1)
    with Beats(world.url, {idle: 0}):
        await world.until_active(**{idle: 0})
        await world.scale(0)
        assert world.size() == 0
        assert (await world.state()).drains or not (await world.state()).beats


async def test_those_that_do_not_listen_go_idle_or_stay_busy(world: DrainWorld) -> None:
    idle, *busy = await world.start(3)
    with Beats(world.url, {idle: 0, **dict.fromkeys(busy, 1)}):
        await world.until_active(**{idle: 0}, **dict.fromkeys(busy, 1))
        assert (await world.state()).drains
        outcome = await world.scale(1)
        assert outcome.message == "1 replica busy and not to be cordoned: kept"
        await world.until(lambda: world.pods() == set(busy))
        assert world.size() == 2
        assert not world.annotated()
        assert not (await world.state()).drains, "until it is tried again"
        assert (await world.scale(1)).kind is OutcomeKind.UNCHANGED
        assert world.size() == 2


async def test_where_busy_ones_may_be_stopped_nobody_is_waited_for(world: DrainWorld, gate: Gate) -> None:
    one, two = await world.start(2, when_busy="Allow")
    world.send("hold", gate.path)
    world.work(one)
    await world.until_active(**{one: 1})
    world.work(two)
    await world.until_active(**{one: 1, two: 0})
    assert not (await world.state()).drains
    await world.scale(1)
    assert world.size() == 1
    assert not world.annotated()
    await world.until(lambda: world.pods() == {one})
    await world.scale(0)
    assert world.size() == 0


async def test_a_cordoned_pod_that_others_take_away_is_counted_no_more(world: DrainWorld, gate: Gate) -> None:
    pods = await world.start(2)
    world.send("hold", gate.path, count=2)
    for pod in pods:
        world.work(pod)
    await world.until_active(**dict.fromkeys(pods, 1))
    await world.scale(1)
    (gone,) = world.annotated()
    world.workers[gone].kill()
    world.api.delete(path("pods", world.namespace, gone))
    await world.until_state(2, 0)  # another came in its place, and is not cordoned
    assert not world.annotated()
    assert world.size() == 2


async def test_somebody_who_scales_too_is_not_overruled(world: DrainWorld) -> None:
    pods = await world.start(3)
    for pod in pods:
        world.work(pod)
    await world.until_active(**dict.fromkeys(pods, 0))
    await world.until_listening(*pods)
    await world.scale(2)
    world.api.scale(path("deployments", world.namespace, "mailers"), 5)
    await world.until(lambda: world.size() == 4)  # their five without the one that was cordoned
    await world.until_state(4, 0)
