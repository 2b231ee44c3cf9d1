"""The end of local mode, in order and by kill -9: no worker is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from tests.support.local_scaler import EMAIL, ORDER, Bench, eventually, is_alive
from workerpool_operator.local import groups
from workerpool_operator.ports import OutcomeKind

pytestmark = pytest.mark.integration


async def test_drain_lets_all_pools_finish(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan("--on-term", "finish"))
    bench.scaler.add_pool(ORDER, bench.plan("--on-term", "leave"))
    pids = (*await bench.scaled(2), *await bench.scaled(2, ORDER))
    drain = asyncio.create_task(bench.scaler.drain())
    await bench.marked("term", *pids)
    assert not drain.done()
    assert bench.scaler.processes == 4
    assert (await bench.scale(5)).kind is OutcomeKind.FAILED
    bench.go()
    assert await drain == 0
    assert bench.scaler.processes == 0
    assert all(bench.has("done", pid) for pid in pids)
    assert all(bench.read("term", pid) == [""] for pid in pids)


async def test_drain_kills_what_overstays(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan("--on-term", "ignore", "--child", "stubborn"))
    bench.scaler.add_pool(ORDER, bench.plan())
    await bench.scaled(2)
    await bench.scaled(1, ORDER)
    assert await bench.scaler.drain(timeout_s=0.3) == 2
    assert bench.scaler.counters.killed_after_grace == 2


async def test_a_second_ctrl_c_ends_the_drain(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan("--on-term", "finish", grace_s=3600))
    pids = await bench.scaled(3)
    await bench.scale(2)
    drain = asyncio.create_task(bench.scaler.drain())
    await bench.marked("term", *pids)
    bench.scaler.kill_now()
    assert await asyncio.wait_for(drain, 10) == 3
    assert not any(is_alive(pid) for pid in pids)


async def test_draining_nothing_is_quick(bench: Bench) -> None:
    assert await bench.scaler.drain() == 0


async def test_a_dead_guardian_is_replaced_and_told_everything(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan())
    await bench.scaled(1)
    guardian = bench.scaler._guardian
    first = guardian.pid
    assert first is not None
    guardian._started_s = float("-inf")
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: guardian.pid != first)
    await bench.scale(0)
    await eventually(lambda: not bench.scaler.pids(EMAIL))


_OPERATOR = """
import asyncio, sys
from pathlib import Path
from tests.support.local_scaler import EMAIL, ORDER, Bench

async def main():
    bench = Bench(folder=Path(sys.argv[1]))
    bench.scaler.add_pool(EMAIL, bench.plan("--on-term", "finish"))
    script = " ".join(bench.command("--on-term", "finish")) + "; true"
    bench.scaler.add_pool(ORDER, bench.plan("--on-term", "ignore", "--child", "stubborn", grace_s=1.0))
    await bench.scaled(2)
    leaving = bench.scaler.pids(EMAIL)
    bench.scaler.replace(EMAIL, bench.plan(argv=("sh", "-c", script)))
    await bench.marked("term", *leaving)
    silent = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
    redis = await asyncio.create_subprocess_exec(*bench.command(), start_new_session=True, **silent)
    await bench.marked("ready", redis.pid)
    bench.scaler.outlive(redis.pid)
    await bench.scale(1, ORDER)
    await bench.marked("ready", *bench.scaler.pids(ORDER))
    print(redis.pid, bench.scaler._guardian.pid, *bench.scaler.pids(EMAIL), *bench.scaler.pids(ORDER), flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_when_local_mode_is_killed_its_workers_finish_and_end(bench: Bench) -> None:
    operator = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _OPERATOR, str(bench.folder), stdout=asyncio.subprocess.PIPE
    )
    assert operator.stdout is not None
    broker, guardian, *workers = map(int, (await operator.stdout.readline()).split())
    # Two that leave already, two shells with a worker each, one that is stubborn and has a child.
    assert len(workers) == 5
    await eventually(lambda: len(list(bench.folder.glob("*.ready"))) == 2 + 2 + 2 + 1)
    operator.kill()
    await operator.wait()
    groups_alive = [*workers, broker]
    stubborn = workers[-1]
    await eventually(lambda: not groups.members(stubborn))
    await eventually(lambda: len(list(bench.folder.glob("*.term"))) == 2 + 2 + 1)
    assert groups.members(broker), "the broker outlives those that acknowledge to it"
    assert not bench.has("term", broker)
    bench.go()
    await eventually(lambda: not any(groups.members(pid) for pid in groups_alive) and not is_alive(guardian))
    assert len(list(bench.folder.glob("*.done"))) == 2 + 2 + 1
    assert all(path.read_text() == "\n" for path in bench.folder.glob("*.term")), "nobody is asked twice"


async def test_an_outliving_process_that_ended_is_forgotten(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan())
    await bench.scaled(1)
    broker = await asyncio.create_subprocess_exec(
        *bench.command(), start_new_session=True, stderr=asyncio.subprocess.DEVNULL
    )
    bench.scaler.outlive(broker.pid)
    await bench.marked("ready", broker.pid)
    await asyncio.to_thread(bench.scaler._guardian.check)
    assert broker.pid in bench.scaler._guardian._wards
    broker.terminate()
    await broker.wait()
    await eventually(lambda: broker.pid not in bench.scaler._guardian._wards)
