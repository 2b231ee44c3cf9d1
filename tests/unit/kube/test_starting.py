"""What the operator does before it leads: waiting for its kind, and being asked to stop meanwhile."""

from __future__ import annotations

import asyncio
import inspect
import logging

import kopf
import pytest
from kubernetes.aio.client.configuration import Configuration

from workerpool_operator.kube import run
from workerpool_operator.kube.api import NotFound
from workerpool_operator.kube.handlers import kopf_settings, wire
from workerpool_operator.kube.registry import Registry
from workerpool_operator.kube.run import Operator
from workerpool_operator.kube.settings import OperatorSettings
from workerpool_operator.kube.signals import unless_asked

pytestmark = pytest.mark.unit


async def test_it_waits_for_the_crd_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    operator, asked = Operator(OperatorSettings()), 0

    async def probe() -> None:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise NotFound(status=404, reason="NotFound", message="the server could not find the requested resource")

    monkeypatch.setattr(run, "WAIT_FOR_CRD_S", 0.001)
    monkeypatch.setattr(operator._resync, "probe", probe)
    with caplog.at_level(logging.WARNING):
        await operator._wait_for_kind()
    assert asked == 4
    assert [record.message for record in caplog.records] == [
        "the API server knows no WorkerPools yet: install the CRD (workerpool crd | kubectl apply -f -)"
    ]


async def test_what_takes_long_is_given_up_when_it_is_asked_to_stop() -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    task = asyncio.create_task(unless_asked(asked, forever()))
    await asyncio.sleep(0)
    asked.set()
    assert not await task
    assert cancelled.is_set()


async def test_what_is_done_is_done_and_its_failure_is_told() -> None:
    async def nothing() -> None:
        return

    async def failure() -> None:
        raise NotFound(status=404, reason="NotFound", message="not there")

    assert await unless_asked(asyncio.Event(), nothing())
    with pytest.raises(NotFound, match="not there"):
        await unless_asked(asyncio.Event(), failure())


def test_handlers_run_on_the_event_loop_not_in_threads() -> None:
    handlers = wire(Registry(), Configuration())
    found = [*handlers._watching.get_all_handlers(), *handlers._activities.get_all_handlers()]
    assert len(found) == 5
    assert all(inspect.iscoroutinefunction(handler.fn) for handler in found)


def test_kopf_keeps_nothing_of_what_it_sees() -> None:
    settings, body = kopf_settings(), kopf.Body({"spec": {"a": 1}})
    assert settings.persistence.diffbase_storage.build(body=body) == {}
    assert settings.persistence.diffbase_storage.fetch(body=body) is None
