"""Leadership over the lease endpoint in memory, on the real clock with short times."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from tests.support.leases import FakeLeases, check_lease_contract
from workerpool_operator.kube import api_paths
from workerpool_operator.kube.api_errors import Forbidden
from workerpool_operator.kube.lease import Leadership, new_identity

pytestmark = pytest.mark.unit

PATH = api_paths.lease("ns", "workerpool-operator")


@pytest.fixture
def leases() -> FakeLeases:
    return FakeLeases()


def _candidate(leases: FakeLeases, identity: str) -> Leadership:
    return Leadership(
        leases, namespace="ns", identity=identity, lease_duration_s=0.8, renew_every_s=0.05, renew_deadline_s=0.3
    )


@contextlib.asynccontextmanager
async def _running(*candidates: Leadership) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(candidate.run()) for candidate in candidates]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - conditions of a fake have no event
            await asyncio.sleep(0.005)


async def test_the_fake_keeps_the_contract(leases: FakeLeases) -> None:
    await check_lease_contract(leases, "ns")


async def test_one_leads_and_the_other_takes_over_at_once_when_it_is_released(leases: FakeLeases) -> None:
    first, second = _candidate(leases, "first"), _candidate(leases, "second")
    heard: list[bool] = []
    first.listen(heard.append)
    async with _running(first) as tasks, asyncio.timeout(10):
        await first.acquired()
        async with _running(second):
            await _eventually(lambda: second.holder == "first")
            assert first.remaining_s() > 0
            assert not second.is_leader()
            assert second.remaining_s() == 0
            await first.release()
            assert not first.is_leader()
            await tasks[0]
            assert leases.objects[PATH]["spec"]["holderIdentity"] == ""
            await second.acquired()
            assert leases.objects[PATH]["spec"]["holderIdentity"] == "second"
            assert leases.objects[PATH]["spec"]["leaseTransitions"] == 1
    assert heard == [True, False]


async def test_a_leader_that_vanished_is_replaced(leases: FakeLeases) -> None:
    first, second = _candidate(leases, "first"), _candidate(leases, "second")
    async with _running(first) as tasks, asyncio.timeout(10):
        await first.acquired()
        async with _running(second):
            await _eventually(lambda: second.holder == "first")
            tasks[0].cancel()
            await second.acquired()
    assert not first.is_leader()
    assert not second.is_leader(), "a run that ended leads no more"


async def test_without_the_api_server_a_leader_steps_down_and_comes_back(
    leases: FakeLeases, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    leader = _candidate(leases, "me")
    async with _running(leader), asyncio.timeout(10):
        await leader.acquired()
        leases.cut_off()
        await leader.lost()
        asked = leases.requests
        await _eventually(lambda: leases.requests > asked + 3)
        leases.fault = None
        await leader.acquired()
    assert sum("no connection" in line for line in caplog.messages) == 1
    assert any("can be read and written again" in line for line in caplog.messages)
    assert leases.objects[PATH]["spec"]["leaseTransitions"] == 0


async def test_a_lease_deleted_under_its_leader_is_made_again_without_a_gap(leases: FakeLeases) -> None:
    leader = _candidate(leases, "me")
    heard: list[bool] = []
    leader.listen(heard.append)
    async with _running(leader), asyncio.timeout(10):
        await leader.acquired()
        leases.delete(PATH)
        await _eventually(lambda: PATH in leases.objects)
        assert leader.is_leader()
        assert heard == [True]


async def test_a_lease_edited_by_hand_is_given_up_to_whom_it_names(leases: FakeLeases) -> None:
    leader = _candidate(leases, "me")
    async with _running(leader), asyncio.timeout(10):
        await leader.acquired()
        await leases.merge_patch(PATH, {"spec": {"holderIdentity": "somebody"}})
        await leader.lost()
        await leader.acquired()
    assert leases.objects[PATH]["spec"]["leaseTransitions"] == 1


async def test_a_missing_right_is_said_and_waited_for(leases: FakeLeases, caplog: pytest.LogCaptureFixture) -> None:
    leases.fault = Forbidden(status=403, reason="Forbidden", message="cannot get leases ns/x: grant it (RBAC)")
    leader = _candidate(leases, "me")
    async with _running(leader), asyncio.timeout(10):
        await _eventually(lambda: any("RBAC" in line for line in caplog.messages))
        leases.fault = None
        await leader.acquired()


async def test_a_release_that_cannot_be_written_is_logged(leases: FakeLeases, caplog: pytest.LogCaptureFixture) -> None:
    leader = _candidate(leases, "me")
    async with _running(leader), asyncio.timeout(10):
        await leader.acquired()
        leases.cut_off()
        await leader.release()
    assert not leader.is_leader()
    assert any("runs out by itself" in line for line in caplog.messages)


async def test_releasing_what_somebody_touched_meanwhile_still_releases(leases: FakeLeases) -> None:
    leader = _candidate(leases, "me")
    async with _running(leader), asyncio.timeout(10):
        await leader.acquired()
        await leases.merge_patch(PATH, {"spec": {}})
        await leader.release()
    assert leases.objects[PATH]["spec"]["holderIdentity"] == ""


async def test_a_standby_releases_nothing(leases: FakeLeases) -> None:
    first, second = _candidate(leases, "first"), _candidate(leases, "second")
    async with _running(first, second), asyncio.timeout(10):
        await _eventually(lambda: first.is_leader() or second.is_leader())
        leader, standby = (first, second) if first.is_leader() else (second, first)
        await _eventually(lambda: standby.holder == leader.identity)
        await standby.release()
        assert leases.objects[PATH]["spec"]["holderIdentity"] == leader.identity
        assert leader.is_leader()


def test_an_identity_is_one_process_alone() -> None:
    assert new_identity() != new_identity()
