"""Celery's remote control over the pool's own Redis: which queues a worker takes jobs from, fewer, and more of them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Collection, Mapping
from typing import Any

from hiredis import ReplyError

from workerpool_operator.core.observation import Cause, Unavailable
from workerpool_operator.queues.address import BrokerError, parse_address
from workerpool_operator.queues.celery.mailbox import REPLIES, channel, command, queues_in
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
        if not workers:
            return {}
        ticket = uuid.uuid4().hex
        asked = command("active_queues", {}, workers, tag=str(uuid.uuid4()), ticket=ticket)
        try:
            heard_by = (await self._publish([asked], key_prefix))[0]
            return await self._collect(frozenset(workers), ticket, key_prefix) if heard_by else {}
        except BrokerError as error:
            return error.unavailable

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

    async def _collect(self, workers: frozenset[str], ticket: str, key_prefix: str) -> Mapping[str, frozenset[str]]:
        key, deadline_s = f"{key_prefix}{REPLIES}", time.monotonic() + self._answer_s
        found: dict[str, frozenset[str]] = {}
        own: set[bytes] = set()
        pause_s = _FIRST_LOOK_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            replies = (await self._execute([pack("LRANGE", key, 0, _REPLIES_A_LOOK - 1)], "LRANGE", key))[0]
            for raw in replies:
                said = queues_in(raw, ticket) if raw not in own else None
                if said is not None:
                    own.add(raw)
                    found |= {worker: found.get(worker, frozenset()) | queues for worker, queues in said.items()}
            if found.keys() >= workers or time.monotonic() >= deadline_s:
                break
        # other operators may wait for theirs in the same list
        tidy = [*(pack("LREM", key, 1, raw) for raw in own), pack("EXPIRE", key, _REPLIES_LIVE_S)]
        await self._execute(tidy, "LREM", key)
        return {worker: queues for worker, queues in found.items() if worker in workers}

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
