"""The page: what the board holds, in a browser, pushed as it changes.

For one's own eyes on one's own machine: loopback by default, no CORS, and only hosts that are known by name are
answered, so that no foreign web page can read it through a name that it points here (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import hashlib
import ipaddress
import json
import re
import socket
from collections.abc import Sequence
from importlib import resources

from aiohttp import web
from aiohttp.typedefs import Handler

from workerpool_operator.report import prometheus
from workerpool_operator.report.board import Board
from workerpool_operator.report.errors import ReportError
from workerpool_operator.report.last import PATH, ExplainPages
from workerpool_operator.report.state import Json, marks, state

MAX_CLIENTS = 64
"""Event streams at a time; each costs a connection and at most a buffer."""
PUSH_GAP_S = 0.25
"""A client is sent at most one event in this time, with all that changed."""
PUSH_EVERY_S = 1.0
"""A client is sent an event at least this often, so that it notices when nobody is there any more."""
SLOW_CLIENT_S = 10.0
"""A client that takes nothing for so long is dropped; its browser connects again by itself."""
_SHUTDOWN_S = 1.0

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"^(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/@\s]+))(?::\d{1,5})?$")


class WebPage:
    """Serves the page, its state as JSON and as events, metrics and a health check.

    ``/`` the page; ``/api/state`` everything as JSON; ``/api/events`` the same as server-sent events, the first whole
    and the later ones with only the new points of each history; ``/metrics`` Prometheus text; ``/healthz``;
    ``/explain/<namespace>/<name>`` the last decision about a pool, where ``explain`` is given.
    """

    def __init__(
        self,
        board: Board,
        port: int,
        host: str = "127.0.0.1",
        *,
        allowed_hosts: Sequence[str] = (),
        explain: ExplainPages | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            board: What to show.
            port: Where to listen; 0 lets the system choose, see :attr:`url` once started.
            host: The address to listen on.
            allowed_hosts: Further names under which browsers may reach the page, such as that of a proxy.
            explain: What tells of decisions.
        """
        self._board, self._explain = board, explain
        self.host = host
        self.port = port
        self._policy = HostPolicy(host, allowed_hosts)
        self._page = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
        self._headers = security_headers(self._page)
        self._clients: set[asyncio.Event] = set()
        self._closing = False
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where the page is."""
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{shown}]:{self.port}/" if ":" in shown else f"http://{shown}:{self.port}/"

    async def start(self) -> None:
        """Open the port.

        Raises:
            ReportError: It cannot be opened; the text names it and says what to do.
        """
        runner = web.AppRunner(self._app(), handle_signals=False, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self.host or None, self.port)
            await site.start()
        except (OSError, OverflowError) as error:
            await runner.cleanup()
            raise ReportError(_cannot_listen(self.host, self.port, error)) from error
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def close(self) -> None:
        """End the event streams and close the port."""
        self._closing = True
        for changed in self._clients:
            changed.set()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(self._add_headers)
        app.router.add_get("/", self._serve_page)
        app.router.add_get("/api/state", self._serve_state)
        app.router.add_get("/api/events", self._serve_events, allow_head=False)
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/healthz", self._serve_health)
        if self._explain is not None:
            self._explain.add_to(app)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not self._policy.allows(hosts[0]):
            return web.Response(status=403, text=f"this page is only served as {self.url}\n")
        # no other site's page has business here, not even to keep connections busy; following a link to "/" is fine
        if request.path.startswith(("/api/", PATH)) and request.headers.get("Sec-Fetch-Site") == "cross-site":
            return web.Response(status=403, text="not for other sites\n")
        return await handler(request)

    async def _add_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self._headers)

    async def _serve_page(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._page, content_type="text/html")

    async def _serve_state(self, _request: web.Request) -> web.Response:
        return web.json_response(state(self._board))

    async def _serve_metrics(self, _request: web.Request) -> web.Response:
        text = prometheus.render(self._board)
        return web.Response(body=text.encode(), headers={"Content-Type": prometheus.CONTENT_TYPE})

    async def _serve_health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _serve_events(self, request: web.Request) -> web.StreamResponse:
        if self._closing or len(self._clients) >= MAX_CLIENTS:
            return web.Response(status=503, text="too many clients\n", headers={"Retry-After": "5"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        changed = asyncio.Event()
        self._clients.add(changed)
        stop_listening = self._board.listen(changed.set)
        try:
            await response.prepare(request)
            await self._push(response, changed)
        except TimeoutError:
            if request.transport:
                request.transport.abort()
        except ConnectionError:
            pass  # the client is gone: nothing to tell, and nobody to tell it to
        finally:
            stop_listening()
            self._clients.discard(changed)
        return response

    async def _push(self, response: web.StreamResponse, changed: asyncio.Event) -> None:
        """Send what changed until the end. What a client was too slow for is merged: it never queues up."""
        since: dict[str, int] = {}
        partial = False
        while not self._closing:
            changed.clear()
            body: Json = {"partial": partial, **state(self._board, since=since)}
            since, partial = marks(self._board), True
            async with asyncio.timeout(SLOW_CLIENT_S):
                await response.write(f"event: state\ndata: {json.dumps(body)}\n\n".encode())
            await asyncio.sleep(PUSH_GAP_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PUSH_EVERY_S - PUSH_GAP_S):
                    await changed.wait()


class HostPolicy:
    """Which Host headers are answered: loopback names, the host listened on, and those that were allowed.

    Where all addresses are listened on, any literal address is answered too: names can be pointed here by strangers,
    addresses cannot.
    """

    def __init__(self, host: str, allowed: Sequence[str] = ()) -> None:
        self._names = _LOOPBACK_NAMES | {name.lower().strip("[]") for name in (host, *allowed) if name}
        self._any_address = host in ("", "0.0.0.0", "::")  # noqa: S104 - recognised, not listened on

    def allows(self, header: str) -> bool:
        """Whether a request with this Host header is answered."""
        match = _HOST.match(header)
        if not match:
            return False
        name = (match["v6"] or match["name"]).lower()
        return name in self._names or (self._any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def security_headers(page: str) -> dict[str, str]:
    """Headers under which a browser runs the page's own script and style, by their hashes, and nothing else."""
    scripts = " ".join(_hashes(page, "script"))
    styles = " ".join(_hashes(page, "style"))
    return {
        "Content-Security-Policy": f"default-src 'none'; script-src {scripts}; style-src {styles}; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Server": "workerpool",
    }


def _hashes(page: str, tag: str) -> list[str]:
    texts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    return [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts]


def _cannot_listen(host: str, port: int, error: OSError | OverflowError) -> str:
    what = f"cannot serve the page on {host or 'all addresses'} port {port}: "
    if isinstance(error, OverflowError):
        return what + "ports go from 0 to 65535"
    if isinstance(error, socket.gaierror):
        return what + "no such host; name an address of this machine"
    if error.errno == errno.EADDRINUSE:
        return what + "the port is in use; choose another port, or 0 for any that is free"
    if error.errno == errno.EACCES:
        return what + "permission denied; choose a port above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return what + "this machine has no such address"
    return what + (error.strerror or str(error))
