"""An HTTP server that stands for a provider: it keeps what it was asked, and can fail in the ways networks do."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request. `fields` are those of a form, of JSON, or of the query."""

    method: str
    path: str
    headers: Mapping[str, str]
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to the next request of a method and path.

    instead: `reply` is sent and nothing done. lost: it is done, and the connection breaks. held: it is done, and the
    answer waits until `release`. broken: it is done as far as the books go, and `reply` is sent.
    """

    kind: Literal["instead", "lost", "held", "broken"]
    method: str
    path: str
    reply: Reply = field(default_factory=Reply)


class FakeWeb:
    """Give it a function from request to reply; `faults` are used up one a matching request."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self.connections = 0
        self.holding = threading.Event()
        self.released = threading.Event()
        self._answer = answer
        self._scheme = "http"
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Serve HTTPS; call it before the server is entered."""
        self._scheme = "https"
        # The handshake is the handler's: one that fails there must not end the server.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail_next(
        self,
        kind: Literal["instead", "lost", "held", "broken"],
        method: str,
        path: str,
        status: int = 200,
        body: Any = None,
        **headers: str,
    ) -> None:
        reply = Reply(status=status, body=body, headers={name.replace("_", "-"): it for name, it in headers.items()})
        self.faults.append(Fault(kind=kind, method=method, path=path, reply=reply))

    def reply_to(self, asked: Asked) -> Reply | None:
        """None: say nothing and hang up."""
        with self._lock:
            self.asked.append(asked)
            fault = next((it for it in self.faults if (it.method, it.path) == (asked.method, asked.path)), None)
            if fault is not None:
                self.faults.remove(fault)
                if fault.kind == "instead":
                    return fault.reply
            reply = self._answer(asked)
        if fault is None:
            return reply
        if fault.kind == "held":
            self.holding.set()
            self.released.wait(60)
        return {"lost": None, "held": reply, "broken": fault.reply}[fault.kind]


def _handler(web: FakeWeb) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            # A client that does not trust us, or that was killed, is no fault of ours.
            with contextlib.suppress(OSError):
                super().handle()

        def setup(self) -> None:
            super().setup()
            web.connections += 1

        def do_GET(self) -> None:
            self._serve({})

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            form = self.headers.get("Content-Type", "") == "application/x-www-form-urlencoded"
            self._serve(dict(parse_qsl(content.decode())) if form else json.loads(content or b"{}"))

        def _serve(self, fields: Mapping[str, Any]) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            asked = Asked(
                method=self.command, path=unquote(parts.path), headers=dict(self.headers), fields=query | dict(fields)
            )
            reply = web.reply_to(asked)
            if reply is None:
                self.close_connection = True
                return
            content = b"" if reply.body is None else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                # The one who asked is gone: killed, or out of patience.
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
