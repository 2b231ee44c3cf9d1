"""What was seen of one pool at one moment: its queues, its jobs in flight, its replicas.

Unknown is a type of its own (:class:`Unavailable`), never 0: code that wants a number has to say first what it does
without one.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Cause(enum.StrEnum):
    """Why something could not be read. The values are what ``workerpool_broker_errors_total{kind}`` counts."""

    UNREACHABLE = "Unreachable"
    """No connection: refused, no such host, cut off."""
    TIMEOUT = "Timeout"
    """It took the connection and did not answer in time."""
    TLS = "TLS"
    """The TLS handshake failed: certificate, name, or one side not speaking TLS."""
    AUTH = "Auth"
    """Wrong user or password, or none given where one is needed."""
    NO_PERMISSION = "NoPermission"
    """The ACL user may not run a command or see a key."""
    WRONG_TYPE = "WrongType"
    """A key exists but is not of the type the queue layout says."""
    LOADING = "Loading"
    """Redis is still loading its data set from disk."""
    BAD_REPLY = "BadReply"
    """Any other error reply, or bytes that are not Redis' protocol."""
    NOT_CONFIGURED = "NotConfigured"
    """The secret or its key that should hold the address is missing, or the address cannot be parsed."""
    NOT_YET_READ = "NotYetRead"
    """Nothing was read so far: the first reading is under way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unavailable:
    """A value that could not be read, and why.

    ``message`` is one line a person can act on; it never holds a password.
    """

    cause: Cause
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueDepth:
    """What waits in one queue.

    ``ready`` counts jobs that a free worker would start now, over all priority lists; jobs whose time has not come are
    not among them. ``oldest_job_s`` is the age in seconds of the job that waits longest, None when nothing waits or no
    age is known; where producers stamp no time it is a lower bound (how long that job was seen waiting).
    """

    ready: int
    oldest_job_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSeconds:
    """How long finished jobs ran, added up by the workers themselves: their number, seconds, and squared seconds.

    All three only grow while a reader watches; mean and spread follow from the differences of two readings.
    """

    jobs: int
    seconds: float
    squared: float


@dataclass(frozen=True, kw_only=True, slots=True)
class InFlight:
    """What the pool's workers hold.

    ``running`` jobs were fetched by live workers: being executed, or held to be executed next. ``running_on_leaving``
    of them are on replicas that are already going away (they finish there and need no replica). ``scheduled`` jobs wait
    for a time that has not come, ``due_in_s`` says in how many seconds the soonest of them come due (ascending, at most
    1,024 entries). ``stranded`` jobs were fetched by workers that no longer exist: only a new worker brings them back.
    ``started_total`` counts jobs started since the reader began to watch, None where that is not known; it never falls.
    ``finished`` is how long jobs ran since then, None where the workers do not tell (only the bundled one does).
    """

    running: int = 0
    running_on_leaving: int = 0
    scheduled: int = 0
    due_in_s: tuple[float, ...] = ()
    stranded: int = 0
    started_total: int | None = None
    finished: JobSeconds | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Replicas:
    """The pool's replicas as its world counts them.

    ``current`` is the size asked for last (a replica that is going away is no longer counted), ``ready`` how many of
    those take jobs, ``busy`` how many of those work on a job right now: None when nobody can tell. ``leaving`` replicas
    finish a job before they go. ``drains`` says that a replica which leaves takes nothing more and is waited for,
    however long its job runs, so that a busy one may be chosen as well.
    """

    current: int
    ready: int
    busy: int | None
    leaving: int = 0
    drains: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ActiveSchedule:
    """A schedule of the pool that is in force at the time of the observation."""

    name: str
    min_replicas: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Allotment:
    """What the budget that a pool shares with others leaves it at this moment.

    ``replicas`` is the most it may have now: its ``share``, or less while others still hold what is to become its own.
    ``used`` counts the replicas of all ``pools`` of the budget, those included that are leaving or are about to come;
    ``max_replicas`` is the limit in force. ``asks_others`` says that it has the rest of its share at its next look,
    unless others, who are looked at meanwhile, want it. ``disagreement`` says that the pools name different limits;
    empty when they agree.
    """

    budget: str
    replicas: int
    share: int
    used: int
    max_replicas: int
    pools: int
    asks_others: bool = False
    disagreement: str = ""

    def __str__(self) -> str:
        text = f"budget {self.budget} allows {self.replicas}: its share of {self.max_replicas} is {self.share}"
        if self.replicas < self.share:
            text += ", and other pools are asked first" if self.asks_others else f", and {self.used} are in use"
        return f"{text} ({self.disagreement})" if self.disagreement else text


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One pool at one moment.

    ``time_s`` is seconds since the Unix epoch. ``queues`` has an entry for each queue of the pool. ``allotment`` is
    what the pool's budget leaves it, None where it has no budget.
    """

    time_s: float
    replicas: Replicas
    queues: Mapping[str, QueueDepth | Unavailable]
    in_flight: InFlight | Unavailable
    schedules: tuple[ActiveSchedule, ...] = field(default=())
    allotment: Allotment | None = None

    @property
    def unavailable(self) -> tuple[Unavailable, ...]:
        """Everything that could not be read, in the order of the queues; empty when all is known."""
        found = [queue for queue in self.queues.values() if isinstance(queue, Unavailable)]
        if isinstance(self.in_flight, Unavailable):
            found.append(self.in_flight)
        return tuple(found)

    @property
    def ready(self) -> int:
        """Jobs waiting in the queues that could be read."""
        return sum([queue.ready for queue in self.queues.values() if isinstance(queue, QueueDepth)])

    @property
    def oldest_job_s(self) -> float | None:
        """Age in seconds of the oldest waiting job over the queues that could be read, None when none is known."""
        ages = [
            q.oldest_job_s for q in self.queues.values() if isinstance(q, QueueDepth) and q.oldest_job_s is not None
        ]
        return max(ages, default=None)
