"""Worker processes as replicas: the :class:`~workerpool_operator.ports.Scaler` of local mode, for Linux and macOS.

One task steps every pool ten times a second; nothing else waits for a process, so a replica that takes minutes to
finish its job costs nothing but its place in a list. Processes are started in threads, where forking does not hold up
the loop, and are guarded against the death of local mode (:mod:`~workerpool_operator.local.guardian`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from workerpool_operator.core.decision import Decision
from workerpool_operator.local.backoff import Backoff
from workerpool_operator.local.draining import Draining
from workerpool_operator.local.guardian import Guardian
from workerpool_operator.local.launch import LaunchError, LaunchPlan, launch
from workerpool_operator.local.pool import Counters, Pool
from workerpool_operator.local.replica import Replica, ReplicaView
from workerpool_operator.ports import Notice, NoticeKind, Outcome, OutcomeKind, PoolKey, ReplicaState, WorkerBeat
from workerpool_operator.queues.cordons import Cordons

_STEP_S = 0.1
_STARTERS = 4
_AFTER_KILL_S = 5.0
"""How long :meth:`ProcessScaler.drain` waits for the kernel once everything was killed."""


def _to_stdout(line: str) -> None:
    with contextlib.suppress(OSError):  # `workerpool local | head`: nobody reads any more, the workers go on
        sys.stdout.write(f"{line}\n")


class ProcessScaler:
    """Keeps each pool at its size with worker processes. For use by one event loop; end it with :meth:`drain`.

    Args:
        on_notice: Told of starts, stops, crashes and kills, from within the event loop; must neither raise nor block.
        on_log_line: Told each new line of those pools whose plan says ``show_logs``, with its replica's name before it.
        backoff: How long a replica that keeps crashing waits.
    """

    def __init__(
        self,
        *,
        on_notice: Callable[[Notice], None],
        on_log_line: Callable[[str], None] = _to_stdout,
        backoff: Backoff | None = None,
    ) -> None:
        self.counters = Counters()
        self._on_notice = on_notice
        self._on_log_line = on_log_line
        self._backoff = backoff or Backoff()
        self._guardian = Guardian()
        # Threads of its own: the loop's are also those that look host names up, and a name server may hold them all.
        self._starters = ThreadPoolExecutor(max_workers=_STARTERS, thread_name_prefix="start")
        self._pools: dict[PoolKey, Pool] = {}
        self._removed: list[Pool] = []
        self._launches: set[asyncio.Task[None]] = set()
        self._stepper: asyncio.Task[None] | None = None
        self._stopping = False
        self._empty = asyncio.Event()

    # -- pools

    def add_pool(self, key: PoolKey, plan: LaunchPlan) -> None:
        """Take on a pool, at size 0.

        Raises:
            ValueError: There is such a pool already.
        """
        if key in self._pools:
            raise ValueError(f"pool {key} is already there: use replace()")
        names = {pool.label for pool in (*self._pools.values(), *self._removed)}
        label = key.name if key.name not in names else f"{key.namespace}.{key.name}"

        def say(kind: NoticeKind, message: str, *, busy: bool | None = None) -> None:
            self._on_notice(Notice(time_s=time.time(), key=key, kind=kind, message=message, busy=busy))

        self._pools[key] = Pool(
            key=key,
            label=label,
            plan=plan,
            say=say,
            show=self._on_log_line,
            guardian=self._guardian,
            counters=self.counters,
            backoff=self._backoff,
        )

    def replace(self, key: PoolKey, plan: LaunchPlan) -> None:
        """Start a pool's replicas with another plan; those of the old one finish their jobs and go.

        Raises:
            KeyError: There is no such pool.
        """
        pool = self._pools[key]
        if not self._stopping:
            pool.replace_plan(plan, time.monotonic())

    def remove_pool(self, key: PoolKey) -> None:
        """Let a pool go: its replicas finish their jobs and end in the background. An unknown one is no error."""
        pool = self._pools.pop(key, None)
        if pool is not None:
            pool.stop(time.monotonic(), grace_limit_s=None)
            self._removed.append(pool)

    def drain_by(self, key: PoolKey, cordons: Cordons) -> None:
        """Have a pool's replicas cordoned before they go, from now on. An unknown pool is no error."""
        pool = self._pools.get(key)
        if pool is not None:
            pool.draining = draining = Draining(cordons)
            cordons.on_idle = lambda: draining.settle(pool, time.monotonic())

    # -- ports.Scaler

    async def replicas(self, key: PoolKey, beats: Sequence[WorkerBeat]) -> ReplicaState:
        """Count the pool's replicas and match the heartbeats to them. An unknown pool has none."""
        pool = self._pools.get(key)
        if pool is None:
            return ReplicaState(current=0, ready=0, leaving=0, silent=0)
        now_s = time.monotonic()
        pool.advance(now_s)
        pool.hear(beats, now_s)
        return pool.state(now_s)

    async def scale(self, key: PoolKey, decision: Decision) -> Outcome:
        """Move the pool to ``decision.target``; idle replicas go first.

        Returns once new processes were started or failed to, which takes milliseconds; never waits for one to stop.
        """
        pool = self._pools.get(key)
        if pool is None:
            return Outcome(kind=OutcomeKind.FAILED, message=f"pool {key} is not known here")
        if self._stopping:
            return Outcome(kind=OutcomeKind.FAILED, message="local mode is stopping: no more workers are started")
        self._ensure_stepper()
        change = await self._resize(pool, decision.target)
        if self._stopping:
            return Outcome(kind=OutcomeKind.FAILED, message="local mode is stopping")
        launches = self._start_due(pool)
        if launches:
            await asyncio.wait(launches)  # their tasks are the scaler's: being cancelled here leaves them be
        note = pool.waiting_note()
        if pool.trouble.error and note:
            return Outcome(kind=OutcomeKind.FAILED, message=pool.trouble.error)
        return Outcome(kind=OutcomeKind.APPLIED if change else OutcomeKind.UNCHANGED, message=note)

    # -- for views and for chaos

    def pids(self, key: PoolKey) -> tuple[int, ...]:
        """The main processes of the pool's replicas, those that are leaving included; each leads its process group."""
        pool = self._pools.get(key)
        return tuple(one.pid for one in pool.replicas if one.pid is not None) if pool else ()

    @property
    def processes(self) -> int:
        """How many replicas of all pools have a process, those that are leaving included."""
        return sum(replica.pid is not None for pool in self._all() for replica in pool.replicas)

    def busy_pids(self, key: PoolKey) -> tuple[int, ...]:
        """The main processes of the pool's wanted replicas that hold a job by a fresh heartbeat."""
        pool = self._pools.get(key)
        return pool.busy_pids(time.monotonic()) if pool else ()

    def random_busy(self, rng: random.Random) -> tuple[PoolKey, int] | None:
        """One busy replica of any pool, None when none is known to be busy."""
        busy = [(key, pid) for key in self._pools for pid in self.busy_pids(key)]
        return rng.choice(busy) if busy else None

    def views(self, key: PoolKey) -> tuple[ReplicaView, ...]:
        """The pool's replicas as a view shows them, those that are leaving included."""
        pool = self._pools.get(key)
        now_s = time.monotonic()
        return tuple(replica.view(now_s) for replica in pool.replicas) if pool else ()

    def outlive(self, pid: int, *, grace_s: float = 10.0) -> None:
        """Have a process (of its own group) ended last should local mode die: the workers' Redis.

        It is forgotten once it is gone: name its successor after a restart. After :meth:`drain` it is the caller's
        again. Call it from where blocking for some milliseconds is fine.

        Raises:
            OSError: The guardian could not be started.
        """
        self._guardian.start()
        self._guardian.watch(pid, grace_s=grace_s, last=True)

    # -- the end

    async def drain(self, timeout_s: float | None = None) -> int:
        """Ask every replica to finish its job and go, all at once; kill what is left after its pool's grace period.

        Args:
            timeout_s: Shortens the grace periods, None for each pool's own.

        Returns:
            How many replicas had to be killed in it.
        """
        self._stopping = True
        killed_before = self.counters.killed_after_grace
        self._ensure_stepper()
        if self._launches:
            await asyncio.wait(set(self._launches))
        self._stop_pools(timeout_s)
        grace_s = max((one.plan.grace_s for pool in self._all() for one in pool.replicas), default=0.0)
        limit_s = (grace_s if timeout_s is None else min(grace_s, timeout_s)) + _AFTER_KILL_S
        self._empty.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), limit_s)
        await self._close()
        return self.counters.killed_after_grace - killed_before

    def kill_now(self) -> None:
        """Kill every replica at once, jobs or not; a :meth:`drain` under way then returns."""
        self._stopping = True
        self._stop_pools(0.0)
        for pool in self._all():
            pool.advance(time.monotonic())

    # -- inside

    def _all(self) -> list[Pool]:
        return [*self._pools.values(), *self._removed]

    def _stop_pools(self, grace_limit_s: float | None) -> None:
        for pool in self._all():
            pool.stop(time.monotonic(), grace_limit_s=grace_limit_s)

    def _ensure_stepper(self) -> None:
        if self._stepper is None or self._stepper.done():
            self._stepper = asyncio.create_task(self._step_forever(), name="local replicas")

    async def _step_forever(self) -> None:
        while True:
            for pool in self._all():
                pool.advance(time.monotonic())
                self._start_due(pool)
            self._removed = [pool for pool in self._removed if pool.replicas]
            if not any(pool.replicas for pool in self._all()):
                self._empty.set()
            self._guardian.check()
            await asyncio.sleep(_STEP_S)

    async def _resize(self, pool: Pool, target: int) -> int:
        """Want so many replicas; returns how many more or fewer leave or come."""
        change, draining = target - len(pool.wanted()), pool.draining
        if draining is None or change == 0:
            return pool.resize(target, time.monotonic())
        if change < 0:
            return -await draining.shrink(pool, -change)
        back = await draining.grow(pool, change)
        return back + (pool.resize(target, time.monotonic()) if not self._stopping else 0)

    def _start_due(self, pool: Pool) -> list[asyncio.Task[None]]:
        if self._stopping:
            return []
        tasks = []
        for replica in pool.due(time.monotonic()):
            replica.mark_starting()
            task = asyncio.create_task(self._launch(pool, replica), name=f"start {replica.name}")
            self._launches.add(task)
            task.add_done_callback(self._launches.discard)
            tasks.append(task)
        return tasks

    async def _launch(self, pool: Pool, replica: Replica) -> None:
        try:
            start = functools.partial(launch, replica.plan, name=replica.name, guardian=self._guardian)
            launched = await asyncio.get_running_loop().run_in_executor(self._starters, start)
        except LaunchError as error:
            pool.start_failed(replica, str(error), time.monotonic())
        except Exception as error:  # noqa: BLE001 - whatever it was (no thread left, say), it must not stay "starting"
            pool.start_failed(replica, f"cannot start {replica.name}: {error}", time.monotonic())
        else:
            pool.started(replica, launched, time.monotonic())

    async def _close(self) -> None:
        if self._stepper is not None:
            self._stepper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._stepper
            self._stepper = None
        await asyncio.get_running_loop().run_in_executor(self._starters, self._guardian.close)
