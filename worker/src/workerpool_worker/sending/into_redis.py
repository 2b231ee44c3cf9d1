"""Jobs into Redis, from as many threads as like, also after a fork.

A connection serves one thread at a time: it is taken from the idle ones, or made, and given back after use. `deque`'s
`pop` and `append` are atomic, so there is no lock that a fork could copy while it is held, and a thread that waits for
a silent Redis keeps no other one waiting.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from celery import Celery
from kombu import Queue
from kombu.exceptions import BatchPublishError, OperationalError  # type: ignore[attr-defined]  # new in kombu 5.7
from redis.exceptions import RedisError

from workerpool_worker.broker.connect import connection_options
from workerpool_worker.broker.errors import reason
from workerpool_worker.messages.headers import CORRELATION_ID, ENQUEUED_AT
from workerpool_worker.sending.errors import BrokerUnreachableError
from workerpool_worker.sending.outgoing import Outgoing
from workerpool_worker.settings.broker import BrokerSettings

BATCH = 500
"""Jobs a round trip."""


@dataclass(frozen=True)
class _Line:
    """A connection and kombu's producer on it."""

    connection: Any
    producer: Any

    def release(self) -> None:
        # It is let go of because it is of no use any more, or not needed; how that ends is of no interest.
        with suppress(Exception):
            self.connection.release()


class IntoRedis:
    """Puts jobs into their queues.

    Args:
        settings: Where Redis is, and how it is spoken to.
        timeout_s: How long a connection attempt or a command may take.
    """

    def __init__(self, settings: BrokerSettings, *, timeout_s: float) -> None:
        self._broker = settings.broker
        self._app = Celery("workerpool-producer", set_as_current=False)
        connection = connection_options(
            settings, client_name="workerpool-producer", connect_s=timeout_s, answer_s=timeout_s
        )
        # kombu would go on trying to connect for many seconds; one more time is enough for a blip.
        connection["broker_transport_options"] |= {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.1}
        self._app.conf.update(
            connection,
            broker_connection_timeout=timeout_s,
            task_ignore_result=True,
            task_serializer="json",
            # The caller hears of a failure at once and decides itself; a hidden retry could also send twice.
            task_publish_retry=False,
        )
        self._idle: deque[_Line] = deque()
        self._pid = os.getpid()
        self._closed = False

    def send(self, out: Outgoing) -> None:
        """Send one job: one round trip.

        Raises:
            BrokerUnreachableError: Redis is away; the job was not sent, or its fate is unknown.
        """
        with self._line() as line:
            self._publish(line, out)

    def send_many(self, outs: Iterable[Outgoing]) -> None:
        """Send jobs in batches, each one round trip. After an error, which were sent is unknown.

        Raises:
            BrokerUnreachableError: Redis is away.
        """
        with self._line() as line, line.producer.batch(max_size=BATCH):
            for out in outs:
                self._publish(line, out)

    def ping(self) -> None:
        """See whether Redis answers.

        Raises:
            BrokerUnreachableError: it does not.
        """
        with self._line() as line:
            line.producer.channel.client.ping()

    def close(self) -> None:
        """Let the connections go; one that is in use goes when its thread is done with it."""
        self._closed = True
        while (line := self._pop()) is not None:
            line.release()
        self._app.close()

    @contextmanager
    def _line(self) -> Iterator[_Line]:
        line = None
        try:
            line = self._pop() or self._made()
            yield line
        except (OperationalError, BatchPublishError, RedisError, OSError) as error:
            raise BrokerUnreachableError(self._said(error)) from error
        else:
            if not self._closed:
                self._idle.append(line)
                line = None
        finally:
            # After an error the connection may be in the middle of an answer: nobody uses it again.
            if line is not None:
                line.release()

    def _pop(self) -> _Line | None:
        if self._pid != os.getpid():
            # What a fork copied: sockets are the parent's, locks may be held by a thread that is not here.
            self._idle, self._pid = deque(), os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _made(self) -> _Line:
        connection = self._app.connection_for_write()
        return _Line(connection, self._app.amqp.Producer(connection, auto_declare=False))

    def _publish(self, line: _Line, out: Outgoing) -> None:
        # What Celery's `send_task` does, less what ties a job to the Celery app and task of the program around it.
        amqp: Any = self._app.amqp
        message = amqp.as_task_v2(
            out.job_id,
            out.task,
            kwargs=out.kwargs,
            eta=None if out.due_at_s is None else datetime.fromtimestamp(out.due_at_s, UTC),
            ignore_result=True,
            # For people who look on; names and card tokens are not for them, and writing them twice takes time.
            argsrepr="",
            kwargsrepr="",
        )
        amqp.send_task_message(
            line.producer,
            out.task,
            message,
            queue=Queue(out.queue),
            # The default exchange needs no binding, so nothing is declared: one command a job.
            declare=(),
            # Here, and not by Celery's signal: in a program with Celery of its own, that one is for its tasks too.
            headers={ENQUEUED_AT: out.asked_at_s or time.time(), CORRELATION_ID: out.correlation_id},
            # Celery hands a job the property of this name and hides the header.
            correlation_id=out.correlation_id,
            **({} if out.priority is None else {"priority": out.priority}),
        )

    def _said(self, error: Exception) -> str:
        why = reason(error, self._broker)
        return f"cannot send to Redis at {self._broker}: {why}; WORKERPOOL_BROKER_URL says where it is"
