"""``/explain`` of the operator's port, asked over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.unit.report.records import EMAIL, START_S, make_record
from workerpool_operator.core.decision import Reason
from workerpool_operator.kube.server import Server
from workerpool_operator.ports import PoolKey
from workerpool_operator.report.last import ExplainPages, LastDecisions
from workerpool_operator.report.prometheus import Metrics

SMS = PoolKey(namespace="default", name="sms")
FOREIGN = PoolKey(namespace="other", name="sms")


class World:
    """A server whose process leads or not."""

    def __init__(self) -> None:
        self.decisions = LastDecisions()
        self.leads, self.leader = True, "operator-1_7_ab"
        self.server = Server(
            metrics=Metrics(),
            loop_ages=list,
            synced=lambda: True,
            leads=lambda: self.leads,
            explain=ExplainPages(
                self.decisions,
                decided_by="operator-1_7_ab",
                rest_s=10.0,
                leads=lambda: self.leads,
                leader=lambda: self.leader,
                clock=lambda: START_S + 4.0,
            ),
            host="127.0.0.1",
            port=0,
        )

    async def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        url = f"http://127.0.0.1:{self.server.port}{path}"
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, await answer.json()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    await found.server.start()
    yield found
    await found.server.close()


async def test_the_last_decision_of_a_pool_is_told(world: World) -> None:
    world.decisions.record(make_record(ready=1))
    world.decisions.record(make_record(at_s=1, ready=38, target=4, reason=Reason.WORK_WAITING))
    status, told = await world.ask("/explain/default/email")
    assert status == 200
    assert (told["schemaVersion"], told["decidedBy"]) == (1, "operator-1_7_ab")
    assert told["pool"] == {"namespace": "default", "name": "email"}
    assert told["queues"][0]["ready"] == 38
    assert told["ageSeconds"] == 3.0
    assert told["decision"]["reason"] == "WorkWaiting"
    world.decisions.record(make_record(at_s=2, ready=38, current=4))
    _, told = await world.ask("/explain/default/email")
    assert (told["lastChange"]["target"], told["lastChange"]["ageSeconds"]) == (4, 3.0)


async def test_a_pool_that_is_not_there_is_answered_with_those_of_its_namespace(world: World) -> None:
    for key in (SMS, EMAIL, FOREIGN):
        world.decisions.record(make_record(key=key))
    status, told = await world.ask("/explain/default/emial")
    assert status == 404
    assert told["error"] == "no decision about default/emial is known"
    assert [one["name"] for one in told["pools"]] == ["email", "sms"]
    assert len((await world.ask("/explain"))[1]["pools"]) == 3


async def test_a_pool_that_is_gone_is_forgotten(world: World) -> None:
    world.decisions.record(make_record())
    world.decisions.forget(EMAIL)
    world.decisions.forget(EMAIL)
    assert (await world.ask("/explain/default/email"))[0] == 404
    world.decisions.record(make_record())
    world.decisions.forget_all()
    assert (await world.ask("/explain"))[1]["pools"] == []


@pytest.mark.parametrize("path", ["/explain", "/explain/default/email"])
async def test_a_standby_says_who_leads(world: World, path: str) -> None:
    world.decisions.record(make_record())
    world.leads, world.leader = False, "operator-2_7_cd"
    status, told = await world.ask(path)
    assert status == 503
    assert told["leader"] == "operator-2_7_cd"
    assert told["error"] == "this process does not lead; operator-2_7_cd leads"
    world.leader = ""
    _, told = await world.ask(path)
    assert (told["leader"], told["error"]) == (None, "this process does not lead; nobody leads")
