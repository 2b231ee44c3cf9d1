"""One replica: what is known of one worker process, from the wish to have it until nothing of it is left."""

from __future__ import annotations

import dataclasses
import enum
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from workerpool_operator.local.backoff import CrashRecord
from workerpool_operator.local.groups import Ending
from workerpool_operator.local.launch import Launched, LaunchPlan
from workerpool_operator.local.logs import LogFollower, last_line
from workerpool_operator.local.victims import Candidate, Standing
from workerpool_operator.ports import WorkerBeat

FRESH_S = 6.0
"""A heartbeat older than this says nothing about now: Celery sends one every 2 s, so three are missing."""
READY_AFTER_S = 10.0
"""A worker that never sent a heartbeat is taken for ready after this time: it may have them switched off."""

_SHELL_SIGNAL_BASE = 128
"""A shell reports a child that was ended by signal n as status 128 + n."""


class Phase(enum.StrEnum):
    """Where a replica is in its life."""

    WAITING = "Waiting"
    """It has no process: it is about to be started, or waits to be started again."""
    STARTING = "Starting"
    RUNNING = "Running"
    ORPHANED = "Orphaned"
    """Its main process ended by itself, and what that left behind is being ended."""
    LEAVING = "Leaving"
    """It was asked to stop and finishes its jobs. (One that is cordoned is running; it is shown as leaving.)"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """A heartbeat and the monotonic time at which it was received; ``since_s`` when it last started a job."""

    beat: WorkerBeat
    at_s: float
    since_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaView:
    """A replica as a view shows it; ``active`` is None when nothing fresh is known, ``pid`` while it has no process."""

    name: str
    pid: int | None
    phase: Phase
    ready: bool
    active: int | None
    uptime_s: float


@dataclass(kw_only=True, slots=True)
class Replica:
    """One replica. Times are monotonic seconds."""

    name: str
    index: int
    plan: LaunchPlan
    start_at_s: float
    phase: Phase = Phase.WAITING
    wanted: bool = True
    cordoned_s: float = 0.0
    """When it was last told to take no more jobs."""
    launched: Launched | None = None
    follower: LogFollower | None = None
    ending: Ending | None = None
    stop_asked_s: float = 0.0
    crashes: CrashRecord = field(default_factory=CrashRecord)
    heard: dict[int, Heard] = field(default_factory=dict)

    @property
    def pid(self) -> int | None:
        """Its main process, whose id is that of the whole group; None while there is none."""
        return self.launched.process.pid if self.launched else None

    def mark_starting(self) -> None:
        """Take note that its process is being started."""
        self.phase = Phase.STARTING

    def begin(self, launched: Launched) -> None:
        """Take note that its process was started."""
        self.launched = launched
        self.phase = Phase.RUNNING
        self.heard = {}
        if self.plan.show_logs:
            self.follower = LogFollower(launched.log_path, since_bytes=launched.log_begin_bytes)

    def wait_until(self, start_at_s: float) -> None:
        """Take note that nothing of its process is left, and when the next one is due."""
        self.launched = None
        self.ending = None
        self.heard = {}
        self.phase = Phase.WAITING
        self.start_at_s = start_at_s

    def hear(self, beat: WorkerBeat, now_s: float) -> None:
        """Take note of a heartbeat; one from before its start belongs to an earlier process of the same id."""
        at_s = now_s - beat.age_s
        if self.launched is not None and at_s >= self.launched.started_s:
            last = self.heard.get(beat.pid)
            since_s = last.since_s if last is not None and last.beat.processed == beat.processed else at_s
            self.heard[beat.pid] = Heard(beat=beat, at_s=at_s, since_s=since_s)

    def beats(self, now_s: float, *, fresh_only: bool = True) -> list[WorkerBeat]:
        """Its last heartbeats (several when its command runs several workers), with their age now."""
        return [
            dataclasses.replace(one.beat, age_s=now_s - one.at_s)
            for one in self.heard.values()
            if not fresh_only or now_s - one.at_s <= FRESH_S
        ]

    def active(self, now_s: float) -> int | None:
        """How many jobs it executes, None when nothing fresh is known."""
        beats = self.beats(now_s)
        return sum(beat.active for beat in beats) if beats else None

    def working_since_s(self) -> float:
        """When a worker of it started a job last, or was first heard; 0 when none was heard."""
        return max((one.since_s for one in self.heard.values()), default=0.0)

    def last_busy(self) -> bool | None:
        """Whether it held a job by its last heartbeat, however old; None when it never sent one."""
        return any(one.beat.active > 0 for one in self.heard.values()) if self.heard else None

    def is_ready(self, now_s: float) -> bool:
        """Whether it takes jobs: it was heard of, or is up for long enough that it would have been."""
        return (
            self.phase is Phase.RUNNING
            and self.launched is not None
            and (bool(self.heard) or self.uptime_s(now_s) > READY_AFTER_S)
        )

    def uptime_s(self, now_s: float) -> float:
        """For how long its process is there; 0 without one."""
        return now_s - self.launched.started_s if self.launched else 0.0

    def candidate(self, now_s: float, *, deaf: bool = False) -> Candidate:
        """How it stands when replicas to stop are chosen; a deaf one does not listen when it is told something."""
        active = self.active(now_s)
        if self.phase is not Phase.RUNNING:
            standing = Standing.DOWN
        elif not self.is_ready(now_s):
            standing = Standing.STARTING
        elif active is None:
            standing = Standing.UNKNOWN
        else:
            standing = (Standing.DEAF if deaf else Standing.BUSY) if active else Standing.IDLE
        return Candidate(
            index=self.index,
            standing=standing,
            active=active or 0,
            started_s=self.launched.started_s if self.launched else self.start_at_s,
            working_since_s=self.working_since_s(),
        )

    def view(self, now_s: float) -> ReplicaView:
        """Itself as a view shows it."""
        return ReplicaView(
            name=self.name,
            pid=self.pid,
            phase=self.phase if self.wanted else Phase.LEAVING,
            ready=self.is_ready(now_s),
            active=self.active(now_s),
            uptime_s=self.uptime_s(now_s),
        )

    def last_words(self) -> str:
        """The last line of this life's output, empty when it wrote none."""
        if self.launched is None:
            return ""
        return last_line(self.launched.log_path, since_bytes=self.launched.log_begin_bytes)

    def show_new_lines(self, show: Callable[[str], None], *, final: bool = False) -> None:
        """Pass on what it wrote since the last time, each line with its name."""
        if self.follower is not None:
            for line in self.follower.new_lines(final=final):
                show(f"[{self.name}] {line}")


def was_killed(status: int) -> bool:
    """Whether an exit status (negative: the signal) means SIGKILL, to it or to what a shell ran for it."""
    return status in (-signal.SIGKILL, _SHELL_SIGNAL_BASE + signal.SIGKILL)


def describe_exit(status: int) -> str:
    """Say in words how a process ended, from its exit status (negative: the signal)."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
