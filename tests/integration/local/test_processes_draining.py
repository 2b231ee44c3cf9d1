"""Processes leave by cordon: the bundled worker's and stock Celery's; with real jobs, and the test decides the size."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from celery import Celery

from tests.support.celery_apps.contract import Gate
from tests.support.celery_apps.plain import make_app
from tests.support.local_run import SCRIPTS
from tests.support.local_scaler import EMAIL, decision
from workerpool_operator.local.launch import LaunchPlan
from workerpool_operator.local.processes import ProcessScaler
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.ports import Notice, NoticeKind, Outcome, OutcomeKind, QueueSource, ReplicaState
from workerpool_operator.queues.celery import CeleryControl, CeleryReader
from workerpool_operator.queues.cordons import Cordons

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]
PATIENCE_S = 40.0
STOCK = ("-m", "celery", "-A", "tests.support.celery_apps.plain", "worker", "-Q", "email", "-c", "1", "-l", "INFO")


@dataclass(kw_only=True)
class Line:
    """One pool of this machine, its broker, and what was said of it."""

    url: str
    folder: Path
    app: Celery
    reader: CeleryReader
    control: CeleryControl
    notices: list[Notice] = field(default_factory=list)
    scaler: ProcessScaler = field(init=False)
    gate: Gate = field(init=False)

    def __post_init__(self) -> None:
        self.scaler = ProcessScaler(on_notice=self.notices.append)
        self.gate = Gate(self.folder / "gate")

    def add(self, plan: LaunchPlan, *, cordon: bool = True) -> None:
        self.scaler.add_pool(EMAIL, plan)
        if cordon:
            self.scaler.drain_by(EMAIL, Cordons(str(EMAIL), lambda: self.control))

    def bundled(self) -> LaunchPlan:
        env = {
            "WORKERPOOL_BROKER_URL": self.url,
            "WORKERPOOL_STATE_DIR": str(self.folder),
            "WORKERPOOL_POOL": "email",
            "WORKERPOOL_NAMESPACE": "shop",
            "WORKERPOOL_QUEUES": "email",
            "WORKERPOOL_RECOVER_CRON": "off",
            "WORKERPOOL_JOBS": "trouble:JOBS",
            "PYTHONPATH": str(ROOT / "tests" / "support" / "own_jobs"),
        }
        return self._plan((str(SCRIPTS / "workerpool-worker"), "run"), env)

    def stock(self, name: str = "$(WORKERPOOL_REPLICA)@here", **options: object) -> LaunchPlan:
        wanted = {"task_acks_late": True, "worker_prefetch_multiplier": 1, **options}
        env = {"CONTRACT_APP": json.dumps({"broker": self.url, **wanted})}
        return self._plan((str(SCRIPTS / "python"), *STOCK, "-n", name), env, cwd=ROOT)

    def _plan(self, argv: tuple[str, ...], env: dict[str, str], cwd: Path | None = None) -> LaunchPlan:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return LaunchPlan(argv=argv, env=kept | env, cwd=cwd or self.folder, log_dir=self.folder / "logs", grace_s=20.0)

    def hold(self, name: str) -> None:
        """Send a job that runs until the gate opens: of the bundled worker's kind, or of stock Celery's."""
        if name.startswith("stock"):
            self.app.send_task("hold", args=[self.gate.path], queue="email")
            return
        arguments = {"id": name, "kind": f"until {self.gate.path}", "file": str(self.folder / f"{name}.tries")}
        self.app.send_task("trouble.make", kwargs=arguments, task_id=f"trouble-{name}", queue="email")

    def tries(self, name: str) -> int:
        file = self.folder / f"{name}.tries"
        return len(file.read_text().splitlines()) if file.exists() else 0

    async def scale(self, target: int) -> Outcome:
        await self.state()
        return await self.scaler.scale(EMAIL, decision(target))

    async def state(self) -> ReplicaState:
        reading = await self.reader.read([QueueSource(key=EMAIL, queues=("email",))])
        return await self.scaler.replicas(EMAIL, reading.beats)

    async def until(self, condition: Callable[[ReplicaState], object]) -> ReplicaState:
        """Look again and again, as the loop does, until something holds."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition(found := await self.state()):
            assert time.monotonic() < deadline_s, (found, self.notices, self.logs())
            await asyncio.sleep(0.1)
        return found

    async def until_active(self, *active: int) -> None:
        """Wait until the replicas that stay have so many jobs, in any order."""
        await self.until(lambda state: sorted(beat.active for beat in state.beats) == sorted(active))

    async def until_listening(self, *queues: str) -> None:
        """Wait until those that are heard listen as well, and take jobs from these queues."""
        state = await self.state()
        names = {beat.hostname for beat in (*state.beats, *state.leaving_beats)}
        deadline_s = time.monotonic() + PATIENCE_S
        while (found := await self.control.queues_of(names, key_prefix="")) != {
            name: frozenset(queues) for name in names
        }:
            assert time.monotonic() < deadline_s, found
            await asyncio.sleep(0.1)

    def said(self, kind: NoticeKind) -> list[str]:
        return [notice.message.split()[0] for notice in self.notices if notice.kind is kind]

    def logs(self) -> str:
        return "\n".join(file.read_text()[-1500:] for file in (self.folder / "logs").glob("*.log"))


