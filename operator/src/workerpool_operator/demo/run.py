"""``workerpool demo``: a rush hour in a shop, from zero replicas and back, with every job's effect counted."""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from sqlalchemy.exc import DBAPIError

from workerpool_operator.demo.chaos import Chaos, Outage, OutageVerdict, judge, kill_a_busy_worker, stop_redis
from workerpool_operator.demo.effects import Account, account
from workerpool_operator.demo.folder import DemoError, prepare
from workerpool_operator.demo.mailbox import Mailbox
from workerpool_operator.demo.picture import Mark, draw
from workerpool_operator.demo.recorder import Recorder
from workerpool_operator.demo.rush import Rush
from workerpool_operator.demo.shop import CATALOGUE, MAIL_FROM, RUSH_HOUR, STOCK_EACH, Wave
from workerpool_operator.demo.summary import Figures, show
from workerpool_operator.local.redis_binary import RedisServerError
from workerpool_operator.local.run import logging_to, showing, stop_signals
from workerpool_operator.local.world import LocalError, LocalOptions, LocalWorld
from workerpool_operator.ports import Sink
from workerpool_operator.report.board import Board, Progress
from workerpool_operator.report.errors import ReportError
from workerpool_operator.report.fanout import Sinks
from workerpool_operator.report.jsonlog import DecisionLog
from workerpool_operator.report.lines import PlainLines
from workerpool_operator.report.web import WebPage
from workerpool_operator.resource.load import load_pools
from workerpool_operator.resource.world import World
from workerpool_worker.effects import EffectsReader
from workerpool_worker.jobs.orders.stock import set_stock
from workerpool_worker.runtime.database import create_tables, make_engine

OK, LOST_OR_TWICE, BAD_INPUT = 0, 1, 2
QUIET_S = 2.0
"""How long everything stays at zero before the demo ends: the picture shows that it is quiet again."""

