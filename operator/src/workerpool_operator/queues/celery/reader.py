"""Reads all pools of one Celery broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from hiredis import ReplyError

from workerpool_operator.core.observation import Cause, Unavailable
from workerpool_operator.ports import BrokerReading, PoolKey, PoolReading, QueueSource
from workerpool_operator.queues.address import BrokerError, parse_address
from workerpool_operator.queues.celery.heartbeats import Heartbeats
from workerpool_operator.queues.celery.plan import Parts, Plan
from workerpool_operator.queues.connection import Connection
from workerpool_operator.queues.replies import explain

_QUESTIONS_A_ROUND = 256
_MORE_ROUNDS = 2
"""The second is for the bindings of an exchange first met in the messages that the first brought, and for a count of
delayed jobs that the first found to be more than it could bring."""


class CeleryReader:
    """A :class:`~workerpool_operator.ports.QueueReader` for Celery's layout (see this package).

    A reading is one round trip. When it finds something new that its replies do not explain (a tag never seen, jobs at
    the tail of a list that are not due, other delayed jobs than before), a second one of bounded size follows in the
    same reading; an idle or unchanged broker causes none, delayed jobs one every ten seconds. (A third follows once for
    each exchange other than the default one, and while more delayed jobs are past due than are known one by one.) There
    is no Lua, and nothing that walks the key space.

    Args:
        url: The broker's URL; one that cannot be used makes every reading ``NotConfigured``.
        ca_pem: Certificates to trust instead of the system's, for ``rediss://``.
        connect_timeout_s: Bound for connecting, and once more for the TLS handshake.
        read_timeout_s: Bound for one round trip.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        url: str,
        *,
        ca_pem: str | None = None,
        connect_timeout_s: float = 1.0,
        read_timeout_s: float = 2.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._parts = Parts()
        self._plan = Plan((), self._parts)
        self._unusable: Unavailable | None = None
        self._connection: Connection | None = None
        self._heartbeats: Heartbeats | None = None
        try:
            address = parse_address(url, ca_pem=ca_pem)
        except BrokerError as error:
            self._unusable = error.unavailable
            return
        self._connection = Connection(address, connect_timeout_s=connect_timeout_s, read_timeout_s=read_timeout_s)
        self._heartbeats = Heartbeats(
            Connection(address, connect_timeout_s=connect_timeout_s, read_timeout_s=read_timeout_s)
        )

    async def read(self, sources: Sequence[QueueSource]) -> BrokerReading:
        """Read every source; never raises for what a broker does."""
        async with self._lock:
            return await self._read(tuple(sources))

    async def close(self) -> None:
        """Close both connections and end the listening task."""
        if self._heartbeats is not None:
            await self._heartbeats.close()
        if self._connection is not None:
            await self._connection.close()

    async def _read(self, sources: tuple[QueueSource, ...]) -> BrokerReading:
        if sources != self._plan.sources:
            self._parts.used((*self._plan.sources, *sources), time.monotonic())
            self._plan = Plan(sources, self._parts)
        if self._heartbeats is not None:
            self._heartbeats.listen(self._parts.prefixes)
        begin_s = time.perf_counter()
        commands = 0
        pools: dict[PoolKey, PoolReading | Unavailable]
        try:
            commands = await self._ask()
            now_s = self._clock()
            pools = self._plan.readings(now_s)
        except BrokerError as error:
            now_s = self._clock()
            pools = dict.fromkeys((source.key for source in sources), error.unavailable)
        return BrokerReading(
            time_s=now_s,
            pools=pools,
            beats=self._heartbeats.beats() if self._heartbeats is not None else (),
            duration_s=time.perf_counter() - begin_s,
            commands=commands,
        )

    async def _ask(self) -> int:
        connection, plan = self._connection, self._plan
        if connection is None:
            why = self._unusable or Unavailable(cause=Cause.NOT_CONFIGURED, message="there is no broker URL")
            raise BrokerError(why.cause, why.message)
        if not plan.count:
            return 0
        replies = await connection.execute(plan.commands, plan.count)
        connection.check(replies)
        plan.see(replies, self._clock(), self._explain)
        return plan.count + await self._ask_more(connection)

    async def _ask_more(self, connection: Connection) -> int:
        asked = 0
        for _ in range(_MORE_ROUNDS):
            questions = self._plan.questions(self._clock(), self._explain)[:_QUESTIONS_A_ROUND]
            if not questions:
                break
            replies = await connection.execute(b"".join(command for command, _ in questions), len(questions))
            for (_, answer), reply in zip(questions, replies, strict=True):
                answer(reply)
            asked += len(questions)
        return asked

    def _explain(self, reply: ReplyError, command: str, key: str, type_: str) -> Unavailable:
        address = self._connection.address if self._connection else ""
        user = self._connection.address.user if self._connection else None
        return explain(reply, where=str(address), user=user, command=command, key=key, type_=type_)