@pytest.fixture
async def line(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Line]:
    url = redis_server.url
    made = Line(url=url, folder=tmp_path, app=make_app(url), reader=CeleryReader(url), control=CeleryControl(url))
    (tmp_path / "logs").mkdir()
    await made.state()
    yield made
    made.scaler.kill_now()
    await made.scaler.drain()
    await made.reader.close()
    await made.control.close()
    made.app.close()


@pytest.mark.parametrize("kind", ["bundled", "stock"])
async def test_a_busy_one_is_waited_for_and_given_back(line: Line, redis_client: redis.Redis, kind: str) -> None:
    line.add(line.bundled() if kind == "bundled" else line.stock())
    await line.scale(2)
    await line.until(lambda state: len(state.beats) == 2)
    await line.until_listening("email")
    for name in (f"{kind}-1", f"{kind}-2"):
        line.hold(name)
    await line.until_active(1, 1)
    assert (await line.state()).drains

    assert (await line.scale(1)).kind is OutcomeKind.APPLIED
    (cordoned,) = line.said(NoticeKind.REPLICA_CORDONED)
    state = await line.state()
    assert (state.current, state.ready, state.leaving) == (1, 1, 1)
    assert [beat.active for beat in state.leaving_beats] == [1]
    assert len(line.scaler.pids(EMAIL)) == 2

    # the load returns: it is there at once
    pids = line.scaler.pids(EMAIL)
    await line.scale(2)
    assert line.said(NoticeKind.REPLICA_GIVEN_BACK) == [cordoned]
    state = await line.state()
    assert (state.current, state.ready, state.leaving) == (2, 2, 0)
    assert line.scaler.pids(EMAIL) == pids, "no process was started for it"

    # less again: it finishes its job, takes no other, and goes
    await line.scale(1)
    assert line.said(NoticeKind.REPLICA_CORDONED) == [cordoned, cordoned]
    line.gate.open()
    for number in range(3, 7):
        line.hold(f"{kind}-{number}")
    await line.until(lambda state: state.leaving == 0)
    assert len(line.scaler.pids(EMAIL)) == 1
    await line.until(lambda _: redis_client.llen("email") == 0)
    await line.until_active(0)
    assert line.said(NoticeKind.REPLICA_STOPPED) == [cordoned]
    assert line.scaler.counters.killed_after_grace == line.scaler.counters.crashed == 0
    if kind == "bundled":
        assert [line.tries(f"{kind}-{number}") for number in range(1, 7)] == [1] * 6, "no job was cut"
    else:
        own = (line.folder / "logs" / f"{cordoned}.log").read_text()
        assert (own.count(" received"), own.count("succeeded")) == (1, 1)


