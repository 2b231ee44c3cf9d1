"""Where the primary is that Sentinels watch over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from hiredis import ReplyError

from workerpool_operator.core.observation import Cause
from workerpool_operator.queues.address import Address, BrokerError, Sentinels
from workerpool_operator.queues.replies import one_line, pack

if TYPE_CHECKING:
    from workerpool_operator.queues.connection import Connection


class Discovery:
    """Asks the Sentinels of an address for the primary, over connections that are kept.

    The Sentinel that answered last is asked first. Not safe for concurrent use.
    """

    def __init__(self, address: Address, sentinels: Sentinels, connection_to: Callable[[Address], Connection]) -> None:
        self._address = address
        self._service = sentinels.service
        self._asked = [
            connection_to(
                Address(host=host, port=port, user=sentinels.user, password=sentinels.password, tls=address.tls)
            )
            for host, port in sentinels.places
        ]

    async def primary(self) -> Address:
        """The address with host and port of the primary.

        Raises:
            BrokerError: No Sentinel answers, or none knows the service; the message says what became of each.
        """
        problems: list[BrokerError] = []
        question = pack("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        for connection in tuple(self._asked):
            try:
                (reply,) = await connection.execute(question, 1)
                host, port = _named(connection, reply, self._service)
            except BrokerError as error:
                problems.append(error)
                continue
            self._asked.remove(connection)
            self._asked.insert(0, connection)
            return replace(self._address, host=host, port=port)
        told = "; ".join(one_line(problem) for problem in problems)
        cause = problems[0].unavailable.cause
        raise BrokerError(cause, f"no Sentinel names a primary of {self._service}: {told}")

    def drop(self) -> None:
        """Forget the connections without waiting for anything."""
        for connection in self._asked:
            connection.drop()

    async def close(self) -> None:
        """Close the connections."""
        for connection in self._asked:
            await connection.close()


def _named(connection: Connection, reply: object, service: str) -> tuple[str, int]:
    if isinstance(reply, ReplyError):
        if "unknown command" in str(reply).lower():
            raise BrokerError(Cause.BAD_REPLY, f"{connection.address} is no Sentinel: name Redis itself by redis://")
        raise connection.refused(reply, "SENTINEL GET-MASTER-ADDR-BY-NAME")
    if reply is None:
        raise BrokerError(Cause.NOT_CONFIGURED, f"{connection.address} knows no service {service}")
    if not (isinstance(reply, list) and len(reply) == 2 and all(isinstance(part, bytes) for part in reply)):  # noqa: PLR2004
        raise BrokerError(Cause.BAD_REPLY, f"{connection.address} does not answer as a Sentinel")
    host, port = reply
    return host.decode(), int(port)
