"""The seams of the loop: what a world must provide (read, scale) and what may listen (report).

Kubernetes, local mode and the simulator each implement :class:`Scaler`; every queue layout implements
:class:`QueueReader`; metrics, status, logs and views implement :class:`Sink`. The loop knows nothing else of them.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from workerpool_operator.core.decision import Decision
from workerpool_operator.core.observation import JobSeconds, Observation, QueueDepth, Unavailable
from workerpool_operator.core.spec import PoolSpec


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class PoolKey:
    """The identity of a pool: namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueSource:
    """What a reader must know of one pool: its queues, and where its layout keeps them."""

    key: PoolKey
    queues: tuple[str, ...]
    key_prefix: str = ""
    priorities: tuple[int, ...] = (0, 3, 6, 9)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerBeat:
    """The last sign of life of one worker process.

    ``hostname`` is Celery's node name (``celery@pod-name``), ``pid`` the process that sent it, ``active`` how many jobs
    it executes, ``processed`` how many it has started since its start, ``age_s`` how long ago it was received.
    ``finished`` is how long its jobs ran since its start, None where it does not say (only the bundled worker does).
    """

    hostname: str
    pid: int
    active: int
    processed: int
    age_s: float
    finished: JobSeconds | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolReading:
    """What a broker says about one pool in one round trip.

    ``held`` counts jobs that were fetched and not yet acknowledged and whose time has come: a late-acknowledging worker
    runs them or is about to, or nobody holds them any more. ``scheduled`` counts jobs whose time has not come, wherever
    they lie; ``due_in_s`` is as in :class:`~workerpool_operator.core.observation.InFlight`. ``vanished`` counts held
    jobs of the last reading that are gone in this one (acknowledged or given back).
    """

    queues: Mapping[str, QueueDepth | Unavailable]
    held: int | Unavailable
    scheduled: int = 0
    due_in_s: tuple[float, ...] = ()
    vanished: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokerReading:
    """One round trip to one broker: each pool's reading, or why there is none.

    ``beats`` are the workers of this broker heard of lately, of whatever pool: the world knows which replica each is.
    ``duration_s`` is the round trip, ``commands`` how many commands it took.
    """

    time_s: float
    pools: Mapping[PoolKey, PoolReading | Unavailable]
    beats: Sequence[WorkerBeat]
    duration_s: float
    commands: int


class QueueReader(Protocol):
    """Reads all pools of one broker in one round trip. One instance a broker; never raises for what a broker does."""

    async def read(self, sources: Sequence[QueueSource]) -> BrokerReading:
        """Read every source. A broker that is away or answers nonsense gives ``Unavailable``, within the time limit."""
        ...

    async def close(self) -> None:
        """Give back connections and tasks."""
        ...


class WorkerControl(Protocol):
    """Tells workers of one broker what to take jobs from. Workers go by the host name of their heartbeats.

    Never raises for what a broker does. A worker obeys in the order in which it is told, and may do so late: one that
    cannot listen while it runs a job does when the job is over.
    """

    async def queues_of(
        self, workers: Collection[str], *, key_prefix: str
    ) -> Mapping[str, frozenset[str]] | Unavailable:
        """Ask what workers take jobs from at this moment; those that do not answer soon are left out."""
        ...

    async def jobs_of(self, workers: Collection[str], *, key_prefix: str) -> Mapping[str, int] | Unavailable:
        """Ask how many jobs workers have in hand, begun or about to begin; those that do not answer soon are left out.

        0 says that a worker had none at one moment after it was asked. Jobs that it keeps until their time has come,
        or until a rate limit lets them, are not counted.
        """
        ...

    async def cancel(self, queues: Mapping[str, Collection[str]], *, key_prefix: str) -> Unavailable | None:
        """Have each worker take no more jobs from these queues. Returns what went wrong; None says that it was sent."""
        ...

    async def add(self, queues: Mapping[str, Collection[str]], *, key_prefix: str) -> Unavailable | None:
        """Have each worker take jobs from these queues again. Returns what went wrong; None says that it was sent."""
        ...

    async def close(self) -> None:
        """Give back the connection."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaState:
    """What a world knows of one pool's replicas, with the heartbeats already matched to them.

    ``beats`` are those of the replicas that stay, ``leaving_beats`` of those that finish a job before they go.
    ``silent`` counts ready replicas of which no fresh heartbeat is known: whether they are busy is unknown.
    ``drains`` is as in :class:`~workerpool_operator.core.observation.Replicas`; it says what would be done, not what
    is: two states that differ in it alone are equal.
    """

    current: int
    ready: int
    leaving: int
    silent: int
    beats: tuple[WorkerBeat, ...] = ()
    leaving_beats: tuple[WorkerBeat, ...] = ()
    drains: bool = field(default=False, compare=False)


class OutcomeKind(enum.StrEnum):
    """What came of acting on a decision."""

    APPLIED = "Applied"
    UNCHANGED = "Unchanged"
    CONFLICT = "Conflict"
    FAILED = "Failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of acting on a decision, with a message that a person can act on when it is not plain success.

    A success with a message is one that takes its time.
    """

    kind: OutcomeKind
    message: str = ""


class Scaler(Protocol):
    """The replicas of a world: Deployments, processes, or numbers in a simulation."""

    async def replicas(self, key: PoolKey, beats: Sequence[WorkerBeat]) -> ReplicaState:
        """Count the pool's replicas and match the heartbeats to them."""
        ...

    async def scale(self, key: PoolKey, decision: Decision) -> Outcome:
        """Move the pool to ``decision.target``; idle replicas go first. Never raises: failure is an outcome."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleRecord:
    """One pool's cycle, whole: what was seen, what was decided, what came of it. Every sink reads this one record.

    ``generation`` is the version of the pool for which it was decided, as its :class:`~workerpool_operator.loop.Pool`
    has it. ``lag_s`` is how much later than due the cycle began, ``act_duration_s`` the time from the observation until
    the outcome was known.
    """

    key: PoolKey
    spec: PoolSpec
    observation: Observation
    decision: Decision
    outcome: Outcome
    poll_duration_s: float = 0.0
    lag_s: float = 0.0
    act_duration_s: float = 0.0
    generation: int = 0


class NoticeKind(enum.StrEnum):
    """Things that happen to a pool outside its cycle."""

    REPLICA_STARTED = "ReplicaStarted"
    REPLICA_CORDONED = "ReplicaCordoned"
    """It takes no more jobs, finishes those it has, and goes."""
    REPLICA_GIVEN_BACK = "ReplicaGivenBack"
    """It was cordoned, and takes jobs again."""
    REPLICA_STOPPED = "ReplicaStopped"
    REPLICA_CRASHED = "ReplicaCrashed"
    REPLICA_KILLED = "ReplicaKilled"
    """It did not stop within its grace period and was killed: work may have been cut off."""
    START_FAILED = "StartFailed"
    """Its command could not be started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """One such thing. ``busy`` says whether the replica held a job when it was killed, None when unknown."""

    time_s: float
    key: PoolKey
    kind: NoticeKind
    message: str
    busy: bool | None = None


class Sink(Protocol):
    """Something that reports: metrics, a log, a view, a status. It must not raise and must not block the loop."""

    def record(self, record: CycleRecord) -> None:
        """Take note of one cycle of one pool."""
        ...

    def notice(self, notice: Notice) -> None:
        """Take note of something that happened outside a cycle."""
        ...