async def test_given_back_the_bundled_worker_fetches_again(
    line: Line, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # it is never idle for sure
    monkeypatch.setattr("workerpool_operator.queues.cordon.PROVEN_S", -1.0)
    monkeypatch.setattr("workerpool_operator.queues.cordon.SETTLE_S", 3600.0)
    line.add(line.bundled())
    await line.scale(1)
    await line.until(lambda state: len(state.beats) == 1)
    await line.until_listening("email")
    await line.scale(0)
    assert (await line.state()).leaving == 1
    await line.until_listening()
    line.gate.open()
    line.hold("later")
    await asyncio.sleep(1.0)  # it looks ten times a second
    assert redis_client.llen("email") == 1
    await line.scale(1)
    await line.until(lambda _: line.tries("later") == 1)
    assert line.scaler.counters.started == 1


async def test_the_idle_go_by_themselves_to_zero(line: Line) -> None:
    line.add(line.stock())
    await line.scale(2)
    await line.until_active(0, 0)
    await line.until_listening("email")
    await line.scale(0)
    state = await line.state()
    assert (state.current, state.leaving) == (0, 2)
    await line.until(lambda state: state.leaving == 0)
    assert len(line.said(NoticeKind.REPLICA_STOPPED)) == 2


@pytest.mark.parametrize("kind", ["bundled", "stock"])
async def test_an_idle_one_goes_before_anybody_looks_again(line: Line, kind: str) -> None:
    """It is asked, and says that it has nothing in hand: no other heartbeat has to come, and no other look."""
    line.add(line.bundled() if kind == "bundled" else line.stock())
    await line.scale(1)
    await line.until(lambda state: len(state.beats) == 1)
    await line.until_listening("email")
    await line.scale(0)
    async with asyncio.timeout(PATIENCE_S):
        while line.scaler.pids(EMAIL):  # noqa: ASYNC110 - nothing here is told of it
            await asyncio.sleep(0.02)
    assert len(line.said(NoticeKind.REPLICA_STOPPED)) == 1
    assert line.scaler.counters.killed_after_grace == 0


async def test_those_that_do_not_listen_go_idle_or_stay_busy(line: Line) -> None:
    line.add(line.stock(worker_enable_remote_control=False))
    await line.scale(2)
    await line.until_active(0, 0)
    line.hold("stock-1")
    await line.until_active(0, 1)
    await line.scale(0)
    state = await line.until(lambda state: state.leaving == 0)
    assert (state.current, state.drains) == (1, False), "the busy one is kept"
    assert [beat.active for beat in state.beats] == [1]
    assert (await line.scale(0)).kind is OutcomeKind.UNCHANGED
    assert not line.said(NoticeKind.REPLICA_CORDONED)
    line.gate.open()
    await line.until_active(0)
    await line.scale(0)
    await line.until(lambda state: state.current == state.leaving == 0)


async def test_two_of_one_name_are_not_told(line: Line) -> None:
    """What is said to the one would be heard by the other."""
    line.add(line.stock("same@here"))
    await line.scale(2)
    await line.until_active(0, 0)
    await line.scale(1)
    state = await line.until(lambda state: state.leaving == 0)
    assert state.current == 1
    assert not line.said(NoticeKind.REPLICA_CORDONED)
    line.gate.open()
    line.hold("stock-1")
    await line.until(lambda state: [beat.processed for beat in state.beats] == [1])


async def test_a_cordoned_one_that_dies_is_not_started_again(line: Line) -> None:
    line.add(line.stock())
    await line.scale(2)
    await line.until_active(0, 0)
    await line.until_listening("email")
    line.hold("stock-1")
    line.hold("stock-2")
    await line.until_active(1, 1)
    await line.scale(1)
    (cordoned,) = line.said(NoticeKind.REPLICA_CORDONED)
    view = next(one for one in line.scaler.views(EMAIL) if one.name == cordoned)
    assert view.pid is not None
    os.kill(view.pid, 9)
    state = await line.until(lambda state: state.leaving == 0)
    assert state.current == 1
    assert line.scaler.counters.started == 2


async def test_when_all_is_stopped_the_cordoned_go_like_the_others(line: Line) -> None:
    line.add(line.stock())
    await line.scale(2)
    await line.until_active(0, 0)
    await line.until_listening("email")
    line.hold("stock-1")
    await line.until_active(0, 1)
    await line.scale(0)
    assert (await line.state()).leaving == 2
    line.gate.open()
    begin_s = time.monotonic()
    assert await line.scaler.drain() == 0
    assert time.monotonic() - begin_s < 15
    assert not line.scaler.pids(EMAIL)
