"""Celery's remote control over the pool's own Redis: what a worker takes jobs from, and what it has in hand."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hiredis import ReplyError

from workerpool_operator.core.observation import Cause, Unavailable
from workerpool_operator.queues.address import BrokerError, parse_address
from workerpool_operator.queues.celery.mailbox import REPLIES, answer_in, channel, command, queue_names
from workerpool_operator.queues.connection import Connection
from workerpool_operator.queues.replies import pack

ANSWER_S = 1.0
"""How long an answer is waited for. A worker that is not held up answers within a few hundredths of a second."""

_FIRST_LOOK_S = 0.01
_LONGEST_PAUSE_S = 0.1
_REPLIES_A_LOOK = 1024
_REPLIES_LIVE_S = 60
"""An answer that comes when nobody waits any more is gone after this time."""


class CeleryControl:
    """A :class:`~workerpool_operator.ports.WorkerControl` for Celery's workers, with a connection of its own.

    The connection is made when the first command is sent, and is never the one that reads queues: a reading must not
    wait for a worker.

    Args:
        url: The broker's URL; one that cannot be used makes every command ``NotConfigured``.
        ca_pem: Certificates to trust instead of the system's, for ``rediss://``.
        connect_timeout_s: Bound for connecting, and once more for the TLS handshake.
        read_timeout_s: Bound for one round trip.
        answer_s: How long answers of workers are waited for.
    """

    def __init__(
        self,
        url: str,
        *,
        ca_pem: str | None = None,
        connect_timeout_s: float = 1.0,
        read_timeout_s: float = 2.0,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._answer_s = answer_s
        self._lock = asyncio.Lock()
        self._unusable: Unavailable | None = None
        self._connection: Connection | None = None
        try:
            address = parse_address(url, ca_pem=ca_pem)
        except BrokerError as error:
            self._unusable = error.unavailable
            return
        self._connection = Connection(address, connect_timeout_s=connect_timeout_s, read_timeout_s=read_timeout_s)

    async def queues_of(
        self, workers: Collection[str], *, key_prefix: str
    ) -> Mapping[str, frozenset[str]] | Unavailable:
        """Ask what workers take jobs from; two that share a name are one, with the queues of both."""
        answers = await self._ask([("active_queues", {})], workers, key_prefix)
        if isinstance(answers, Unavailable):
            return answers
        said = {worker: queue_names(queues) for worker, queues in answers[0].items()}
        return {worker: names for worker, names in said.items() if names is not None}

    async def jobs_of(self, workers: Collection[str], *, key_prefix: str) -> Mapping[str, int] | Unavailable:
        """Ask how many jobs workers have in hand; of two that share a name the jobs are added up.

        A worker answers in the order in which it is asked. What it is about to begin comes first: the other way round,
        a job that begins between the two answers would be in neither. ``safe`` has Celery cut arguments short.
        """
        answers = await self._ask([("reserved", {}), ("active", {"safe": True})], workers, key_prefix)
        if isinstance(answers, Unavailable):
            return answers
        reserved, active = answers
        return {worker: len(reserved[worker]) + len(active[worker]) for worker in reserved.keys() & active.keys()}

    async def cancel(self, queues: Mapping[str, Collection[str]], *, key_prefix: str) -> Unavailable | None:
        """Have each worker take no more jobs from these queues."""
        return await self._tell("cancel_consumer", queues, key_prefix)

    async def add(self, queues: Mapping[str, Collection[str]], *, key_prefix: str) -> Unavailable | None:
        """Have each worker take jobs from these queues again."""
        return await self._tell("add_consumer", queues, key_prefix)

    async def close(self) -> None:
        """Close the connection, for good: a command under way makes no other."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _tell(self, method: str, queues: Mapping[str, Collection[str]], key_prefix: str) -> Unavailable | None:
        by_queue: dict[str, list[str]] = {}
        for worker, names in queues.items():
            for name in names:
                by_queue.setdefault(name, []).append(worker)
        if not by_queue:
            return None
        messages = [
            command(method, {"queue": queue}, workers, tag=str(uuid.uuid4())) for queue, workers in by_queue.items()
        ]
        try:
            await self._publish(messages, key_prefix)
        except BrokerError as error:
            return error.unavailable
        return None

    async def _publish(self, messages: list[bytes], key_prefix: str) -> list[Any]:
        database = self._connection.address.database if self._connection is not None else 0
        to = channel(key_prefix, database)
        return await self._execute([pack("PUBLISH", to, message) for message in messages], "PUBLISH", to)

    async def _ask(
        self, questions: Sequence[tuple[str, Mapping[str, Any]]], workers: Collection[str], key_prefix: str
    ) -> list[dict[str, list[Any]]] | Unavailable:
        """Ask workers all questions at once; for each question the answers, by worker."""
        found: dict[str, dict[str, list[Any]]] = {uuid.uuid4().hex: {} for _ in questions}
        if not workers:
            return list(found.values())
        asked = [
            command(method, arguments, workers, tag=str(uuid.uuid4()), ticket=ticket)
            for ticket, (method, arguments) in zip(found, questions, strict=True)
        ]
        try:
            if (await self._publish(asked, key_prefix))[-1]:  # else nobody listens
                await self._collect(frozenset(workers), found, key_prefix)
        except BrokerError as error:
            return error.unavailable
        return list(found.values())

    async def _collect(self, workers: frozenset[str], found: dict[str, dict[str, list[Any]]], key_prefix: str) -> None:
        """Gather answers by ticket until all workers have given all, or it has taken too long."""
        key, deadline_s = f"{key_prefix}{REPLIES}", time.monotonic() + self._answer_s
        own: set[bytes] = set()
        pause_s = _FIRST_LOOK_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            replies = (await self._execute([pack("LRANGE", key, 0, _REPLIES_A_LOOK - 1)], "LRANGE", key))[0]
            for raw in replies:
                answer = answer_in(raw, found) if raw not in own else None
                if answer is not None:
                    own.add(raw)
                    ticket, said = answer
                    for worker in said.keys() & workers:
                        found[ticket][worker] = found[ticket].get(worker, []) + said[worker]
            if all(one.keys() >= workers for one in found.values()) or time.monotonic() >= deadline_s:
                break
        # other operators may wait for theirs in the same list
        tidy = [*(pack("LREM", key, 1, raw) for raw in own), pack("EXPIRE", key, _REPLIES_LIVE_S)]
        await self._execute(tidy, "LREM", key)

    async def _execute(self, commands: list[bytes], name: str, key: str) -> list[Any]:
        """Run commands that may run twice.

        Raises:
            BrokerError: The broker is away, or refuses one of them.
        """
        async with self._lock:
            connection = self._connection
            if connection is None:
                why = self._unusable or Unavailable(cause=Cause.UNREACHABLE, message="the connection was closed")
                raise BrokerError(why.cause, why.message)
            replies = await connection.execute(b"".join(commands), len(commands))
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise connection.refused(reply, name, key)
        return replies
