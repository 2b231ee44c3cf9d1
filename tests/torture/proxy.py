"""A TCP proxy that cuts connections and lets them stall: the network between some of the workers and Redis."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator

_CHUNK = 65_536


class Proxy:
    """Forwards a loopback port; its event loop is a thread's own."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._links: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self.port = 0

    def cut(self, dice: random.Random, share: float) -> int:
        """Cut this share of the connections; how many. What was under way in them is gone."""
        return asyncio.run_coroutine_threadsafe(self._cut(dice, share), self._loop).result(5)

    def stall(self) -> None:
        """Let nothing through, without a word to anybody."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def flow(self) -> None:
        """Let everything through again, also what was held."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    async def _cut(self, dice: random.Random, share: float) -> int:
        chosen = [link for link in self._links if dice.random() < share]
        for link in chosen:
            link.cancel()
        return len(chosen)

    async def _serve(self) -> asyncio.Server:
        self._flowing.set()
        server = await asyncio.start_server(self._link, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._links.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
            try:
                pumps = [asyncio.ensure_future(self._pump(*pair)) for pair in ((reader, back), (there, writer))]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
            finally:
                back.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            if task is not None:
                self._links.discard(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                await self._flowing.wait()
                sink.write(data)
                await sink.drain()

    def run(self, started: threading.Event) -> None:
        """The thread's work."""
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self._serve())
        started.set()
        self._loop.run_forever()
        server.close()
        for link in tuple(self._links):
            link.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._links, return_exceptions=True))
        self._loop.close()

    def end(self) -> None:
        """Have the thread end."""
        self._loop.call_soon_threadsafe(self._loop.stop)


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """Serve as long as the context lasts."""
    proxy, started = Proxy(port), threading.Event()
    thread = threading.Thread(target=proxy.run, args=(started,), name="proxy", daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield proxy
    finally:
        proxy.end()
        thread.join(10)
