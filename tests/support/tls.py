"""A TLS front for a plain server: the packaged Redis is built without TLS."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Self

import trustme


class TlsProxy:
    """Terminates TLS on a loopback port with a certificate for ``localhost`` and hands the bytes on.

    ``ca_pem`` is what a client must trust.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        authority = trustme.CA()
        self.ca_pem = authority.cert_pem.bytes().decode()
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(self._context)
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))
        finally:
            self._open.discard(task)
            for end in (writer, there_writer):
                end.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
