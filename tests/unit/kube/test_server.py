"""The operator's port, asked over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.report.records import EMAIL, make_record
from workerpool_operator.kube.server import Server, ServerError, allowed_age_s
from workerpool_operator.report.prometheus import Metrics


@dataclass
class World:
    server: Server
    client: aiohttp.ClientSession
    metrics: Metrics
    ages: list[tuple[float, float]] = field(default_factory=list)
    synced: bool = True
    leads: bool = False

    async def ask(self, path: str) -> tuple[int, str]:
        async with self.client.get(f"http://127.0.0.1:{self.server.port}{path}") as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    metrics = Metrics()
    async with aiohttp.ClientSession() as client:
        server = Server(
            metrics=metrics,
            loop_ages=lambda: found.ages,
            synced=lambda: found.synced,
            leads=lambda: found.leads,
            host="127.0.0.1",
            port=0,
        )
        found = World(server=server, client=client, metrics=metrics)
        await server.start()
        yield found
        await server.close()


async def test_a_standby_is_healthy_and_ready_and_says_so(world: World) -> None:
    assert await world.ask("/healthz") == (200, "ok\n")
    assert await world.ask("/readyz") == (200, "standby\n")
    world.leads = True
    assert await world.ask("/readyz") == (200, "leader\n")


async def test_it_is_not_ready_before_the_cluster_was_listed(world: World) -> None:
    world.synced = False
    status, text = await world.ask("/readyz")
    assert (status, "not been listed" in text) == (503, True)
    assert (await world.ask("/healthz"))[0] == 200


async def test_one_loop_that_is_stuck_is_unhealthy(world: World) -> None:
    world.ages = [(0.5, 1.0), (allowed_age_s(30.0) - 1, 30.0)]
    assert (await world.ask("/healthz"))[0] == 200
    world.ages.append((allowed_age_s(1.0) + 1, 1.0))
    assert await world.ask("/healthz") == (
        503,
        "stuck polling loops: 1; no cycle for 64 s, allowed are 63 s\n",
    )


async def test_metrics_are_those_of_the_pools_and_of_the_process(world: World) -> None:
    world.metrics.leader = True
    world.metrics.record(make_record(ready=38))
    async with world.client.get(f"http://127.0.0.1:{world.server.port}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert found["workerpool_queue_ready_jobs"].samples[0].value == 38
    assert found["workerpool_leader"].samples[0].value == 1
    assert found["process_cpu_seconds"].samples[0].value > 0
    world.metrics.forget(EMAIL)
    assert 'pool="email"' not in (await world.ask("/metrics"))[1]


async def test_a_port_in_use_is_said_in_one_line(world: World) -> None:
    other = Server(
        metrics=Metrics(),
        loop_ages=list,
        synced=lambda: True,
        leads=lambda: True,
        host="127.0.0.1",
        port=world.server.port,
    )
    with pytest.raises(ServerError, match="choose another port"):
        await other.start()
    await other.close()


async def test_other_paths_and_methods_are_refused(world: World) -> None:
    assert (await world.ask("/"))[0] == 404
    async with world.client.post(f"http://127.0.0.1:{world.server.port}/healthz") as answer:
        assert answer.status == 405
