"""An HTTP server that answers as a provider's documentation says it does, and remembers what it was asked."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from workerpool_worker.runtime import http


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request, with its header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What to answer: after a while, or (`drop`) by hanging up without a word."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drop: bool = False


@dataclass
class ScriptedServer:
    """`script` holds the next answers, in order; when it is empty, `usual` answers. Rejected requests are seen too."""

    usual: Callable[[Seen], Reply]
    script: deque[Reply] = field(default_factory=deque)
    seen: list[Seen] = field(default_factory=list)
    dropped: list[Seen] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    def answer(self, request: Seen) -> Reply:
        self.seen.append(request)
        reply = self.script.popleft() if self.script else self.usual(request)
        if reply.drop:
            self.dropped.append(request)
        return reply


@contextmanager
def serving(server: ScriptedServer) -> Iterator[ScriptedServer]:
    """Serve on a free loopback port; at the end the client's kept connections are closed too."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = server.answer(Seen(path=self.path, headers=headers, body=body))
            time.sleep(reply.delay_s)
            if reply.drop:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that did not wait for its answer: that is what is tested."""

    httpd = Quiet(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        forget_connections()
        httpd.shutdown()
        httpd.server_close()
        thread.join(5)


def forget_connections() -> None:
    """Close what the client keeps open in this process."""
    for pool in http._pools.values():
        pool.clear()
    http._pools.clear()
