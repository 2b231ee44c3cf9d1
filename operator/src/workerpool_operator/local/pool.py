"""The replicas of one pool: which there are, which start, which go, what is done about those that end by themselves.

A state machine that is stepped; it never waits and starts no process itself, and every time is an argument.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from workerpool_operator.local.backoff import Backoff
from workerpool_operator.local.draining import Draining, leaving_now
from workerpool_operator.local.groups import Ending, group_of, members
from workerpool_operator.local.guardian import Guardian
from workerpool_operator.local.launch import Launched, LaunchPlan
from workerpool_operator.local.replica import Phase, Replica, describe_exit, was_killed
from workerpool_operator.local.victims import choose_victims
from workerpool_operator.ports import NoticeKind, PoolKey, ReplicaState, WorkerBeat

ORPHAN_GRACE_S = 2.0
"""How long the processes that a dead worker left behind may take to end."""


@dataclass(kw_only=True, slots=True)
class Counters:
    """What happened to replicas since the start.

    ``started`` counts processes, restarts included; ``start_failures`` attempts that gave none. ``crashed`` ended by
    themselves or were killed from outside. ``killed_after_grace`` did not stop in time, ``killed_busy`` of those held a
    job by their last heartbeat. ``orphans_killed`` counts dead workers whose left-behind processes had to be killed.
    """

    started: int = 0
    start_failures: int = 0
    crashed: int = 0
    killed_after_grace: int = 0
    killed_busy: int = 0
    orphans_killed: int = 0


class Say(Protocol):
    """How a pool says that something happened."""

    def __call__(self, kind: NoticeKind, message: str, *, busy: bool | None = None) -> None:
        """Say it."""
        ...


@dataclass(kw_only=True, slots=True)
class StartTrouble:
    """Whether the pool's command can be started at all: that is one fact of the pool, not one for each replica."""

    error: str = ""
    failures: int = 0
    retry_at_s: float = 0.0


