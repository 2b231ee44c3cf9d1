"""A TLS front for a plain server: the packaged Redis is built without TLS."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import trustme

_DAY = dt.timedelta(days=1)


class TlsProxy:
    """Terminates TLS on a loopback port and hands the bytes on.

    Args:
        port: The plain server's port.
        authority: Who signs the certificate; None for one of its own.
        names: What the certificate is for.
        expired: Whether its time is over.
        asks_client: Whether a client needs a certificate of the same authority.
        rewritten: What is put in place of what in the server's answers, of equal length: a Sentinel names plain ports.

    ``ca_pem`` is what a client must trust.
    """

    def __init__(
        self,
        port: int,
        *,
        authority: trustme.CA | None = None,
        names: tuple[str, ...] = ("localhost",),
        expired: bool = False,
        asks_client: bool = False,
        rewritten: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self._target = port
        self._rewritten = dict(rewritten or {})
        self.authority = authority or trustme.CA()
        self.ca_pem = self.authority.cert_pem.bytes().decode()
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        now = dt.datetime.now(dt.UTC)
        ends = now - _DAY if expired else None
        certificate = self.authority.issue_cert(*names, not_before=now - 2 * _DAY, not_after=ends)
        certificate.configure_cert(self._context)
        if asks_client:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self.authority.configure_trust(self._context)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def rewrite(self, plain_port: int, port: int) -> None:
        """From now on name this port where the server names that one."""
        self._rewritten[_bulk(plain_port)] = _bulk(port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            self._open.discard(task)
            writer.transport.abort()
            return
        try:
            with suppress(OSError, asyncio.CancelledError):
                await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer, self._rewritten))
        finally:
            self._open.discard(task)
            for end in (writer, there_writer):
                end.transport.abort()


class TlsFront:
    """A :class:`TlsProxy` in a thread of its own, for tests that have no event loop."""

    def __init__(self, proxy: TlsProxy) -> None:
        self.proxy = proxy
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def port(self) -> int:
        """The port TLS is spoken at."""
        return self.proxy.port

    def ca_file(self, folder: Path) -> Path:
        """What a client must trust, as a file."""
        path = folder / f"ca-{self.port}.pem"
        path.write_text(self.proxy.ca_pem)
        return path

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.proxy.__aenter__(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.proxy.__aexit__(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def _bulk(port: int) -> bytes:
    return b"$%d\r\n%d\r\n" % (len(str(port)), port)


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rewritten: Mapping[bytes, bytes] | None = None
) -> None:
    while data := await reader.read(1 << 16):
        for plain, other in (rewritten or {}).items():
            data = data.replace(plain, other)
        writer.write(data)
        await writer.drain()
    writer.close()
