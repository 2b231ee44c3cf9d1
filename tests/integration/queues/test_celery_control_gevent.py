"""Greenlets listen to remote control on a connection of their own: they are cordoned like any other worker.

gevent is no dependency of the project. It is installed for this test alone, from the package registry.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from celery import Celery

from tests.support.celery_apps.contract import PATIENCE_S, Gate, Watch, Worker, source
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.queues.celery import CeleryControl
from workerpool_operator.queues.cordons import Cordons

pytestmark = pytest.mark.integration
ONE = "celery@one"
INSTALLED_WITHIN_S = 240.0


@pytest.fixture(scope="module")
def gevent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that Python finds gevent in."""
    folder = tmp_path_factory.mktemp("gevent")
    venv.create(folder / "env", with_pip=True)
    pip, target = str(folder / "env" / "bin" / "pip"), str(folder / "lib")
    command = [pip, "install", "--quiet", "--target", target, "gevent"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALLED_WITHIN_S, check=False)
    assert done.returncode == 0, f"gevent cannot be installed: {done.stderr}"
    return folder / "lib"


async def test_a_worker_of_greenlets_is_cordoned_waited_for_and_given_back(
    gevent: Path,
    redis_server: RedisServer,
    worker: Callable[..., Worker],
    producer: Callable[..., Celery],
    watch: Callable[..., Watch],
    redis_client: redis.Redis,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(gevent))
    app, look, control = producer(), watch(source("mail")), CeleryControl(redis_server.url)
    await look.broker()
    options = {"task_acks_late": True, "worker_prefetch_multiplier": 1}
    one = worker("mail", "-n", ONE, "-P", "gevent", "-c", "3", **options)
    cordons = Cordons("mail", lambda: control)

    async def until(condition: Callable[[], object], what: str) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, f"{what}: {one.log.read_text()}"
            cordons.hear("one", [beat for beat in (await look.broker()).beats if beat.hostname == ONE])
            await asyncio.sleep(0.05)

    async def until_jobs(count: int) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while (found := await control.jobs_of([ONE], key_prefix="")) != {ONE: count}:
            assert time.monotonic() < deadline_s, (found, one.log.read_text())
            await asyncio.sleep(0.05)

    try:
        await until_jobs(0)
        for _ in range(2):
            app.send_task("hold", args=[gate.path], queue="mail")
        await until_jobs(2)
        await cordons.cordon(await cordons.ask({"one": [ONE]}), {})
        await until(lambda: "Canceling queue mail" in one.log.read_text(), "it is told")
        await cordons.refresh()
        for _ in range(3):
            app.send_task("quick", queue="mail")
        for _ in range(5):
            await until_jobs(2)
            await cordons.refresh()
            assert not cordons.idle()
        gate.open()
        await until(cordons.idle, "it is idle")
        assert one.log.read_text().count(" succeeded") == 2
        assert redis_client.llen("mail") == 3, "it takes none"

        await cordons.give_back(["one"])
        await until(lambda: one.log.read_text().count(" succeeded") == 5, "it takes jobs again")
        await until(lambda: cordons.returned() == {"one"}, "it says so")
    finally:
        cordons.stop()
        await control.close()
