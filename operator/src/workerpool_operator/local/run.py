"""``workerpool local``: load the pools, run them until Ctrl-C, let the workers finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from workerpool_operator.local.explain_socket import explain_socket
from workerpool_operator.local.redis_binary import RedisServerError
from workerpool_operator.local.world import LocalError, LocalOptions, LocalWorld, free_usual_port
from workerpool_operator.loop import relax_collector
from workerpool_operator.ports import Sink
from workerpool_operator.report.board import Board, Progress
from workerpool_operator.report.errors import ReportError
from workerpool_operator.report.fanout import Sinks
from workerpool_operator.report.humanise import plural
from workerpool_operator.report.jsonlog import DecisionLog
from workerpool_operator.report.last import ExplainPages, LastDecisions
from workerpool_operator.report.lines import PlainLines
from workerpool_operator.report.live import LiveView
from workerpool_operator.report.web import WebPage
from workerpool_operator.resource.errors import ResourceError
from workerpool_operator.resource.load import load_files
from workerpool_operator.resource.world import World

OK, TROUBLE, BAD_INPUT = 0, 1, 2
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalArguments:
    """The command line of ``workerpool local``. ``plain`` None: a live view on a terminal, lines elsewhere."""

    files: tuple[str, ...]
    state_dir: Path
    log: Path | None = None
    web_port: int | None = None
    plain: bool | None = None
    show_worker_logs: bool = False
    redis_port: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether lines are printed instead of a live view."""
        return self.plain if self.plain is not None else not sys.stdout.isatty()


def run_local(arguments: LocalArguments) -> int:
    """Run until stopped; returns the exit status: 0 well, 1 something was in trouble, 2 nothing could be started."""
    relax_collector()
    try:
        return asyncio.run(_run(arguments))
    except (ResourceError, ReportError, LocalError, RedisServerError) as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"workerpool: {line}\n")
        return BAD_INPUT


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reports:
    """What is shown and written of a run."""

    sinks: Sinks
    board: Board
    explain: ExplainPages
    say: Callable[[str], None]
    page: WebPage | None


async def _run(arguments: LocalArguments) -> int:
    pools = load_files(arguments.files, world=World.LOCAL)
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        reports = await _open_reports(arguments, stop, stack)
        world = LocalWorld(pools, options=_options(arguments), sink=reports.sinks)
        stack.push_async_callback(world.drain)
        await world.start()
        await stack.enter_async_context(explain_socket(arguments.state_dir, reports.explain, say=reports.say))
        for line in world.problems:
            sys.stderr.write(f"workerpool: {line}\n")
        for line in _greeting(world, reports.page):
            reports.say(line)
        stack.enter_context(stop_signals(stop, world.scaler.kill_now))
        await stack.enter_async_context(showing(reports.board, live=not arguments.is_plain))
        await run_until(stop, world)
        reports.say("stopping: workers finish their jobs; Ctrl-C again kills them")
        killed = await _drained(world, reports.board)
        reports.say(f"stopped; {killed} workers had to be killed" if killed else "stopped; every worker ended in order")
        return TROUBLE if world.problems else OK


async def _drained(world: LocalWorld, board: Board) -> int:
    """Let every worker finish, and say meanwhile how many are left; returns how many had to be killed."""
    total = world.scaler.processes
    draining = asyncio.create_task(world.drain())
    while not draining.done():
        left = world.scaler.processes
        board.progress = Progress(
            text=f"stopping: {left} of {plural(total, 'worker')} left; the table is as it was",
            done=total - left,
            total=total,
        )
        await asyncio.wait({draining}, timeout=_LOOK_EVERY_S)
    board.progress = Progress(text="stopped; the table is as it was")
    return draining.result()


async def _open_reports(arguments: LocalArguments, stop: asyncio.Event, stack: AsyncExitStack) -> _Reports:
    """Open what was asked for, and fail before anything is started when one cannot be opened."""
    board, decisions = Board(), LastDecisions()
    explain = ExplainPages(decisions, decided_by=f"workerpool local, process {os.getpid()}")
    # `workerpool local | head`: when nobody reads any more, the run ends in order
    lines = PlainLines(on_closed=stop.set) if arguments.is_plain else None
    say = lines.say if lines is not None else board.say
    stack.enter_context(logging_to(say))
    sinks: list[Sink] = [board, decisions]
    if lines is not None:
        sinks.append(lines)
    if arguments.log is not None:
        log = DecisionLog(arguments.log, on_trouble=say)
        stack.callback(log.close)
        sinks.append(log)
    page = None
    if arguments.web_port is not None:
        page = WebPage(board, port=arguments.web_port, explain=explain)
        await page.start()
        stack.push_async_callback(page.close)
    return _Reports(sinks=Sinks(sinks, on_trouble=say), board=board, explain=explain, say=say, page=page)


@contextlib.contextmanager
def logging_to(say: Callable[[str], None]) -> Iterator[None]:
    """Show this package's log from warnings up where everything else is shown, without tearing a live view."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(self.format(record))

    handler, logger = Handler(logging.WARNING), logging.getLogger("workerpool_operator")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def _options(arguments: LocalArguments) -> LocalOptions:
    return LocalOptions(
        folder=Path.cwd(),
        state_dir=arguments.state_dir.absolute(),
        environ=dict(os.environ),
        show_worker_logs=arguments.show_worker_logs,
        redis_port=arguments.redis_port or free_usual_port(),
    )


def _greeting(world: LocalWorld, page: WebPage | None) -> list[str]:
    lines = []
    if world.redis is not None:
        lines.append(f"Redis for these pools: {world.redis.url} (export BROKER_URL={world.redis.url})")
    if page is not None:
        lines.append(f"live page: {page.url}")
    return lines


@asynccontextmanager
async def showing(board: Board, *, live: bool) -> AsyncIterator[None]:
    """Keep the live view drawn, where one is wanted."""
    if not live:
        yield
        return
    with LiveView(board) as view:
        drawing = asyncio.create_task(view.run())
        try:
            yield
        finally:
            drawing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await drawing


@contextlib.contextmanager
def stop_signals(stop: asyncio.Event, on_second: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) sets the event; another one calls ``on_second``."""
    loop = asyncio.get_running_loop()

    def stopping() -> None:
        if stop.is_set():
            on_second()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def run_until(stop: asyncio.Event, world: LocalWorld) -> None:
    """Run the loops until the event is set; raises what a loop failed with."""
    running, stopped = asyncio.create_task(world.run()), asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if running.done():
        await running
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
