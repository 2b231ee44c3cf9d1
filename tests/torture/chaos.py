"""What goes wrong, chosen by the seed: processes, connections, Redis and the number of workers."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from tests.torture.fleet import Worker
from tests.torture.world import World
from workerpool_worker.runtime.database import make_engine


class Harm(StrEnum):
    """What can be done."""

    KILL_WORKER = "worker and children killed (SIGKILL)"
    BEHEAD = "worker's main process killed (SIGKILL)"
    KILL_CHILD = "child killed (SIGKILL)"
    STOP = "worker stopped for up to 9 s (SIGSTOP)"
    SCALE = "number of workers changed (SIGTERM)"
    KILL_CLIENTS = "connections closed by Redis (CLIENT KILL)"
    CUT = "connections cut by the network"
    STALL = "network silent for up to 4 s"
    KILL_REDIS = "Redis killed (SIGKILL)"
    END_REDIS = "Redis ended (SIGTERM)"
    STOP_REDIS = "Redis stopped for up to 2 s (SIGSTOP)"
    DROP_SQL = "database connections ended"


WEIGHTS = {
    Harm.KILL_WORKER: 10,
    Harm.BEHEAD: 5,
    Harm.KILL_CHILD: 20,
    Harm.STOP: 6,
    Harm.SCALE: 18,
    Harm.KILL_CLIENTS: 12,
    Harm.CUT: 8,
    Harm.STALL: 5,
    Harm.KILL_REDIS: 3,
    Harm.END_REDIS: 3,
    Harm.STOP_REDIS: 4,
    Harm.DROP_SQL: 6,
}
KILLS = frozenset({Harm.KILL_WORKER, Harm.BEHEAD, Harm.KILL_CHILD})
"""After these a mail may come twice: between the server's answer and our commit."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that was done. `at` is in Unix seconds."""

    at: float
    harm: str
    detail: str


@dataclass
class Chaos:
    """Does harm, and remembers what it did."""

    world: World
    dice: random.Random
    most_workers: int
    events: list[Event] = field(default_factory=list)
    stalled_until_s: float | None = None

    @property
    def counts(self) -> Counter[str]:
        """How often what was done."""
        return Counter(event.harm for event in self.events)

    def can(self, harm: Harm) -> bool:
        """Whether it makes sense in this world."""
        return harm is not Harm.DROP_SQL or self.world.database.startswith("postgresql")

    def any(self, among: Sequence[Harm]) -> None:
        """Do one of these."""
        possible = [harm for harm in among if self.can(harm)]
        self.do(self.dice.choices(possible, [WEIGHTS[harm] for harm in possible])[0])

    def do(self, harm: Harm) -> bool:
        """Do this; whether there was anybody to do it to."""
        actions: dict[Harm, Callable[[], str | None]] = {
            Harm.KILL_WORKER: self._kill_worker,
            Harm.BEHEAD: self._behead,
            Harm.KILL_CHILD: self._kill_child,
            Harm.STOP: self._stop,
            Harm.SCALE: self._scale,
            Harm.KILL_CLIENTS: self._kill_clients,
            Harm.CUT: self._cut,
            Harm.STALL: self._stall,
            Harm.KILL_REDIS: lambda: self._restart_redis(kill=True),
            Harm.END_REDIS: lambda: self._restart_redis(kill=False),
            Harm.STOP_REDIS: self._stop_redis,
            Harm.DROP_SQL: self._drop_sql,
        }
        at = time.time()
        detail = actions[harm]()
        if detail is None:
            return False
        self.events.append(Event(at=at, harm=harm.value, detail=detail))
        return True

    def tick(self) -> None:
        """Let the network through again when its time has come."""
        if self.stalled_until_s is not None and time.monotonic() > self.stalled_until_s:
            self.heal()

    def heal(self) -> None:
        """Undo what can be."""
        self.world.proxy.flow()
        self.stalled_until_s = None

    def _victim(self) -> Worker | None:
        awake = self.world.fleet.awake()
        return self.dice.choice(awake) if awake else None

    def _kill_worker(self) -> str | None:
        victim = self._victim()
        if victim is None:
            return None
        self.world.fleet.kill(victim)
        return f"worker {victim.number}"

    def _behead(self) -> str | None:
        victim = self._victim()
        if victim is None:
            return None
        remains_s = self.dice.uniform(0, 3)
        self.world.fleet.behead(victim, remains_s=remains_s)
        return f"worker {victim.number}, its children {remains_s:.1f} s later"

    def _kill_child(self) -> str | None:
        victim = self._victim()
        pid = self.world.fleet.kill_child(victim, self.dice) if victim is not None else None
        return None if victim is None or pid is None else f"worker {victim.number}, child {pid}"

    def _stop(self) -> str | None:
        victim = self._victim()
        if victim is None:
            return None
        seconds = self.dice.uniform(0.5, 9)
        self.world.fleet.stop(victim, seconds=seconds)
        return f"worker {victim.number} for {seconds:.1f} s"

    def _scale(self) -> str:
        before = self.world.fleet.target
        self.world.fleet.target = self.dice.randint(1, self.most_workers)
        return f"{before} -> {self.world.fleet.target}"

    def _kill_clients(self) -> str:
        closed = 0
        clients: Any = self.world.client.client_list()
        for one in clients:
            if one["name"].startswith("workerpool-worker") and self.dice.random() < 0.5:
                closed += int(self.world.client.client_kill_filter(_id=one["id"]))
        return f"{closed} connections"

    def _cut(self) -> str:
        return f"{self.world.proxy.cut(self.dice, self.dice.choice((0.3, 1.0)))} connections"

    def _stall(self) -> str | None:
        if self.stalled_until_s is not None:
            return None
        seconds = self.dice.uniform(0.5, 4)
        self.world.proxy.stall()
        self.stalled_until_s = time.monotonic() + seconds
        return f"for {seconds:.1f} s"

    def _restart_redis(self, *, kill: bool) -> str:
        away_s = self.dice.choice((0.0, self.dice.uniform(0, 3)))
        if kill:
            self.world.redis.kill()
        else:
            self.world.redis.stop()
        time.sleep(away_s)
        self.world.redis.start(timeout_s=60)
        return f"away for {away_s:.1f} s"

    def _stop_redis(self) -> str | None:
        process, seconds = self.world.redis.pid, self.dice.uniform(0.2, 2)
        if process is None:
            return None
        os.kill(process, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(process, signal.SIGCONT)
        return f"for {seconds:.1f} s"

    def _drop_sql(self) -> str:
        # The workers' connections only: whoever counts must not be disturbed.
        engine = make_engine(self.world.database)
        query = sa.text(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        with engine.connect() as connection:
            ended = connection.execute(query).scalar_one()
        engine.dispose()
        return f"{ended} connections"