LOOK_EVERY_S = 0.25
PAYMENT_LATENCY_MS = 300
BEFORE_OUTAGE_S = 5.0
"""From the first order to the outage: workers are up and in the middle of their jobs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoArguments:
    """The command line of ``workerpool demo``. ``limit_s`` is when it gives up on what is not done."""

    output: Path
    chaos: Chaos | None = None
    as_json: bool = False
    web_port: int | None = None
    seed: int = 1
    limit_s: float = 180.0


def run_demo(arguments: DemoArguments) -> int:
    """Run the demo; returns the exit status: 0 well, 1 something was lost or done twice, 2 it could not run."""
    try:
        return asyncio.run(_Demo(arguments).run())
    except (DemoError, LocalError, RedisServerError, ReportError) as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"workerpool demo: {line}\n")
        return BAD_INPUT
    except KeyboardInterrupt:
        return LOST_OR_TWICE


@dataclass(kw_only=True, slots=True)
class _Outcome:
    """What a run leaves for its end."""

    account: Account
    figures: Figures
    verdict: OutageVerdict | None = None


@dataclass(slots=True)
class _Demo:
    """One run of the demo."""

    arguments: DemoArguments
    recorder: Recorder = field(default_factory=Recorder)
    board: Board = field(default_factory=Board)
    marks: list[Mark] = field(default_factory=list)
    outage: Outage | None = None
    chaos_over: bool = False
    start_s: float = 0.0
    say: Callable[[str], None] = field(default=lambda _line: None)

    async def run(self) -> int:
        """Prepare, run, count, show."""
        output = self.arguments.output.absolute()
        prepare(output)
        outcome = await self._run_pools(output)
        picture = output / "demo.png"
        await asyncio.to_thread(
            draw, self.recorder, self.marks, start_s=self.start_s, title="A rush hour in the shop", path=picture
        )
        if self.arguments.as_json:
            sys.stdout.write(json.dumps(outcome.figures.as_json()) + "\n")
        else:
            console = Console()
            show(console, outcome.figures, outcome.account, outcome.verdict)
            console.print(
                f"\npicture   {picture}\nmails     {output / 'mails'}\ninvoices  {output / 'invoices'}\n"
                f"decisions {output / 'decisions.jsonl'}",
                highlight=False,
                soft_wrap=True,
            )
        return OK if outcome.figures.well else LOST_OR_TWICE

    async def _run_pools(self, output: Path) -> _Outcome:
        async with AsyncExitStack() as stack:
            mailbox = await stack.enter_async_context(Mailbox(output / "mails"))
            database = f"sqlite:///{output / 'shop.db'}"
            await asyncio.to_thread(_stock_shelves, database)
            reader = EffectsReader(database)
            stack.callback(reader.close)
            world = LocalWorld(
                load_pools(_pools_yaml(), source="pools.yaml", world=World.LOCAL),
                options=_options(output, mailbox, database),
                sink=await self._sinks(output, stack),
            )
            stack.push_async_callback(world.drain)
            await world.start()
            stop = asyncio.Event()
            stack.enter_context(stop_signals(stop, world.scaler.kill_now))
            live = sys.stdout.isatty() and not self.arguments.as_json
            await stack.enter_async_context(showing(self.board, live=live))
            rush = Rush(waves=RUSH_HOUR, broker_url=world.redis.url if world.redis else "", seed=self.arguments.seed)

            def count() -> Account:
                return account(tuple(rush.orders), tuple(rush.mails), reader=reader, mailbox=mailbox)

            self.start_s = time.time()
            await self._until_quiet(world, rush, count, stop)
            await world.drain()
            return self._count(world, rush, await asyncio.to_thread(count), reader)

    async def _sinks(self, output: Path, stack: AsyncExitStack) -> Sinks:
        log = DecisionLog(output / "decisions.jsonl")
        stack.callback(log.close)
        sinks: list[Sink] = [self.recorder, self.board, log]
        if self.arguments.web_port is not None:
            page = WebPage(self.board, port=self.arguments.web_port)
            await page.start()
            stack.push_async_callback(page.close)
        self.say = self.board.say
        if self.arguments.as_json or not sys.stdout.isatty():
            lines = PlainLines(sys.stderr if self.arguments.as_json else None)
            sinks.append(lines)
            self.say = lines.say
        stack.enter_context(logging_to(self.say))
        return Sinks(sinks, on_trouble=self.say)

    async def _until_quiet(
        self, world: LocalWorld, rush: Rush, count: Callable[[], Account], stop: asyncio.Event
    ) -> None:
        """Run the pools and the rush until every job is done and every pool is at zero again, or the time is up."""
        self.say("quiet: three pools, no worker runs")
        background = [asyncio.create_task(world.run()), asyncio.create_task(rush.run(self.say, self._wave_begins))]
        if self.arguments.chaos is not None:
            background.append(asyncio.create_task(self._break_something(world, rush)))
        quiet_since_s: float | None = None
        try:
            while time.time() - self.start_s < self.arguments.limit_s and not stop.is_set():
                for task in background:
                    if task.done():
                        await task
                so_far = await asyncio.to_thread(count)
                self.board.progress = Progress(
                    text=self._progress(rush, so_far), done=so_far.done, total=rush.planned_jobs
                )
                busy = not rush.finished or so_far.lost > 0 or self.recorder.size > 0 or self._chaos_is_due()
                quiet_since_s = None if busy else quiet_since_s or time.monotonic()
                if quiet_since_s is not None and time.monotonic() - quiet_since_s >= QUIET_S:
                    return
                await asyncio.sleep(LOOK_EVERY_S)
            self.say("stopping before everything was done")
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)

    def _wave_begins(self, wave: Wave) -> None:
        self.marks.append(Mark(time_s=time.time(), label=f"{wave.orders} orders"))

    def _chaos_is_due(self) -> bool:
        """Whether what should be broken has not been broken and mended yet."""
        return self.arguments.chaos is not None and not self.chaos_over

    def _progress(self, rush: Rush, so_far: Account) -> str:
        if not rush.finished:
            return f"{len(rush.orders)} of {rush.planned} orders placed, {so_far.done} jobs done"
        if so_far.lost:
            return f"all orders placed, {so_far.done} of {so_far.expected} jobs done"
        return f"all {so_far.done} jobs done, workers go"

    async def _break_something(self, world: LocalWorld, rush: Rush) -> None:
        await rush.begun.wait()
        if self.arguments.chaos is Chaos.WORKER:
            mark = await kill_a_busy_worker(world.scaler, random.Random(self.arguments.seed))  # noqa: S311 - no secret
            self.say(f"chaos: {mark.label}")
            self.marks.append(mark)
        elif world.redis is not None:
            await asyncio.sleep(BEFORE_OUTAGE_S)
            self.outage = await stop_redis(world.redis, self.say)
            self.marks.append(Mark(time_s=self.outage.begin_s, label="Redis away", until_s=self.outage.end_s))
        self.chaos_over = True

    def _count(self, world: LocalWorld, rush: Rush, final: Account, reader: EffectsReader) -> _Outcome:
        times = reader.effect_times()
        first_s, recorder = rush.first_s, self.recorder
        begun = {effect.key: effect.begun_at for effect in times}
        waits = [begun[job] - placed_s for job, placed_s in rush.placed_at_s.items() if job in begun]
        replica_s = recorder.first_replica_s
        figures = Figures(
            jobs_enqueued=final.expected,
            jobs_completed=final.done,
            jobs_lost=final.lost,
            duplicate_effects=final.twice,
            busy_workers_killed=world.scaler.counters.killed_busy,
            peak_replicas=recorder.peak_replicas,
            seconds_to_first_replica=_between(first_s, replica_s),
            seconds_to_first_job=_between(first_s, times[0].begun_at if times else None),
            max_wait_s=round(max([recorder.longest_wait_s, *waits]), 3),
            final_replicas=recorder.size,
        )
        verdict = judge(recorder, self.outage) if self.outage is not None else None
        return _Outcome(account=final, figures=figures, verdict=verdict)


def _between(begin_s: float | None, end_s: float | None) -> float | None:
    return None if begin_s is None or end_s is None else round(max(0.0, end_s - begin_s), 3)


def _pools_yaml() -> str:
    return importlib.resources.files("workerpool_operator.demo").joinpath("pools.yaml").read_text(encoding="utf-8")


def _stock_shelves(database: str) -> None:
    engine = make_engine(database)
    try:
        create_tables(engine)
        for sku, _price, _description in CATALOGUE:
            set_stock(engine, sku, STOCK_EACH)
    except DBAPIError as error:
        raise DemoError(f"cannot write {database}: {error.orig}") from error
    finally:
        engine.dispose()


def _options(output: Path, mailbox: Mailbox, database: str) -> LocalOptions:
    """The shop's workers: its mail server, its database, its payment provider's sandbox."""
    return LocalOptions(
        folder=output,
        state_dir=output / "state",
        environ=dict(os.environ),
        extra_env={
            "DATABASE_URL": database,
            "WORKERPOOL_INVOICE_DIR": str(output / "invoices"),
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(mailbox.port),
            "SMTP_TLS": "none",
            "MAIL_FROM": MAIL_FROM,
            "PAYMENT_PROVIDER": "sandbox",
            "SANDBOX_LATENCY_MS": str(PAYMENT_LATENCY_MS),
        },
    )
