"""Real processes as replicas: started, chosen, known by their heartbeats, asked to stop, killed when they overstay."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import redis

from tests.support.celery_apps.plain import make_app
from tests.support.local_scaler import EMAIL, ORDER, Bench, beat, eventually, is_alive
from workerpool_operator.local.redis_server import RedisServer
from workerpool_operator.ports import NoticeKind, OutcomeKind, QueueSource, ReplicaState, WorkerBeat
from workerpool_operator.queues.celery import CeleryReader

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]


# -- up and down


async def test_from_zero_to_five_to_two_to_zero(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan())
    assert (await bench.state()).current == 0
    assert (await bench.scale(5)).kind is OutcomeKind.APPLIED
    assert (await bench.scale(5)).kind is OutcomeKind.UNCHANGED
    pids = bench.scaler.pids(EMAIL)
    await bench.marked("ready", *pids)
    state = await bench.state()
    assert (state.current, state.ready, state.leaving, state.silent) == (5, 0, 0, 0)
    state = await bench.state(*[beat(pid) for pid in pids])
    assert (state.ready, state.silent, len(state.beats)) == (5, 0, 5)

    assert (await bench.scale(2)).kind is OutcomeKind.APPLIED
    assert (await bench.state()).current == 2
    await eventually(lambda: len(bench.scaler.pids(EMAIL)) == 2)
    await bench.scale(0)
    await eventually(lambda: not bench.scaler.pids(EMAIL))
    assert all(bench.read("term", pid) == [""] for pid in pids), "each is asked exactly once"
    assert not any(is_alive(pid) for pid in pids)
    assert (bench.scaler.counters.started, bench.scaler.counters.crashed) == (5, 0)
    assert len(bench.said(NoticeKind.REPLICA_STOPPED)) == 5


async def test_starting_many_does_not_hold_up_the_loop(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan())
    longest_s = 0.0

    async def measure() -> None:
        nonlocal longest_s
        while True:
            begin_s = time.perf_counter()
            await asyncio.sleep(0.001)
            longest_s = max(longest_s, time.perf_counter() - begin_s)

    task = asyncio.create_task(measure())
    await bench.scale(30)
    task.cancel()
    assert len(bench.scaler.pids(EMAIL)) == 30
    assert longest_s < 0.5


async def test_unknown_pools_and_replicas_are_no_error(bench: Bench) -> None:
    assert (await bench.scale(3)).kind is OutcomeKind.FAILED
    assert (await bench.state(beat(1))).current == 0
    assert bench.scaler.pids(EMAIL) == bench.scaler.busy_pids(EMAIL) == ()
    bench.scaler.remove_pool(EMAIL)
    bench.scaler.add_pool(EMAIL, bench.plan())
    with pytest.raises(ValueError, match="shop/email"):
        bench.scaler.add_pool(EMAIL, bench.plan())


async def test_a_scale_that_is_cancelled_leaves_no_process_behind(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan())
    task = asyncio.create_task(bench.scale(3))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await bench.scale(0)
    await eventually(lambda: not bench.scaler.views(EMAIL))
    assert bench.scaler.counters.started in (0, 3)


async def test_a_new_plan_replaces_the_replicas_and_a_removed_pool_ends(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan("--on-term", "finish"))
    old = await bench.scaled(2)
    bench.scaler.replace(EMAIL, bench.plan("--on-term", "leave"))
    await eventually(lambda: len(bench.scaler.pids(EMAIL)) == 4)
    state = await bench.state()
    assert (state.current, state.leaving) == (2, 2)
    assert len({view.name for view in bench.scaler.views(EMAIL)}) == 4, "a log is never shared"
    bench.go()
    await eventually(lambda: len(bench.scaler.pids(EMAIL)) == 2)
    assert all(bench.has("done", pid) for pid in old)
    rest = bench.scaler.pids(EMAIL)
    bench.scaler.remove_pool(EMAIL)
    await eventually(lambda: not any(is_alive(pid) for pid in rest))


# -- who goes, and how


async def test_the_idle_one_goes_and_the_busy_one_stays(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan())
    first, second, third = await bench.scaled(3)
    await bench.state(beat(first), beat(second, active=1), beat(third, active=2))
    assert set(bench.scaler.busy_pids(EMAIL)) == {second, third}
    await bench.scale(2)
    await eventually(lambda: set(bench.scaler.pids(EMAIL)) == {second, third})
    assert not is_alive(first)
    assert bench.scaler.random_busy(random.Random(1)) in [(EMAIL, second), (EMAIL, third)]
    await bench.scale(1)
    await eventually(lambda: bench.scaler.pids(EMAIL) == (third,))


async def test_a_worker_finishes_its_job_while_the_pool_grows_again(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan("--on-term", "finish"))
    (pid,) = await bench.scaled(1)
    await bench.state(beat(pid, active=1))
    await bench.scale(0)
    await bench.marked("term", pid)
    state = await bench.state()
    assert (state.current, state.ready, state.leaving) == (0, 0, 1)
    assert [one.active for one in state.leaving_beats] == [1]
    assert bench.scaler.random_busy(random.Random(1)) is None

    await bench.scale(1)
    state = await bench.state()
    assert (state.current, state.leaving) == (1, 1)
    bench.go()
    await eventually(lambda: pid not in bench.scaler.pids(EMAIL))
    assert bench.has("done", pid)
    assert len(bench.scaler.pids(EMAIL)) == 1
    assert bench.scaler.counters.killed_after_grace == 0


@pytest.mark.parametrize(("active", "busy"), [(1, True), (0, False), (None, None)])
async def test_who_overstays_is_killed_with_all_its_children(
    bench: Bench, active: int | None, busy: bool | None
) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan("--on-term", "ignore", "--child", "stubborn", grace_s=0.3))
    (pid,) = await bench.scaled(1)
    if active is not None:
        await bench.state(beat(pid, active=active))
    child = int(bench.read("child", pid)[0])
    await bench.scale(0)
    await eventually(lambda: not is_alive(pid) and not is_alive(child))
    await eventually(lambda: not bench.scaler.pids(EMAIL))
    (notice,) = bench.said(NoticeKind.REPLICA_KILLED)
    assert notice.busy is busy
    assert "email-1" in notice.message
    assert bench.scaler.counters.killed_after_grace == 1
    assert bench.scaler.counters.killed_busy == (busy is True)
    assert not bench.said(NoticeKind.REPLICA_STOPPED)


async def test_a_worker_behind_a_shell_is_found_by_its_beats_and_ends_in_order(bench: Bench) -> None:
    # "; true" keeps the shell from replacing itself with the worker.
    script = " ".join(bench.command("--on-term", "finish")) + "; true"
    bench.scaler.add_pool(EMAIL, bench.plan(argv=("sh", "-c", script)))
    await bench.scale(1)
    (shell,) = bench.scaler.pids(EMAIL)
    await eventually(lambda: list(bench.folder.glob("*.ready")))
    worker = int(next(bench.folder.glob("*.ready")).stem)
    assert worker != shell
    state = await bench.state(beat(worker, active=1), beat(os.getpid(), active=5))
    assert (state.ready, [one.pid for one in state.beats]) == (1, [worker])
    assert bench.scaler.busy_pids(EMAIL) == (shell,)
    await bench.scale(0)
    await bench.marked("term", worker)
    assert (await bench.state()).leaving == 1
    bench.go()
    await eventually(lambda: not bench.scaler.pids(EMAIL))
    assert bench.read("term", worker) == [""]
    assert bench.has("done", worker)
    assert bench.scaler.counters.killed_after_grace == 0


# -- heartbeats


async def test_beats_of_others_of_before_and_of_long_ago(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan())
    bench.scaler.add_pool(ORDER, bench.plan())
    (pid,) = await bench.scaled(1)
    (other,) = await bench.scaled(1, ORDER)
    assert (await bench.state(beat(other, active=1), beat(2**22 + 5), beat(2**70))).ready == 0
    assert (await bench.state(beat(pid, active=1, age_s=3600))).ready == 0, "an earlier process had this pid"
    here = socket.gethostname()
    state = await bench.state(
        beat(pid, active=1, hostname=f"celery@{here}"), beat(pid, active=0, hostname="celery@elsewhere")
    )
    assert [one.active for one in state.beats] == [1]
    (pool,) = [pool for pool in bench.scaler._all() if pool.key == EMAIL]
    later_s = time.monotonic() + 6.5
    assert (pool.state(later_s).ready, pool.state(later_s).silent, pool.state(later_s).beats) == (1, 1, ())


async def test_without_any_beat_a_worker_counts_as_ready_after_ten_seconds(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan())
    await bench.scaled(1)
    (pool,) = bench.scaler._all()
    now_s = time.monotonic()
    assert (pool.state(now_s + 9).ready, pool.state(now_s + 9).silent) == (0, 0)
    assert (pool.state(now_s + 11).ready, pool.state(now_s + 11).silent) == (1, 1)


# -- a stock Celery worker


async def test_a_celery_worker_is_known_by_its_heartbeats_and_finishes_its_job(
    bench: Bench, redis_server: RedisServer
) -> None:
    env = {"CONTRACT_APP": json.dumps({"broker": redis_server.url, "task_acks_late": True})}
    command = f"{sys.executable} -m celery -A tests.support.celery_apps.plain worker -Q email -c 1"
    # Behind a shell that stays, and both with the same node name: the process group tells who is who.
    bench.scaler.add_pool(EMAIL, bench.plan(argv=("sh", "-c", f"{command}; true"), env=env, cwd=ROOT))
    reader = CeleryReader(redis_server.url)
    source = QueueSource(key=EMAIL, queues=("email",))

    async def observed(condition: Callable[[Sequence[WorkerBeat], ReplicaState], bool]) -> ReplicaState:
        limit_s = time.monotonic() + 60
        while True:
            beats = (await reader.read([source])).beats
            state = await bench.state(*beats)
            if condition(beats, state):
                return state
            assert time.monotonic() < limit_s, state
            await asyncio.sleep(0.05)

    with make_app(redis_server.url) as app:
        try:
            await bench.scale(2)
            await observed(lambda _beats, state: state.ready == 2 and state.silent == 0)
            app.send_task("hold", [str(bench.folder / "go")], queue="email")
            await observed(lambda _beats, state: sum(one.active for one in state.beats) == 1)
            (busy,) = bench.scaler.busy_pids(EMAIL)
            await bench.scale(1)
            await eventually(lambda: bench.scaler.pids(EMAIL) == (busy,))
            await bench.scale(0)
            # It says goodbye the moment it is asked to go, and works on: what it said before still holds.
            state = await observed(lambda beats, _state: not beats)
            assert (state.leaving, [one.active for one in state.leaving_beats]) == (1, [1])
            bench.go()
            await eventually(lambda: not bench.scaler.pids(EMAIL))
        finally:
            await reader.close()
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.hlen("unacked") == 0
    assert bench.scaler.counters.killed_after_grace == bench.scaler.counters.crashed == 0
