"""A thin Redis connection for one purpose: send one prepacked buffer of commands, take in as many replies.

redis-py's objects, not Redis, are what reading many pools costs (35 ms against 2.4 ms for 1,000 pools), so this speaks
RESP2 itself with hiredis' parser. There is no pool, no retry policy, no decoding.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import Any

import hiredis

from workerpool_operator.core.observation import Cause
from workerpool_operator.queues.address import Address, BrokerError
from workerpool_operator.queues.replies import concerns_all, explain, one_line, pack
from workerpool_operator.queues.sentinel import Discovery

_CHUNK_BYTES = 1 << 18
_TLS_ALERT = b"\x15\x03"
_ASK_AGAIN_S = 5.0
"""A primary that was cut off from its Sentinels still answers: only they know that it is none any more."""


class Connection:
    """A connection to one broker, made when first needed and again after it broke.

    With Sentinels it is made to the primary they name, and made anew when they name another one.

    Not safe for concurrent use. Every failure is a :class:`BrokerError` whose message names the server and never holds
    the password, within ``connect_timeout_s`` and ``read_timeout_s`` (each bounds the whole of its step).
    """

    def __init__(self, address: Address, *, connect_timeout_s: float = 1.0, read_timeout_s: float = 2.0) -> None:
        self.address = address
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._parser = hiredis.Reader()
        self._answered = False
        self._asked_s = 0.0
        self._discovery: Discovery | None = None
        if address.sentinels is not None:
            self._discovery = Discovery(
                address,
                address.sentinels,
                lambda one: Connection(one, connect_timeout_s=connect_timeout_s, read_timeout_s=read_timeout_s),
            )

    async def execute(self, commands: bytes, count: int) -> list[Any]:
        """Send a buffer of ``count`` commands and return their replies; error replies are in the list, not raised.

        A connection that was idle may have been cut since (the server restarted): then it is made anew, once, so that
        the first reading after a restart succeeds. The commands must therefore be ones that may run twice.

        Raises:
            BrokerError: The broker is away, silent, refuses the login, or does not speak Redis' protocol.
        """
        if self._parser.has_data():
            # More was answered than was asked: what comes next would be taken for the reply to something else.
            self.drop()
        if await self._moved():
            self.drop()
        reused = self._streams is not None
        try:
            return await self._attempt(commands, count)
        except BrokerError as error:
            if not reused or error.unavailable.cause is not Cause.UNREACHABLE:
                raise
        return await self._attempt(commands, count)

    async def next_reply(self, timeout_s: float) -> Any:
        """Wait for one more reply than was asked for: a published message.

        Raises:
            TimeoutError: None came in time; the connection stays as it is.
            BrokerError: The connection broke, or another server is the primary now.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return (await self._receive(1))[0]
        except (OSError, hiredis.HiredisError) as error:
            if isinstance(error, TimeoutError):
                if await self._moved():
                    raise BrokerError(Cause.UNREACHABLE, f"{self.address} is not the primary any more") from error
                raise
            raise self._broken(error) from error

    def send(self, commands: bytes) -> None:
        """Send commands without waiting.

        Not drained: the transport goes on sending what did not fit while replies are read, so that neither side waits
        for the other however large the buffer is.
        """
        if self._streams is not None:
            self._streams[1].write(commands)

    def drop(self) -> None:
        """Forget the connection without waiting for anything."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def close(self) -> None:
        """Close the connection."""
        streams = self._streams
        self.drop()
        if self._discovery is not None:
            await self._discovery.close()
        if streams is not None:
            # The transport reports its end in a later turn of the event loop; a loop closed before that complains.
            await asyncio.gather(streams[1].wait_closed(), return_exceptions=True)

    async def _moved(self) -> bool:
        """Whether the Sentinels name another primary than the one connected to; asked every few seconds."""
        discovery = self._discovery
        if discovery is None or self._streams is None or time.monotonic() - self._asked_s < _ASK_AGAIN_S:
            return False
        self._asked_s = time.monotonic()
        try:
            found = await discovery.primary()
        except BrokerError:
            return False  # what is connected goes on without them
        return (found.host, found.port) != (self.address.host, self.address.port)

    async def _attempt(self, commands: bytes, count: int) -> list[Any]:
        try:
            if self._streams is None:
                await self._connect()
            return await self._exchange(commands, count)
        except BaseException:
            # After a failure or a cancellation replies may still be on their way: this connection is of no more use.
            self.drop()
            raise

    async def _exchange(self, commands: bytes, count: int) -> list[Any]:
        try:
            async with asyncio.timeout(self._read_timeout_s):
                self.send(commands)
                return await self._receive(count)
        except TimeoutError as error:
            raise BrokerError(
                Cause.TIMEOUT, f"{self.address} took the connection and did not answer in {self._read_timeout_s:g} s"
            ) from error
        except (OSError, hiredis.HiredisError) as error:
            raise self._broken(error) from error

    async def _receive(self, count: int) -> list[Any]:
        if self._streams is None:
            raise BrokerError(Cause.UNREACHABLE, f"{self.address}: not connected")
        stream, parser = self._streams[0], self._parser
        replies: list[Any] = []
        while True:
            while len(replies) < count and (reply := parser.gets()) is not False:
                replies.append(reply)
            if len(replies) == count:
                return replies
            data = await stream.read(_CHUNK_BYTES)
            if not data:
                raise await self._closed()
            if data.startswith(_TLS_ALERT) and self.address.tls is None:
                raise BrokerError(Cause.TLS, f"{self.address} speaks TLS: use rediss:// in the broker URL")
            self._answered = True
            parser.feed(data)

    async def _closed(self) -> BrokerError:
        # A TLS server hangs up on plain text without a word, like many a broken one: only trying tells which.
        if not self._answered and self.address.tls is None and await self._speaks_tls():
            return BrokerError(Cause.TLS, f"{self.address} speaks TLS: use rediss:// in the broker URL")
        return BrokerError(Cause.UNREACHABLE, f"{self.address} closed the connection")

    async def _speaks_tls(self) -> bool:
        if self.address.path is not None:
            return False
        anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, writer = await asyncio.open_connection(self.address.host, self.address.port, ssl=anyone)
        except OSError:
            return False
        writer.transport.abort()
        return True

    def _broken(self, error: Exception) -> BrokerError:
        if isinstance(error, hiredis.HiredisError):
            return BrokerError(Cause.BAD_REPLY, f"{self.address} does not speak Redis' protocol: {one_line(error)}")
        if isinstance(error, ssl.SSLError):
            return BrokerError(Cause.TLS, f"{self.address}: TLS failed: {one_line(error.reason or error)}")
        reason = getattr(error, "strerror", None) or one_line(error)
        return BrokerError(Cause.UNREACHABLE, f"{self.address} cut the connection: {reason}")

    async def _connect(self) -> None:
        self._parser, self._answered = hiredis.Reader(), False
        if self._discovery is not None:
            self.address, self._asked_s = await self._discovery.primary(), time.monotonic()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._open()
        except TimeoutError as error:
            raise BrokerError(
                Cause.TIMEOUT, f"{self.address} did not take the connection in {self._connect_timeout_s:g} s"
            ) from error
        except socket.gaierror as error:
            raise BrokerError(Cause.UNREACHABLE, f"the host name {self.address.host} is not known") from error
        except ConnectionRefusedError as error:
            raise BrokerError(Cause.UNREACHABLE, f"{self.address} refused the connection") from error
        except OSError as error:
            raise BrokerError(
                Cause.UNREACHABLE, f"cannot connect to {self.address}: {error.strerror or one_line(error)}"
            ) from error
        if self.address.tls is not None:
            await self._secure(self.address.tls)
        await self._log_in()

    async def _open(self) -> None:
        if self.address.path is not None:
            self._streams = await asyncio.open_unix_connection(self.address.path, limit=_CHUNK_BYTES)
            return
        self._streams = await asyncio.open_connection(self.address.host, self.address.port, limit=_CHUNK_BYTES)

    async def _secure(self, context: ssl.SSLContext) -> None:
        if self._streams is None:
            return
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._streams[1].start_tls(context, server_hostname=self.address.host)
        except ssl.SSLCertVerificationError as error:
            raise BrokerError(
                Cause.TLS, f"{self.address}: its certificate is not trusted: {error.verify_message}"
            ) from error
        except ssl.SSLError as error:
            raise BrokerError(
                Cause.TLS, f"{self.address}: no TLS handshake ({error.reason}): does this port speak TLS?"
            ) from error
        except OSError as error:
            # A plain Redis waits for the end of what it takes for a command, or hangs up.
            raise BrokerError(
                Cause.TLS, f"{self.address} answers no TLS handshake: does this port speak TLS?"
            ) from error

    async def _log_in(self) -> None:
        login: list[tuple[str, bytes]] = []
        if self.address.password is not None:
            user = (self.address.user,) if self.address.user else ()
            login.append(("AUTH", pack("AUTH", *user, self.address.password)))
        if self.address.database:
            login.append(("SELECT", pack("SELECT", self.address.database)))
        if not login:
            return
        replies = await self._exchange(b"".join(command for _, command in login), len(login))
        for (name, _), reply in zip(login, replies, strict=True):
            if isinstance(reply, hiredis.ReplyError):
                raise self.refused(reply, name)

    def refused(self, reply: hiredis.ReplyError, command: str, key: str = "") -> BrokerError:
        """An error reply as the failure of the whole reading."""
        why = explain(reply, where=str(self.address), user=self.address.user, command=command, key=key)
        return BrokerError(why.cause, why.message)

    def check(self, replies: list[Any]) -> None:
        """Raise when the replies say that the server or the login is at fault, not a single command.

        Raises:
            BrokerError: They do.
        """
        first = next((reply for reply in (replies[0], replies[-1]) if isinstance(reply, hiredis.ReplyError)), None)
        if first is not None and concerns_all(first):
            if self._discovery is not None:
                self.drop()  # a primary of yesterday, perhaps: the Sentinels are asked before the next reading
            raise self.refused(first, "")