@dataclass(kw_only=True, slots=True)
class Pool:
    """The replicas of one pool. ``label`` names them and their logs."""

    key: PoolKey
    label: str
    plan: LaunchPlan
    say: Say
    show: Callable[[str], None]
    guardian: Guardian
    counters: Counters
    backoff: Backoff
    replicas: list[Replica] = field(default_factory=list)
    trouble: StartTrouble = field(default_factory=StartTrouble)
    draining: Draining | None = None
    """How replicas are cordoned before they go, None where they are asked to go at once."""
    grace_limit_s: float | None = None
    """Shortens every grace period from now on, while all is being stopped."""

    # -- what is asked of it

    def wanted(self) -> list[Replica]:
        """The replicas that should be there."""
        return [replica for replica in self.replicas if replica.wanted]

    def resize(self, target: int, now_s: float) -> int:
        """Want ``target`` replicas: note new ones to start, ask the least needed to go. Returns the difference."""
        wanted = self.wanted()
        missing = target - len(wanted)
        for _ in range(missing):
            self._add(now_s)
        victims = choose_victims([replica.candidate(now_s) for replica in wanted], -missing)
        by_index = {replica.index: replica for replica in wanted}
        for index in victims:
            self.dismiss(by_index[index], now_s)
        return missing

    def replace_plan(self, plan: LaunchPlan, now_s: float) -> None:
        """Start with another plan from now on; replicas of the old one finish their jobs and go."""
        if plan == self.plan:
            return
        self.plan = plan
        self.trouble = StartTrouble()
        for replica in self.wanted():
            self.dismiss(replica, now_s)
            self._add(now_s)

    def stop(self, now_s: float, *, grace_limit_s: float | None) -> None:
        """Ask every replica to go, and give none longer than the limit from now."""
        self.grace_limit_s = grace_limit_s
        for replica in leaving_now(self.replicas):
            self.dismiss(replica, now_s)
        if self.draining is not None:
            self.draining.cordons.stop()
        if grace_limit_s is not None:
            for replica in self.replicas:
                if replica.ending is not None:
                    replica.ending.deadline_s = min(replica.ending.deadline_s, now_s + grace_limit_s)

    def dismiss(self, replica: Replica, now_s: float) -> None:
        """Ask one replica to go: its main process gets SIGTERM, on which a Celery worker finishes its jobs."""
        replica.wanted = False
        if replica.phase is Phase.WAITING:
            self.replicas.remove(replica)
        elif replica.phase is Phase.RUNNING and replica.launched is not None:
            with contextlib.suppress(PermissionError):  # it runs as somebody else by now (sudo, setuid)
                replica.launched.process.send_signal(signal.SIGTERM)
            self.guardian.told(replica.launched.process.pid)
            grace_s = replica.plan.grace_s
            if self.grace_limit_s is not None:
                grace_s = min(grace_s, self.grace_limit_s)
            replica.phase = Phase.LEAVING
            replica.stop_asked_s = now_s
            replica.ending = Ending(group=replica.launched.process.pid, deadline_s=now_s + grace_s)

    # -- starting

    def due(self, now_s: float) -> list[Replica]:
        """The replicas to start now; after a failed start a single one, to see whether it works again."""
        if self.trouble.retry_at_s > now_s:
            return []
        if self.trouble.failures and any(replica.phase is Phase.STARTING for replica in self.replicas):
            return []
        due = [one for one in self.replicas if one.phase is Phase.WAITING and one.start_at_s <= now_s]
        return due[:1] if self.trouble.failures else due

    def started(self, replica: Replica, launched: Launched, now_s: float) -> None:
        """Take note that a replica's process runs."""
        self.trouble = StartTrouble()
        replica.begin(launched)
        self.counters.started += 1
        self.say(NoticeKind.REPLICA_STARTED, f"{replica.name} started, pid {launched.process.pid}")
        if not replica.wanted:  # the pool shrank while it was being started
            self.dismiss(replica, now_s)

    def start_failed(self, replica: Replica, error: str, now_s: float) -> None:
        """Take note that a replica could not be started. Those that fail together are one failure."""
        self.counters.start_failures += 1
        if replica.wanted:
            replica.wait_until(now_s)
        else:
            self.replicas.remove(replica)
        if self.trouble.retry_at_s > now_s:
            return
        delay_s = self.backoff.delay_s(self.trouble.failures)
        message = f"pool {self.key}: {error}"
        self.trouble = StartTrouble(error=message, failures=self.trouble.failures + 1, retry_at_s=now_s + delay_s)
        self.say(NoticeKind.START_FAILED, f"{message}; trying again in {delay_s:g} s")

    # -- what happens by itself

    def advance(self, now_s: float) -> None:
        """Look at every process and do what is due: note crashes, end what is left behind, kill what overstayed."""
        for replica in list(self.replicas):
            process = replica.launched.process if replica.launched else None
            if process is not None and replica.phase is Phase.RUNNING and process.poll() is not None:
                self._crashed(replica, process, now_s)
            if replica.ending is not None:
                self._end(replica, replica.ending, now_s)
            replica.show_new_lines(self.show)

    def hear(self, beats: Sequence[WorkerBeat], now_s: float) -> None:
        """Match heartbeats to replicas: the sender is in the replica's process group."""
        groups = {replica.pid: replica for replica in self.replicas if replica.pid is not None}
        senders = {pid: replica for replica in groups.values() for pid in replica.heard}
        here = socket.gethostname()
        # Another machine's worker on the same broker may have the pid of one of ours. Ours has the last word.
        for beat in sorted(beats, key=lambda one: one.hostname.rpartition("@")[2] == here):
            replica = senders.get(beat.pid) or groups.get(group_of(beat.pid) or beat.pid)
            if replica is not None:
                replica.hear(beat, now_s)
        if self.draining is not None:
            self.draining.hear(beats)
            self.draining.settle(self, now_s)

    def state(self, now_s: float) -> ReplicaState:
        """What the loop wants to know."""
        wanted = self.wanted()
        ready = [replica for replica in wanted if replica.is_ready(now_s)]
        leaving = [replica for replica in self.replicas if not replica.wanted]
        silent = sum(1 for replica in ready if not replica.beats(now_s))
        return ReplicaState(
            current=len(wanted),
            ready=len(ready),
            leaving=len(leaving),
            silent=silent,
            beats=tuple(beat for replica in wanted for beat in replica.beats(now_s)),
            # Celery stops its heartbeat when it is asked to stop, so the last one, however old, is what is known.
            leaving_beats=tuple(beat for replica in leaving for beat in replica.beats(now_s, fresh_only=False)),
            drains=not silent and self.draining is not None and self.draining.cordons.drains,
        )

    def busy_pids(self, now_s: float) -> tuple[int, ...]:
        """The main processes of the wanted replicas that hold a job by a fresh heartbeat."""
        return tuple(one.pid for one in self.wanted() if one.pid is not None and one.active(now_s))

    def waiting_note(self) -> str:
        """Say how many wanted replicas have no process, empty when all have."""
        wanted = self.wanted()
        waiting = sum(1 for replica in wanted if replica.phase in (Phase.WAITING, Phase.ORPHANED))
        return f"{waiting} of {len(wanted)} replicas ended by themselves and wait to start again" if waiting else ""

    def _add(self, now_s: float) -> None:
        taken = {replica.index for replica in self.replicas}
        index = next(number for number in range(1, len(taken) + 2) if number not in taken)
        self.replicas.append(Replica(name=f"{self.label}-{index}", index=index, plan=self.plan, start_at_s=now_s))

    def _crashed(self, replica: Replica, process: subprocess.Popen[bytes], now_s: float) -> None:
        lived_s, status = replica.uptime_s(now_s), process.returncode
        replica.crashes, delay_s = self.backoff.after_crash(replica.crashes, lived_s=lived_s, killed=was_killed(status))
        replica.start_at_s = now_s + delay_s
        self.counters.crashed += 1
        words, again = replica.last_words(), "it starts again " + (f"in {delay_s:g} s" if delay_s else "at once")
        self.say(
            NoticeKind.REPLICA_CRASHED,
            f"{replica.name} {describe_exit(status)} after {lived_s:.1f} s; "
            + (again if replica.wanted else "it was cordoned, and none comes in its place")
            + (f". Its last line: {words}" if words else ""),
            busy=replica.last_busy(),
        )
        replica.phase = Phase.ORPHANED
        replica.ending = Ending(group=process.pid, deadline_s=now_s + self._orphan_grace_s(replica, process.pid))

    def _orphan_grace_s(self, replica: Replica, group: int) -> float:
        """How long what a dead main process left behind may take.

        Children that only execute jobs (Celery's prefork ones) cannot acknowledge them: their job comes back to another
        worker whatever they do, so every second they go on is one in which it is done twice. They are ended at once,
        and the replica starts again only when they are gone; a container that is killed takes them along just so. An
        idempotent job would not mind, but nobody should depend on that. (On Linux, Celery's die with their parent.)
        A process that itself sends heartbeats is a whole worker whose wrapper died: it has its usual grace period.
        """
        alive = {member.pid for member in members(group)}
        return replica.plan.grace_s if alive & replica.heard.keys() else ORPHAN_GRACE_S

    def _end(self, replica: Replica, ending: Ending, now_s: float) -> None:
        killed_before = ending.killed
        alive = replica.launched is not None and replica.launched.process.poll() is None
        gone = ending.step(now_s, main_alive=alive)
        if ending.killed and not killed_before:
            self._note_kill(replica, now_s)
        if gone:
            self._gone(replica, ending, now_s)

    def _note_kill(self, replica: Replica, now_s: float) -> None:
        if replica.phase is Phase.ORPHANED:
            self.counters.orphans_killed += 1
            return
        busy = replica.last_busy()
        self.counters.killed_after_grace += 1
        self.counters.killed_busy += busy is True
        self.say(
            NoticeKind.REPLICA_KILLED,
            f"{replica.name} was killed: it still ran {now_s - replica.stop_asked_s:.1f} s after it was asked to stop"
            + {True: ", and held a job", False: "", None: "; whether it held a job is not known"}[busy],
            busy=busy,
        )

    def _note_stop(self, replica: Replica, status: int, now_s: float) -> None:
        took_s = now_s - replica.stop_asked_s
        if not was_killed(status):
            self.say(NoticeKind.REPLICA_STOPPED, f"{replica.name} stopped {took_s:.1f} s after it was asked to")
            return
        self.counters.crashed += 1
        message = f"{replica.name} {describe_exit(status)} from outside while it was finishing"
        self.say(NoticeKind.REPLICA_CRASHED, message, busy=replica.last_busy())

    def _gone(self, replica: Replica, ending: Ending, now_s: float) -> None:
        self.guardian.forget(ending.group)
        replica.show_new_lines(self.show, final=True)
        if replica.phase is Phase.LEAVING and not ending.killed and replica.launched is not None:
            self._note_stop(replica, replica.launched.process.returncode, now_s)
        if replica.wanted:
            replica.wait_until(max(now_s, replica.start_at_s))
        else:
            self.replicas.remove(replica)
