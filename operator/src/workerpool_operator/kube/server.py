"""What is asked of the operator: ``/healthz``, ``/readyz``, ``/metrics``, and ``/explain`` by people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from workerpool_operator.report.last import ExplainPages
from workerpool_operator.report.prometheus import CONTENT_TYPE, Metrics, render_snapshot

LoopAges = Callable[[], Iterable[tuple[float, float]]]
"""For each polling loop: seconds since its last cycle ended, and the longest poll interval of its pools in seconds."""

_SHUTDOWN_S = 1.0


class ServerError(Exception):
    """The port cannot be opened. The text is one line that says what to do."""


def allowed_age_s(interval_s: float) -> float:
    """How long ago a loop's last cycle may have ended before the process counts as stuck.

    A cycle waits for a broker that does not answer and for an API server that asks for patience, each for a limited
    time: those are not reasons to be restarted. What is left is a loop that died or hangs.
    """
    return 60.0 + 3.0 * interval_s


class _Writes(Collector):
    """Requests that may have changed something in the cluster, so that a loop of writes shows."""

    def __init__(self, writes: Mapping[tuple[str, str], int]) -> None:
        self._writes = writes

    def collect(self) -> Iterable[CounterMetricFamily]:
        text = "Requests to the API server that write, by RBAC's names of verb and resource."
        family = CounterMetricFamily("workerpool_api_writes", text, labels=("verb", "resource"))
        for (verb, resource), number in sorted(self._writes.items()):
            family.add_metric((verb, resource), number)
        yield family


class Server:
    """The operator's port. Everything it says is made when it is asked."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        loop_ages: LoopAges,
        synced: Callable[[], bool],
        leads: Callable[[], bool],
        writes: Mapping[tuple[str, str], int] | None = None,
        explain: ExplainPages | None = None,
        host: str = "0.0.0.0",  # noqa: S104 - the kubelet and Prometheus ask from outside the pod
        port: int = 8080,
    ) -> None:
        """Nothing is opened yet.

        Args:
            metrics: What ``/metrics`` shows, beside the process's own CPU and memory.
            loop_ages: Age and interval of every polling loop; a standby has none and is healthy.
            synced: Whether the caches hold the whole cluster.
            leads: Whether this process leads.
            writes: Writes sent to the API server so far, by verb and resource.
            explain: What tells of the last decisions.
            host: The address to listen on.
            port: Where; 0 lets the system choose, see :attr:`port` once started.
        """
        self._metrics, self._loop_ages, self._synced, self._leads = metrics, loop_ages, synced, leads
        self._explain, self._host, self.port = explain, host, port
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        self._process.register(_Writes(writes if writes is not None else {}))
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Open the port.

        Raises:
            ServerError: It cannot be opened.
        """
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._serve_metrics)
        if self._explain is not None:
            self._explain.add_to(app)
        runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self.port).start()
        except (OSError, OverflowError) as error:
            await runner.cleanup()
            message = f"cannot serve probes and metrics on {self._host} port {self.port}: {error}; choose another port"
            raise ServerError(message) from error
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def close(self) -> None:
        """Close the port."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        late = [(age_s, limit_s) for age_s, limit_s in self._ages_and_limits() if age_s > limit_s]
        if late:
            age_s, limit_s = max(late)
            text = f"stuck polling loops: {len(late)}; no cycle for {age_s:.0f} s, allowed are {limit_s:.0f} s\n"
            return _answer(text, status=503)
        return _answer("ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        if not self._synced():
            return _answer("not ready: the cluster has not been listed yet\n", status=503)
        return _answer("leader\n" if self._leads() else "standby\n")

    async def _serve_metrics(self, _request: web.Request) -> web.Response:
        # a thousand pools take some 80 ms to write down, so that is done beside the loops, from a copy
        snapshot = self._metrics.snapshot()
        text = await asyncio.to_thread(render_snapshot, snapshot)
        body = text.encode() + generate_latest(self._process)
        response = web.Response(body=body, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})
        response.enable_compression()
        return response

    def _ages_and_limits(self) -> Iterable[tuple[float, float]]:
        return ((age_s, allowed_age_s(interval_s)) for age_s, interval_s in self._loop_ages())


def _answer(text: str, *, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, headers={"Cache-Control": "no-store"})
