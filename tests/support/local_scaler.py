"""What the tests of processes as replicas share: plans, heartbeats, decisions, and waiting for things to be so."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from workerpool_operator.core.decision import Decision, Reason
from workerpool_operator.local.backoff import Backoff
from workerpool_operator.local.launch import LaunchPlan
from workerpool_operator.local.processes import ProcessScaler
from workerpool_operator.ports import Notice, NoticeKind, Outcome, PoolKey, ReplicaState, WorkerBeat

EMAIL = PoolKey(namespace="shop", name="email")
ORDER = PoolKey(namespace="shop", name="order")
WORKER = Path(__file__).with_name("local_worker.py")


async def eventually(condition: Callable[[], object], *, within_s: float = 15.0) -> None:
    """Wait until a condition holds."""
    limit_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < limit_s, "it did not come to be so in time"
        await asyncio.sleep(0.01)


def decision(target: int) -> Decision:
    return Decision(current=0, target=target, reason=Reason.WORK_WAITING, message="", demand_replicas=target)


def beat(pid: int, *, active: int = 0, age_s: float = 0.0, hostname: str = "celery@laptop") -> WorkerBeat:
    return WorkerBeat(hostname=hostname, pid=pid, active=active, processed=active, age_s=age_s)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@dataclass(kw_only=True)
class Bench:
    """One scaler under test, with the folder its workers write to and what it said."""

    folder: Path
    notices: list[Notice] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    scaler: ProcessScaler = field(init=False)

    def __post_init__(self) -> None:
        self.scaler = ProcessScaler(
            on_notice=self.notices.append,
            on_log_line=self.lines.append,
            backoff=Backoff(first_s=0.2, cap_s=1.0),
        )

    def command(self, *options: str) -> tuple[str, ...]:
        return (sys.executable, "-S", "-E", str(WORKER), str(self.folder), *options)

    def plan(
        self,
        *options: str,
        argv: tuple[str, ...] | None = None,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        log_dir: Path | None = None,
        grace_s: float = 30.0,
        show_logs: bool = False,
    ) -> LaunchPlan:
        return LaunchPlan(
            argv=self.command(*options) if argv is None else argv,
            env={"PATH": os.environ["PATH"], **(env or {})},
            cwd=cwd or self.folder,
            log_dir=log_dir or self.folder / "logs",
            grace_s=grace_s,
            show_logs=show_logs,
        )

    async def scale(self, target: int, key: PoolKey = EMAIL) -> Outcome:
        return await self.scaler.scale(key, decision(target))

    async def state(self, *beats: WorkerBeat, key: PoolKey = EMAIL) -> ReplicaState:
        return await self.scaler.replicas(key, beats)

    async def scaled(self, target: int, key: PoolKey = EMAIL) -> tuple[int, ...]:
        """Scale up and wait until the workers have their signal handlers; their processes."""
        await self.scale(target, key)
        pids = self.scaler.pids(key)
        await self.marked("ready", *pids)
        return pids

    async def marked(self, kind: str, *pids: int) -> None:
        """Wait until processes have left a mark."""
        await eventually(lambda: all(self.has(kind, pid) for pid in pids))

    def has(self, kind: str, pid: int) -> bool:
        return (self.folder / f"{pid}.{kind}").exists()

    def read(self, kind: str, pid: int) -> list[str]:
        return (self.folder / f"{pid}.{kind}").read_text().splitlines()

    def go(self) -> None:
        """Let the workers finish their job."""
        (self.folder / "go").touch()

    def said(self, kind: NoticeKind) -> list[Notice]:
        return [notice for notice in self.notices if notice.kind is kind]
