"""Real processes as replicas: started, chosen, asked to stop, killed when they overstay, never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.local_scaler import EMAIL, ORDER, Bench, beat, eventually, is_alive
from workerpool_operator.local import groups
from workerpool_operator.local.replica import Phase
from workerpool_operator.ports import NoticeKind, OutcomeKind

pytestmark = pytest.mark.integration


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(folder=tmp_path)
    yield bench
    bench.scaler.kill_now()
    await bench.scaler.drain()
    started = [int(notice.message.rpartition(" ")[2]) for notice in bench.said(NoticeKind.REPLICA_STARTED)]
    assert not [pid for pid in started if groups.members(pid)], "a process was left behind"


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


# -- crashes


async def test_a_worker_that_ends_by_itself_is_started_again_with_growing_waits(bench: Bench) -> None:
    script = "import sys, time; print('broken: no config', file=sys.stderr); sys.exit(3)"
    bench.scaler.add_pool(EMAIL, bench.plan(argv=(sys.executable, "-S", "-c", script)))
    await bench.scale(1)
    await eventually(lambda: bench.scaler.counters.crashed == 3)
    state = await bench.state()
    assert (state.current, state.ready, state.leaving) == (1, 0, 0)
    notices = bench.said(NoticeKind.REPLICA_CRASHED)
    assert "email-1 exited with status 3" in notices[0].message
    assert notices[0].message.endswith("broken: no config")
    assert [words in one.message for one, words in zip(notices, ["in 0.2 s", "in 0.4 s", "in 0.8 s"], strict=False)]
    assert notices[2].time_s - notices[0].time_s >= 0.6
    outcome = await bench.scale(1)
    assert outcome.kind is OutcomeKind.UNCHANGED
    assert "1 of 1 replicas" in outcome.message
    await bench.scale(0)
    assert (await bench.state()).current == 0


async def test_killed_from_outside_it_comes_back_at_once(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan("--child", "stubborn"))
    pids = await bench.scaled(2)
    await bench.state(beat(pids[0], active=1), beat(pids[1]))
    os.killpg(pids[0], signal.SIGKILL)
    await eventually(lambda: bench.scaler.counters.started == 3)
    (notice,) = bench.said(NoticeKind.REPLICA_CRASHED)
    assert "was ended by SIGKILL" in notice.message
    assert "at once" in notice.message
    assert notice.busy is True
    assert (await bench.state()).current == 2
    assert bench.scaler.counters.killed_after_grace == bench.scaler.counters.orphans_killed == 0


@pytest.mark.parametrize(("child", "killed"), [("polite", 0), ("stubborn", 1)])
async def test_children_of_a_dead_worker_are_ended_before_it_starts_again(
    bench: Bench, child: str, killed: int
) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan("--child", child))
    (pid,) = await bench.scaled(1)
    orphan = int(bench.read("child", pid)[0])
    await bench.marked("ready", orphan)
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: bench.scaler.counters.crashed == 1)
    assert bench.scaler.counters.started == 1
    assert bench.scaler.views(EMAIL)[0].phase in (Phase.ORPHANED, Phase.WAITING, Phase.STARTING)
    await eventually(lambda: bench.scaler.counters.started == 2)
    assert not is_alive(orphan)
    assert bench.scaler.counters.orphans_killed == killed


async def test_the_crashed_one_goes_first(bench: Bench) -> None:
    script = "import os, time, signal; os.environ['WORKERPOOL_REPLICA'] != 'email-1' and time.sleep(99); exit(1)"
    bench.scaler.add_pool(EMAIL, bench.plan(argv=(sys.executable, "-S", "-c", script)))
    await bench.scale(3)
    await eventually(lambda: bench.scaler.counters.crashed == 2)
    await bench.scale(2)
    assert [view.name for view in bench.scaler.views(EMAIL)] == ["email-2", "email-3"]


# -- what cannot be started


async def test_a_command_that_does_not_exist_fails_by_name_and_others_go_on(bench: Bench) -> None:
    tool = bench.folder / "my-worker"
    bench.scaler.add_pool(EMAIL, bench.plan(argv=(str(tool),)))
    bench.scaler.add_pool(ORDER, bench.plan())
    outcome = await bench.scale(4)
    assert outcome.kind is OutcomeKind.FAILED
    assert "pool shop/email" in outcome.message
    assert "my-worker was not found" in outcome.message
    assert (await bench.scale(2, ORDER)).kind is OutcomeKind.APPLIED
    assert (await bench.scale(4)).kind is OutcomeKind.FAILED
    assert (await bench.state()).current == 4
    (notice,) = bench.said(NoticeKind.START_FAILED)[:1]
    assert notice.message.startswith("pool shop/email: ")
    assert notice.message.count("\n") == 0

    await eventually(lambda: len(bench.said(NoticeKind.START_FAILED)) == 2)
    assert bench.scaler.counters.start_failures == 5, "after a failure, one at a time is tried"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(0o755)
    await eventually(lambda: len(bench.scaler.pids(EMAIL)) == 4)
    assert (await bench.scale(4)).kind is OutcomeKind.UNCHANGED


async def test_each_reason_why_a_command_cannot_start_is_named(bench: Bench) -> None:
    plain = bench.folder / "plain.txt"
    plain.write_text("no program")
    script = bench.folder / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    for plan, words in [
        (bench.plan(argv=("no-such-command-anywhere",)), "no-such-command-anywhere was not found"),
        (bench.plan(argv=(str(plain),)), "may not be executed"),
        (bench.plan(argv=(str(script),)), "interpreter"),
        (bench.plan(cwd=bench.folder / "gone"), f"the folder {bench.folder / 'gone'} it should run in does not exist"),
        (bench.plan(argv=()), "command is empty"),
        (bench.plan(argv=("sh", "-c", "a\0b")), "null byte"),
    ]:
        bench.scaler.add_pool(EMAIL, plan)
        outcome = await bench.scale(1)
        assert outcome.kind is OutcomeKind.FAILED
        assert words in outcome.message
        bench.scaler.remove_pool(EMAIL)


async def test_a_log_that_cannot_be_written_is_a_clear_error(bench: Bench) -> None:
    # Not a chmod: the tests may run as root, whom that does not stop.
    (bench.folder / "file").touch()
    bench.scaler.add_pool(EMAIL, bench.plan(log_dir=bench.folder / "file" / "logs"))
    outcome = await bench.scale(1)
    assert outcome.kind is OutcomeKind.FAILED
    assert "cannot write its log" in outcome.message
    assert "email-1.log" in outcome.message


# -- output


async def test_output_goes_to_a_log_that_grows_and_is_shown_when_asked(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan(show_logs=True))
    await bench.scaled(2)
    await eventually(lambda: len(bench.lines) == 2)
    assert sorted(bench.lines) == ["[email-1] ready to work", "[email-2] ready to work"]
    await bench.scale(0)
    await eventually(lambda: not bench.scaler.pids(EMAIL))
    await bench.scaled(1)
    await eventually(lambda: len(bench.lines) == 3)
    assert (bench.folder / "logs" / "email-1.log").read_text() == "ready to work\n" * 2


async def test_pools_of_one_name_in_two_namespaces_do_not_share_logs(bench: Bench) -> None:
    other = type(EMAIL)(namespace="staging", name="email")
    for key in (EMAIL, other):
        bench.scaler.add_pool(key, bench.plan())
        await bench.scaled(1, key)
    assert {path.name for path in (bench.folder / "logs").iterdir()} == {"email-1.log", "staging.email-1.log"}


async def test_a_log_that_has_grown_large_is_set_aside(bench: Bench) -> None:
    log = bench.folder / "logs" / "email-1.log"
    log.parent.mkdir()
    with log.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    bench.scaler.add_pool(EMAIL, bench.plan())
    await bench.scaled(1)
    assert log.read_text() == "ready to work\n"
    assert log.with_name("email-1.log.1").stat().st_size == 17 * 1024 * 1024


# -- the end


async def test_drain_lets_all_pools_finish(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan("--on-term", "finish"))
    bench.scaler.add_pool(ORDER, bench.plan("--on-term", "leave"))
    pids = (*await bench.scaled(2), *await bench.scaled(2, ORDER))
    drain = asyncio.create_task(bench.scaler.drain())
    await bench.marked("term", *pids)
    assert not drain.done()
    assert (await bench.scale(5)).kind is OutcomeKind.FAILED
    bench.go()
    assert await drain == 0
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
    redis, guardian, *workers = map(int, (await operator.stdout.readline()).split())
    # Two that leave already, two shells with a worker each, one that is stubborn and has a child.
    assert len(workers) == 5
    await eventually(lambda: len(list(bench.folder.glob("*.ready"))) == 2 + 2 + 2 + 1)
    operator.kill()
    await operator.wait()
    groups_alive = [*workers, redis]
    stubborn = workers[-1]
    await eventually(lambda: not groups.members(stubborn))
    await eventually(lambda: len(list(bench.folder.glob("*.term"))) == 2 + 2 + 1)
    assert groups.members(redis), "the broker outlives those that acknowledge to it"
    assert not bench.has("term", redis)
    bench.go()
    await eventually(lambda: not any(groups.members(pid) for pid in groups_alive) and not is_alive(guardian))
    assert len(list(bench.folder.glob("*.done"))) == 2 + 2 + 1
    assert all(path.read_text() == "\n" for path in bench.folder.glob("*.term")), "nobody is asked twice"
