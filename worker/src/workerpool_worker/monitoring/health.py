"""`/healthz`, `/readyz` and `/metrics`, from a small process beside the worker.

- `/readyz`: the worker has consumed, however long ago. A worker that never reached its broker is not ready, so a
  rollout with a wrong address stops. One that was ready stays so while it works, broker or no broker: a ReplicaSet
  removes pods that are not ready first, and must not be led to a busy one.
- `/healthz`: the event loop came round within the last minute. A start may take longer on a busy node, and a broker
  that is away is no reason to restart: the worker beats while it tries to connect.
- `/metrics`: the numbers that the worker published last (`metrics.py`).

A process of its own, because the event loop has better things to do, and a thread would be forked into every child. It
is forked before anything large is imported, and ends with the worker. Should it end alone, the worker starts another:
its jobs are none the worse for it, and must not be cut off by a probe that nobody answers. An HTTP probe costs the node
a hundredth of what starting a command in the container does.
"""

# ruff: noqa: PLC0415 - only the process that serves needs an HTTP server and the Prometheus library

from __future__ import annotations

import errno
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from workerpool_worker.monitoring.shared_page import SharedPage

STALE_S = 60.0
"""Age of the heartbeat at which the event loop is taken to hang. A Redis that takes connections and never answers, or a
slow name server, may hold it for some tens of seconds."""

STARTING_S = 300.0
"""What a start may take until the first beat."""

_CLIENT_TIMEOUT_S = 5.0
_AGAIN_S = 10.0
_TEXT = "text/plain; charset=utf-8"
# Ctrl-C, a terminal that closes and what Celery's main process listens to: all of them are the worker's.
_NOT_MINE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

_log = logging.getLogger("workerpool_worker.health")

Answer = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""


class PortError(Exception):
    """The port cannot be listened on; the text says why."""


class Beside:
    """The process that answers, and the means to start another one.

    Args:
        port: Where it listens.
        heartbeat: The file that the worker touches.
        page: What the worker publishes.
    """

    def __init__(self, port: int, heartbeat: Path, page: SharedPage) -> None:
        self._port, self._heartbeat, self._page = port, heartbeat, page
        self._worker_started_s = time.time()
        self._again_at_s = 0.0
        self.pid = 0

    def start(self) -> None:
        """Listen and fork.

        Raises:
            PortError: the port is taken, or may not be used.
        """
        try:
            listening = _listen(self._port)
        except OSError as error:
            raise PortError(f"WORKERPOOL_HEALTH_PORT: cannot listen on port {self._port}: {error.strerror}") from error
        worker = os.getpid()
        if pid := os.fork():
            # Closed here: children of the worker must not inherit it, one that outlives the worker would keep the port.
            listening.close()
            self.pid, self._again_at_s = pid, time.monotonic() + _AGAIN_S
            return
        try:
            _leave_the_worker(listening)
            _serve(listening, self._answers(worker), worker)
        finally:
            os._exit(1)

    def watch(self) -> None:
        """Start another one where it has ended, every ten seconds at most. Called by the worker now and then."""
        if time.monotonic() < self._again_at_s or not _has_ended(self.pid):
            return
        self._again_at_s = time.monotonic() + _AGAIN_S
        try:
            self.start()
        except PortError as error:
            _log.warning("probes are not answered: %s; trying again", error)
        else:
            _log.warning("the process that answers probes had ended; started another")

    def _answers(self, worker: int) -> dict[str, Callable[[], Answer]]:
        def healthz() -> Answer:
            return _text(*health(self._heartbeat, now_s=time.time(), started_s=self._worker_started_s))

        def metrics() -> Answer:
            from workerpool_worker.monitoring.exposition import CONTENT_TYPE, Exposition

            return HTTPStatus.OK, CONTENT_TYPE, Exposition(worker, self._heartbeat).render(self._page.read())

        return {"/healthz": healthz, "/readyz": lambda: _text(*readiness(self._heartbeat)), "/metrics": metrics}


def serve_beside(port: int, heartbeat: Path, page: SharedPage) -> Beside:
    """Start the process that answers.

    Raises:
        PortError: the port is taken, or may not be used.
    """
    beside = Beside(port, heartbeat, page)
    with suppress(OSError):
        heartbeat.write_bytes(b"")  # what a process before this one left is void
    beside.start()
    return beside


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


def _listen(port: int) -> socket.socket:
    """On every address of the machine, of both families where there are two: the kubelet asks at the pod's own."""
    if socket.has_dualstack_ipv6():
        try:
            return _bound(socket.AF_INET6, port)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:  # known to the kernel, and switched off
                raise
    return _bound(socket.AF_INET, port)


def _bound(family: socket.AddressFamily, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("", port))
        made.listen(16)
    except OSError:
        made.close()
        raise
    return made


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _leave_the_worker(listening: socket.socket) -> None:
    """Keep nothing of a worker that may have run for days: its signals, connections and objects are its own."""
    for number in _NOT_MINE:
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()  # what the worker leaves as garbage would close descriptors that are somebody else's here
    mine = {0, 1, 2, listening.fileno()}
    for descriptor in {int(entry.name) for entry in Path("/dev/fd").iterdir()} - mine:
        with suppress(OSError):  # the one that listed them is closed already
            os.close(descriptor)


def _text(status: HTTPStatus, text: str) -> Answer:
    return status, _TEXT, text.encode()


def _serve(listening: socket.socket, answers: dict[str, Callable[[], Answer]], worker: int) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    nothing = HTTPStatus.NOT_FOUND, f"{', '.join(answers)} are all there is\n"

    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_TIMEOUT_S
        wbufsize = -1  # head and body in one go

        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0], lambda: _text(*nothing))
            try:
                status, kind, body = answer()
            except Exception as error:  # noqa: BLE001 - whoever asks is told, and asks again
                status, kind, body = _text(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}\n")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the standard library's name

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
