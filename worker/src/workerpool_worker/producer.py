"""Sending jobs: typed, checked, and quick enough for many thousands.

Imports Celery and the models, none of the code the jobs run (`inline` does, at its first job).

    with Producer("redis://localhost:6379/0") as producer:
        lines = (OrderLine(sku="tea", quantity=2),)
        producer.order(Order(id="1001", customer="Ada", email="ada@example.org", lines=lines))
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from types import TracebackType
from typing import Protocol, Self

from workerpool_worker.models import EmailJob, Job, Order, Payment, Refund, Verify
from workerpool_worker.sending.dropped import Dropped
from workerpool_worker.sending.errors import BrokerUnreachableError
from workerpool_worker.sending.inline import Inline
from workerpool_worker.sending.into_redis import BATCH, IntoRedis
from workerpool_worker.sending.outgoing import Outgoing, outgoing
from workerpool_worker.settings import Settings, load_settings
from workerpool_worker.settings.load import load_part
from workerpool_worker.settings.producing import JobsMode, ProducingSettings

__all__ = ["BrokerUnreachableError", "Producer"]

_TIMEOUT_S = 3.0


class Sink(Protocol):
    """Where jobs go."""

    def send(self, out: Outgoing) -> None:
        """Take one job."""

    def send_many(self, outs: Iterable[Outgoing]) -> None:
        """Take several."""

    def ping(self) -> None:
        """Say whether it would take one."""

    def close(self) -> None:
        """Take no more."""


class Producer:
    """Sends jobs. One for a whole program: any number of threads may use it, and so may processes forked later.

    Args:
        broker_url: Where the jobs go, such as `redis://localhost:6379/0`; None: as the environment says.
        mode: What becomes of them: "queue" puts them into Redis, "inline" runs each at once in this process, "off"
            drops them with a log line each; None: as JOBS_MODE says.
        timeout_s: How long a connection attempt or a command may take.

    Raises:
        SettingsError: the environment has a setting that cannot be used; the text is one line that names it.
    """

    def __init__(
        self, broker_url: str | None = None, *, mode: JobsMode | None = None, timeout_s: float = _TIMEOUT_S
    ) -> None:
        settings = load_part(ProducingSettings, broker_url=broker_url, jobs_mode=mode)
        if settings.jobs_mode == "inline":
            settings = load_settings(broker_url=broker_url, jobs_mode="inline")
        self._open(settings, timeout_s)

    @classmethod
    def from_settings(cls, settings: Settings, *, timeout_s: float = _TIMEOUT_S) -> Self:
        """A producer for these settings, whatever the environment says."""
        made = cls.__new__(cls)
        made._open(settings, timeout_s)  # noqa: SLF001 - our own
        return made

    def _open(self, settings: ProducingSettings, timeout_s: float) -> None:
        self.mode: JobsMode = settings.jobs_mode
        self._sink = _sink(settings, timeout_s)

    def order(self, order: Order, *, job_id: str | None = None) -> str:
        """Send an order to be processed; the job's id."""
        return self.send(order, job_id=job_id)

    def email(self, email: EmailJob, *, job_id: str | None = None) -> str:
        """Send a mail of any kind; the job's id."""
        return self.send(email, job_id=job_id)

    def payment(self, payment: Payment, *, job_id: str | None = None) -> str:
        """Ask for a charge; the job's id."""
        return self.send(payment, job_id=job_id)

    def refund(self, refund: Refund, *, job_id: str | None = None) -> str:
        """Ask for money to be given back; the job's id."""
        return self.send(refund, job_id=job_id)

    def verify(self, verify: Verify, *, job_id: str | None = None) -> str:
        """Ask for a payment to be compared with the provider's books; the job's id."""
        return self.send(verify, job_id=job_id)

    def send(
        self,
        job: Job,
        *,
        job_id: str | None = None,
        due_at: datetime | None = None,
        delay_s: float | None = None,
        priority: int | None = None,
        correlation_id: str | None = None,
    ) -> str:
        """Send any job; its id.

        Args:
            job: The job.
            job_id: Its id; None: made of the business id.
            due_at: When it may run at the earliest, with a time zone. A time that is past is now.
            delay_s: The same as seconds from now; name one of both or none.
            priority: 0 (first, the default) to 9 (last) among the jobs of its queue. Four steps are told apart:
                0 to 2, 3 to 5, 6 to 8, and 9. What must not wait gets a queue of its own first.
            correlation_id: What the job belongs to, such as a request; its follow-up jobs inherit it. None: its id.

        Raises:
            BrokerUnreachableError: Redis is away; the job was not sent, or its fate is unknown.
            ValueError: a time or priority that cannot be.
            JobError: in the mode "inline", what went wrong in the job.
        """
        out = outgoing(
            job,
            job_id=job_id,
            due_at=due_at,
            delay_s=delay_s,
            priority=priority,
            correlation_id=correlation_id,
        )
        self._sink.send(out)
        return out.job_id

    def send_many(
        self,
        jobs: Iterable[Job],
        *,
        due_at: datetime | None = None,
        delay_s: float | None = None,
        priority: int | None = None,
        correlation_id: str | None = None,
    ) -> list[str]:
        """Send jobs in batches of 500, each one round trip; their ids. After an error, which were sent is unknown.

        Raises:
            BrokerUnreachableError: Redis is away.
            ValueError: as for `send`.
            JobError: as for `send`; the jobs after the one it is about were not run.
        """
        rest = iter(jobs)
        ids: list[str] = []
        while part := list(islice(rest, BATCH)):
            outs = [
                outgoing(job, due_at=due_at, delay_s=delay_s, priority=priority, correlation_id=correlation_id)
                for job in part
            ]
            self._sink.send_many(outs)
            ids += [out.job_id for out in outs]
        return ids

    def hand_over(self, outs: Iterable[Outgoing]) -> None:
        """Send jobs that are messages already, such as those of the outbox, in one round trip for each 500.

        Raises:
            BrokerUnreachableError: Redis is away.
        """
        self._sink.send_many(outs)

    def ping(self) -> None:
        """See whether a job could be sent now.

        Raises:
            BrokerUnreachableError: Redis is away.
        """
        self._sink.ping()

    def close(self) -> None:
        """Let the connections go."""
        self._sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _sink(settings: ProducingSettings, timeout_s: float) -> Sink:
    if isinstance(settings, Settings) and settings.jobs_mode == "inline":
        return Inline(settings)
    if settings.jobs_mode == "off":
        return Dropped()
    return IntoRedis(settings, timeout_s=timeout_s)
