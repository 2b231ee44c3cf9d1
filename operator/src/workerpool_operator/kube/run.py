"""``workerpool operator``: the pieces put together, started in order, and stopped in order.

A process that does not lead keeps its registry up to date and writes nothing: when it comes to lead, it only has to
look at every pool once. It stops leading before it stops anything else, so that a standby takes over at once.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import kopf

from workerpool_operator.core.observation import Cause
from workerpool_operator.kube.api import ApiError, KubeApi, NotFound
from workerpool_operator.kube.brokers import Brokers
from workerpool_operator.kube.controller import Controller
from workerpool_operator.kube.handlers import kopf_settings, wire
from workerpool_operator.kube.lease import Leadership, new_identity
from workerpool_operator.kube.logs import DecisionLines, configure
from workerpool_operator.kube.loops import REST_S, Loops
from workerpool_operator.kube.owned import Owned
from workerpool_operator.kube.problems import Problem
from workerpool_operator.kube.registry import Registry
from workerpool_operator.kube.reporter import Reporter
from workerpool_operator.kube.resync import Resync
from workerpool_operator.kube.scaler import KubeScaler
from workerpool_operator.kube.server import Server, ServerError
from workerpool_operator.kube.settings import LogFormat, OperatorSettings
from workerpool_operator.kube.signals import listening, take_back, unless_asked
from workerpool_operator.loop import relax_collector
from workerpool_operator.ports import CycleRecord, Notice, PoolKey
from workerpool_operator.report.fanout import Sinks
from workerpool_operator.report.last import ExplainPages, LastDecisions
from workerpool_operator.report.prometheus import Metrics

log = logging.getLogger(__name__)

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
WAIT_FOR_CRD_S = 5.0
OK, FAILED, BAD_INPUT = 0, 1, 2


def own_namespace(default: str = "default") -> str:
    """The namespace this process runs in, as a pod; the default elsewhere."""
    try:
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip() or default
    except OSError:
        return default


def run_operator(settings: OperatorSettings) -> int:
    """Run until stopped; returns the exit status: 0 stopped in order, 1 a part failed, 2 it could not start."""
    # Kopf says of every event that its handler succeeded
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    configure(json_lines=settings.log_format is LogFormat.JSON, level=settings.log_level)
    relax_collector()
    try:
        return asyncio.run(Operator(settings).run())
    except (ApiError, ServerError) as error:
        sys.stderr.write(f"workerpool operator: {error}\n")
        return BAD_INPUT
    except KeyboardInterrupt:
        return OK


class Operator:
    """One operator process."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._settings = settings
        self._registry = Registry()
        self._api = KubeApi(kubeconfig=settings.kubeconfig, context=settings.context)
        self._identity = settings.identity or new_identity()
        self.leadership = Leadership(
            self._api, namespace=settings.lease_namespace, name=settings.lease_name, identity=self._identity
        )
        self._api.may_write = self.leadership.is_leader
        self.metrics = Metrics()
        self._brokers = Brokers(self._api, allowed_hosts=settings.allowed_broker_hosts)
        self._resync = Resync(self._api, self._registry, settings.namespaces)
        self._scaler = KubeScaler(
            api=self._api, registry=self._registry, may_write=self.leadership.is_leader, blocked=self._blocked
        )
        self._reporter = Reporter(
            api=self._api,
            registry=self._registry,
            leads=self.leadership.is_leader,
            generation=self._generation,
            instance=self._identity,
        )
        self._lines, self._decisions = DecisionLines(), LastDecisions()
        sinks = Sinks(
            [self.metrics, self._reporter, self._lines, self._decisions, _Distrust(self._distrust)],
            on_trouble=log.error,
        )
        self.loops = Loops(scaler=self._scaler, sink=sinks)
        self._scaler.control, self._scaler.on_notice = self.loops.control_of, sinks.notice
        self._controller = Controller(
            registry=self._registry,
            brokers=self._brokers,
            owned=Owned(self._api, self._registry, worker_image=settings.worker_image),
            loops=self.loops,
            leads=self.leadership.is_leader,
            on_problems=self._problems,
            list_pods=self._resync.pods_of,
        )
        self._registry.on_change = self._controller.mark
        self._registry.on_status = self._reporter.touch
        self._server = Server(
            metrics=self.metrics,
            loop_ages=self.loops.ages_s,
            synced=lambda: self.synced,
            leads=self.leadership.is_leader,
            writes=self._api.writes_total,
            explain=ExplainPages(
                self._decisions,
                decided_by=self._identity,
                rest_s=REST_S,
                leads=self.leadership.is_leader,
                leader=lambda: self.leadership.holder,
            ),
            host=settings.host,
            port=settings.port,
        )
        self._takeover: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        """Whether it was asked to stop."""
        self.synced = False
        """Whether everything in the cluster was listed once."""

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT.

        Raises:
            ApiError: The API server cannot be reached at the start, or a right is missing.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(listening(self._asked))
            if not await unless_asked(self._asked, self._start(stack)):
                return OK
            stop, ready = asyncio.Event(), asyncio.Event()
            parts = [
                asyncio.create_task(self._watch(stop, ready), name="watches"),
                asyncio.create_task(self.leadership.run(), name="leadership"),
                asyncio.create_task(self._resync.run(), name="listings"),
                asyncio.create_task(self._controller.run(), name="controller"),
                asyncio.create_task(self._reporter.run(), name="reporter"),
            ]
            asked = asyncio.create_task(self._until_asked(ready), name="signals")
            done, _ = await asyncio.wait([*parts, asked], return_when=asyncio.FIRST_COMPLETED)
            status = _status_of(done - {asked})
            await self._stop(stop, [*parts, asked])
            return status

    # -- starting and stopping

    async def _start(self, stack: AsyncExitStack) -> None:
        """Everything that comes before the parts that go on for ever."""
        await self._server.start()
        stack.push_async_callback(self._server.close)
        await stack.enter_async_context(self._api)
        await self._wait_for_kind()
        await self._resync.whole()
        self.synced = True
        self.leadership.listen(self._on_leading)

    async def _wait_for_kind(self) -> None:
        """Wait until the API server knows WorkerPools: Kopf would never notice a kind that comes later."""
        told = False
        while True:
            try:
                await self._resync.probe()
            except NotFound:
                if not told:
                    log.warning(
                        "the API server knows no WorkerPools yet: install the CRD (workerpool crd | kubectl apply -f -)"
                    )
                told = True
                await asyncio.sleep(WAIT_FOR_CRD_S)
            else:
                return

    async def _watch(self, stop: asyncio.Event, ready: asyncio.Event) -> None:
        await kopf.operator(
            registry=wire(self._registry, self._api.configuration),
            settings=kopf_settings(),
            # Of its own accord it would look up the user's name, which a container's number has none of.
            identity=self._identity,  # type: ignore[arg-type] # a NewType of str that Kopf keeps to itself
            standalone=True,
            clusterwide=not self._settings.namespaces,
            namespaces=self._settings.namespaces,
            stop_flag=stop,
            ready_flag=ready,
        )
        # without an error it ends only when it is stopped: by us, or by a signal while the signals were its own
        self._asked.set()
        await stop.wait()

    async def _until_asked(self, ready: asyncio.Event) -> None:
        """Wait for SIGTERM or SIGINT. Kopf takes the signals at its start; they are taken back once it is up."""
        taking_back = asyncio.create_task(take_back(self._asked, ready))
        await self._asked.wait()
        taking_back.cancel()
        log.info("stopping")

    async def _stop(self, stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
        """End what writes, give the Lease back when nothing is under way any more, end the watches last."""
        writers = [task for task in tasks if task.get_name() not in ("watches", "leadership")]
        for task in writers:
            task.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        self._scaler.stand_by()
        await self.loops.stop()
        await self.leadership.release()
        stop.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- leading

    def _on_leading(self, leads: bool) -> None:
        if self._takeover is not None:
            self._takeover.cancel()
        self._takeover = asyncio.create_task(self._take_over() if leads else self._stand_by())

    async def _take_over(self) -> None:
        log.info("leading as %s", self._identity)
        self.metrics.leader = True
        self._reporter.start_anew()
        while True:
            try:
                await self._resync.whole()
            except ApiError as error:
                log.warning("cannot list what is in the cluster: %s", error)
                await asyncio.sleep(1.0)
            else:
                break
        self._controller.mark_all()

    async def _stand_by(self) -> None:
        holder = self.leadership.holder
        log.info("standing by; %s leads", holder if holder not in ("", self._identity) else "nobody")
        self.metrics.leader = False
        self._scaler.stand_by()
        await self.loops.stop()
        self.metrics.forget_all()
        self._decisions.forget_all()
        self._controller.stand_by()

    # -- what the parts ask of each other

    def _blocked(self, key: PoolKey) -> str | None:
        return self._controller.blocked(key)

    def _generation(self, key: PoolKey) -> int | None:
        return self._controller.generation(key)

    def _problems(self, key: PoolKey, problems: tuple[Problem, ...] | None) -> None:
        self._reporter.problems(key, problems)
        if problems is None:
            self._scaler.forget(key)
            self.metrics.forget(key)
            self._lines.forget(key)
            self._decisions.forget(key)
        else:
            polled = self._controller.generation(key) is not None
            self.metrics.problems(key, (problem.kind.value for problem in problems), polled=polled)

    def _distrust(self, key: PoolKey) -> None:
        known = self._registry.pools.get(key)
        if known is not None and known.pool is not None:
            self._brokers.distrust(known.pool)
            self._controller.soon(key)


class _Distrust:
    """A sink that has a pool's Secrets read again when its broker cannot be read: they may name another by now."""

    OTHERS = frozenset({Cause.NOT_YET_READ, Cause.LOADING, Cause.WRONG_TYPE})
    """What no other address or login would mend."""

    def __init__(self, distrust: Callable[[PoolKey], None]) -> None:
        self._distrust = distrust

    def record(self, record: CycleRecord) -> None:
        """Look at why it could not be read."""
        if any(part.cause not in self.OTHERS for part in record.observation.unavailable):
            self._distrust(record.key)

    def notice(self, notice: Notice) -> None:
        """Nothing to do."""


def _status_of(done: set[asyncio.Task[None]]) -> int:
    """What it means that these parts ended by themselves."""
    for task in done:
        error = task.exception() if not task.cancelled() else None
        log.error("the part %r ended: %s", task.get_name(), error or "without an error", exc_info=error)
    return FAILED if done else OK
