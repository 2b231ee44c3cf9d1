"""Sending jobs: typed, checked, and quick enough for many thousands.

Imports Celery and the models, none of the code the jobs run.

    with Producer("redis://localhost:6379/0") as producer:
        lines = (OrderLine(sku="tea", quantity=2),)
        producer.order(Order(id="1001", customer="Ada", email="ada@example.org", lines=lines))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from workerpool_worker.messages import headers
from workerpool_worker.models import EmailJob, Job, Order, Payment, Refund, Verify
from workerpool_worker.settings import without_password

_BATCH = 500


class BrokerUnreachableError(ConnectionError):
    """Redis could not be reached; the text says where it was looked for."""


class Producer:
    """Sends jobs over one kept connection. Not for use by several threads at once.

    Args:
        broker_url: Where the jobs go, such as `redis://localhost:6379/0`.
        timeout_s: How long a connection attempt or a command may take.
    """

    def __init__(self, broker_url: str, *, timeout_s: float = 3.0) -> None:
        headers.install()
        self._app = Celery("workerpool-producer", broker=broker_url, set_as_current=False)
        self._app.conf.update(
            task_ignore_result=True,
            task_serializer="json",
            # The caller hears of a failure at once and decides itself; a hidden retry could also send twice.
            task_publish_retry=False,
            broker_connection_timeout=timeout_s,
            broker_transport_options={
                "socket_timeout": timeout_s,
                "socket_connect_timeout": timeout_s,
                "client_name": "workerpool-producer",
                # kombu would go on trying to connect for many seconds; one more time is enough for a blip.
                "max_retries": 1,
                "interval_start": 0.1,
                "interval_max": 0.1,
            },
        )
        self._place = without_password(broker_url)
        self._connection = self._app.connection_for_write()
        # celery-types does not know batches yet, which came with kombu 5.7.
        self._producer: Any = self._app.amqp.Producer(self._connection, auto_declare=False)

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

    def send(self, job: Job, *, job_id: str | None = None) -> str:
        """Send any job; its id, made of the business id unless given.

        Raises:
            BrokerUnreachableError: Redis is away; the job was not sent, or its fate is unknown.
        """
        with self._reachable():
            return self._publish(job, job_id)

    def send_many(self, jobs: Iterable[Job]) -> list[str]:
        """Send jobs in batches of 500, each one round trip; their ids. After an error, which were sent is unknown.

        Raises:
            BrokerUnreachableError: Redis is away.
        """
        with self._reachable(), self._producer.batch(max_size=_BATCH):
            return [self._publish(job, None) for job in jobs]

    def close(self) -> None:
        """Let the connection go."""
        self._connection.release()
        self._app.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _publish(self, job: Job, job_id: str | None) -> str:
        task_id = job_id or job.job_id
        self._app.send_task(
            job.task,
            kwargs=job.arguments(),
            task_id=task_id,
            producer=self._producer,
            queue=Queue(job.queue),  # type: ignore[arg-type]  # its stub knows names only
            # The default exchange needs no binding, so nothing is declared: one command a job.
            declare=(),
        )
        return task_id

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, OSError, RedisError) as error:
            raise BrokerUnreachableError(
                f"cannot reach Redis at {self._place}: {error}; start it there or set WORKERPOOL_BROKER_URL"
            ) from error
