"""``workerpool local``: load the pools, run them until Ctrl-C, let the workers finish."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from workerpool_operator.local.redis_server import RedisServerError
from workerpool_operator.local.world import LocalError, LocalOptions, LocalWorld, free_usual_port
from workerpool_operator.ports import Sink
from workerpool_operator.report.board import Board
from workerpool_operator.report.errors import ReportError
from workerpool_operator.report.fanout import Sinks
from workerpool_operator.report.jsonlog import DecisionLog
from workerpool_operator.report.lines import PlainLines
from workerpool_operator.report.live import LiveView
from workerpool_operator.report.web import WebPage
from workerpool_operator.resource.errors import ResourceError
from workerpool_operator.resource.load import load_files
from workerpool_operator.resource.world import World

OK, TROUBLE, BAD_INPUT = 0, 1, 2


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
    try:
        return asyncio.run(_run(arguments))
    except (ResourceError, ReportError, LocalError, RedisServerError) as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"workerpool: {line}\n")
        return BAD_INPUT


async def _run(arguments: LocalArguments) -> int:
    pools = load_files(arguments.files, world=World.LOCAL)
    async with AsyncExitStack() as stack:
        board = Board()
        sinks, say, page = await _sinks(arguments, board, stack)
        world = LocalWorld(pools, options=_options(arguments), sink=sinks)
        stack.push_async_callback(world.drain)
        await world.start()
        for line in world.problems:
            sys.stderr.write(f"workerpool: {line}\n")
        for line in _greeting(world, page):
            say(line)
        stop = stack.enter_context(stop_signals(world.scaler.kill_now))
        await stack.enter_async_context(showing(board, live=not arguments.is_plain))
        await run_until(stop, world)
        say("stopping: workers finish their jobs; Ctrl-C again kills them")
        killed = await world.drain()
        say(f"stopped; {killed} workers had to be killed" if killed else "stopped; every worker finished its job")
        return TROUBLE if world.problems else OK


async def _sinks(
    arguments: LocalArguments, board: Board, stack: AsyncExitStack
) -> tuple[Sinks, Callable[[str], None], WebPage | None]:
    """Open what was asked for, and fail before anything is started when one cannot be opened."""
    sinks: list[Sink] = [board]
    if arguments.log is not None:
        log = DecisionLog(arguments.log)
        stack.callback(log.close)
        sinks.append(log)
    page = None
    if arguments.web_port is not None:
        page = WebPage(board, port=arguments.web_port)
        await page.start()
        stack.push_async_callback(page.close)
    if not arguments.is_plain:
        return Sinks(sinks), board.say, page
    lines = PlainLines()
    return Sinks([*sinks, lines]), lines.say, page


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
def stop_signals(on_second: Callable[[], None]) -> Iterator[asyncio.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; the second one calls ``on_second``."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def stopping() -> None:
        if stop.is_set():
            on_second()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping)
    try:
        yield stop
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
