"""What ends by itself, what cannot be started, and what workers write."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

import pytest

from tests.support.local_scaler import EMAIL, ORDER, Bench, beat, eventually, is_alive
from workerpool_operator.local.replica import Phase
from workerpool_operator.ports import NoticeKind, OutcomeKind

pytestmark = pytest.mark.integration


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
    waits = ["in 0.2 s", "in 0.4 s", "in 0.8 s"]
    assert all(words in one.message for one, words in zip(notices, waits, strict=False)), notices
    assert notices[2].time_s - notices[0].time_s >= 0.6
    outcome = await bench.scale(1)
    assert outcome.kind is OutcomeKind.UNCHANGED
    assert "1 of 1 replicas" in outcome.message
    await bench.scale(0)
    assert (await bench.state()).current == 0


async def test_name_servers_that_hang_do_not_keep_workers_from_being_started(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan())
    end = threading.Event()
    loop = asyncio.get_running_loop()
    # host names are looked up in the loop's own threads: take all of them
    lookups = [loop.run_in_executor(None, end.wait) for _ in range(min(32, (os.cpu_count() or 1) + 4))]
    try:
        outcome = await asyncio.wait_for(bench.scale(1), 20)
        assert outcome.kind is OutcomeKind.APPLIED
    finally:
        end.set()
        await asyncio.gather(*lookups)


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


async def test_a_leaving_worker_that_is_killed_from_outside_did_not_stop_in_order(bench: Bench) -> None:
    bench.scaler.add_pool(EMAIL, bench.plan("--on-term", "finish"))
    (pid,) = await bench.scaled(1)
    await bench.state(beat(pid, active=1))
    await bench.scale(0)
    await bench.marked("term", pid)
    os.killpg(pid, signal.SIGKILL)
    await eventually(lambda: not bench.scaler.pids(EMAIL))
    (notice,) = bench.said(NoticeKind.REPLICA_CRASHED)
    assert "while it was finishing" in notice.message
    assert notice.busy is True
    assert not bench.said(NoticeKind.REPLICA_STOPPED)
    assert bench.scaler.counters.started == 1


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
