"""`/healthz` and `/readyz` for probes, from a small process beside the worker that looks at the heartbeat file.

- `/readyz`: the worker has consumed, however long ago. A worker that never reached its broker is not ready, so a
  rollout with a wrong address stops. One that was ready stays so while it works, broker or no broker: a ReplicaSet
  removes pods that are not ready first, and must not be led to a busy one.
- `/healthz`: the event loop came round within the last minute. A start may take longer on a busy node, and a broker
  that is away is no reason to restart: the worker beats while it tries to connect.

A process of its own, because the event loop has better things to do, and a thread would be forked into every child. It
is forked before anything large is imported, and ends with the worker. An HTTP probe costs the node a hundredth of what
starting a command in the container does.
"""

# ruff: noqa: PLC0415 - only the process that serves needs an HTTP server

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

STALE_S = 60.0
"""Age of the heartbeat at which the event loop is taken to hang. A Redis that takes connections and never answers, or a
slow name server, may hold it for some tens of seconds."""

STARTING_S = 300.0
"""What a start may take until the first beat."""

_CLIENT_TIMEOUT_S = 5.0


class PortError(Exception):
    """The port cannot be listened on; the text says why."""


def serve_beside(port: int, heartbeat: Path) -> int:
    """Start the process that answers; its pid.

    Raises:
        PortError: the port is taken, or may not be used.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("", port))
    except OSError as error:
        listening.close()
        raise PortError(f"WORKERPOOL_HEALTH_PORT: cannot listen on port {port}: {error.strerror}") from error
    listening.listen(16)
    with suppress(OSError):
        heartbeat.write_bytes(b"")  # what a process before this one left is void
    worker = os.getpid()
    if pid := os.fork():
        listening.close()
        return pid
    try:
        # What the whole group gets, Ctrl-C say, is the worker's: it drains, and is asked about its health meanwhile.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _serve(listening, heartbeat, worker)
    finally:
        os._exit(1)


def health(heartbeat: Path, *, now_s: float, started_s: float) -> tuple[HTTPStatus, str]:
    """The answer to `/healthz`; times in Unix seconds."""
    try:
        found = heartbeat.stat()
    except OSError as error:
        return HTTPStatus.SERVICE_UNAVAILABLE, f"no heartbeat: {error.strerror}\n"
    age_s = now_s - found.st_mtime
    starting = found.st_size == 0 and now_s - started_s < STARTING_S
    if age_s <= STALE_S or starting:
        return HTTPStatus.OK, "alive\n"
    return HTTPStatus.SERVICE_UNAVAILABLE, f"the event loop last came round {age_s:.0f} s ago\n"


def readiness(heartbeat: Path) -> tuple[HTTPStatus, str]:
    """The answer to `/readyz`."""
    try:
        size = heartbeat.stat().st_size
    except OSError as error:
        return HTTPStatus.SERVICE_UNAVAILABLE, f"no heartbeat: {error.strerror}\n"
    return (HTTPStatus.OK, "ready\n") if size else (HTTPStatus.SERVICE_UNAVAILABLE, "has not consumed yet\n")


def _serve(listening: socket.socket, heartbeat: Path, worker: int) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    started_s = time.time()

    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_TIMEOUT_S

        def do_GET(self) -> None:
            if self.path == "/healthz":
                status, text = health(heartbeat, now_s=time.time(), started_s=started_s)
            elif self.path == "/readyz":
                status, text = readiness(heartbeat)
            else:
                status, text = HTTPStatus.NOT_FOUND, "/healthz and /readyz are all there is\n"
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Say nothing: probes come every few seconds."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def service_actions(self) -> None:
            if os.getppid() != worker:
                os._exit(0)

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that went away in the middle is nobody's concern."""

    server = Server(("", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.serve_forever()
