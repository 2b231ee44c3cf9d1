"""A Deployment of the tests' API server, the scaler that moves it, and stock workers in the names of its pods.

The operator's decisions are the test's: sizes are asked for one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import Celery

from tests.support.celery_apps.contract import Worker
from tests.support.celery_apps.plain import make_app
from tests.support.control_plane.api import Api, Object, path
from tests.support.control_plane.cluster import ControlPlane
from tests.support.operator_process import worker_pool
from workerpool_operator.core.decision import Decision, Reason
from workerpool_operator.kube.api import KubeApi
from workerpool_operator.kube.names import CORDONED_ANNOTATION
from workerpool_operator.kube.registry import Registry
from workerpool_operator.kube.resync import Resync
from workerpool_operator.kube.scaler import KubeScaler
from workerpool_operator.ports import BrokerReading, Notice, NoticeKind, Outcome, PoolKey, QueueSource, ReplicaState
from workerpool_operator.queues.celery import CeleryControl, CeleryReader

PATIENCE_S = 30.0
LOOK_S = 0.1


def decision(target: int) -> Decision:
    return Decision(current=0, target=target, reason=Reason.WORK_WAITING, message="", demand_replicas=target)


@dataclass(kw_only=True)
class DrainWorld:
    """One pool, ``mail``, with its queue; more scalers may look at it, as other operators would."""

    api: Api
    namespace: str
    url: str
    folder: Path
    kube: KubeApi
    registry: Registry
    resync: Resync
    reader: CeleryReader
    control: CeleryControl
    app: Celery
    key: PoolKey = field(init=False)
    scaler: KubeScaler = field(init=False)
    notices: list[Notice] = field(default_factory=list)
    workers: dict[str, Worker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.key = PoolKey(namespace=self.namespace, name="mail")
        self.scaler = self.another_scaler()

    def another_scaler(self) -> KubeScaler:
        made = KubeScaler(api=self.kube, registry=self.registry, may_write=lambda: True, blocked=lambda _key: None)
        made.control, made.on_notice = lambda _key: self.control, self.notices.append
        return made

    # -- doing

    async def start(self, replicas: int, *, when_busy: str = "Wait") -> list[str]:
        """Make the Deployment and the pool that refers to it; the pods' names."""
        pod = {
            "metadata": {"labels": {"app": "mail"}},
            "spec": {"containers": [{"name": "worker", "image": "example.org/worker:1"}]},
        }
        self.api.create(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "mailers", "namespace": self.namespace},
                "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "mail"}}, "template": pod},
            }
        )
        pool = worker_pool("mail", self.namespace, self.url, deploymentRef={"name": "mailers"})
        pool["spec"]["scaling"]["scaleDown"]["whenBusy"] = when_busy
        pool["spec"].pop("worker", None)
        self.api.create(pool)

        def all_ready() -> bool:
            known = self.registry.pods_of((self.namespace, "mailers"))
            return sum(one.ready for one in known) == replicas

        await self.until(all_ready)
        return sorted(self.pods())

    def work(self, pod: str, *arguments: str, **options: Any) -> Worker:
        """Start a worker in the name of a pod."""
        wanted = {"task_acks_late": True, "worker_prefetch_multiplier": 1, **options}
        log = self.folder / f"{pod}-{len(self.workers)}.log"
        self.workers[pod] = Worker(log, self.url, "mail", ("-n", f"celery@{pod}", *arguments), wanted)
        return self.workers[pod]

    def send(self, task: str, *args: object, count: int = 1) -> None:
        for _ in range(count):
            self.app.send_task(task, args=list(args), queue="mail")

    async def scale(self, target: int, scaler: KubeScaler | None = None) -> Outcome:
        await self.state(scaler)
        return await (scaler or self.scaler).scale(self.key, decision(target))

    # -- asking

    def size(self) -> int:
        """The size that the Deployment was given."""
        return int(self.api.get(path("deployments", self.namespace, "mailers"))["spec"]["replicas"])

    def bodies(self) -> dict[str, Object]:
        """The pods that stay."""
        found = self.api.list(path("pods", self.namespace), selector="app=mail")
        return {one["metadata"]["name"]: one for one in found if "deletionTimestamp" not in one["metadata"]}

    def pods(self) -> set[str]:
        return set(self.bodies())

    def annotated(self) -> set[str]:
        """The pods that are cordoned, as any operator can see."""
        return {
            name
            for name, body in self.bodies().items()
            if CORDONED_ANNOTATION in (body["metadata"].get("annotations") or {})
        }

    def said(self, kind: NoticeKind) -> list[str]:
        return [notice.message.split()[0] for notice in self.notices if notice.kind is kind]

    async def reading(self) -> BrokerReading:
        return await self.reader.read([QueueSource(key=self.key, queues=("mail",))])

    async def state(self, scaler: KubeScaler | None = None) -> ReplicaState:
        """What a look of the loop would see."""
        return await (scaler or self.scaler).replicas(self.key, (await self.reading()).beats)

    async def active(self) -> dict[str, int]:
        """Jobs by pod, of the workers that are heard."""
        return {beat.hostname.rpartition("@")[2]: beat.active for beat in (await self.reading()).beats}

    async def until_active(self, **wanted: int) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while (found := await self.active()) != wanted:
            assert time.monotonic() < deadline_s, found
            await asyncio.sleep(LOOK_S)

    async def until_listening(self, *pods: str, queues: tuple[str, ...] = ("mail",)) -> None:
        """Wait until workers listen (they send heartbeats some time before) and take jobs from these queues."""
        deadline_s = time.monotonic() + PATIENCE_S
        wanted = {f"celery@{pod}": frozenset(queues) for pod in pods}
        while (found := await self.control.queues_of(wanted, key_prefix="")) != wanted:
            assert time.monotonic() < deadline_s, found
            await asyncio.sleep(LOOK_S)

    async def until(self, condition: Callable[[], object]) -> None:
        """Look again and again, as the loop does, until something holds."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, (await self.state(), self.notices)
            await self.state()
            await asyncio.sleep(LOOK_S)

    async def until_state(self, current: int, leaving: int, scaler: KubeScaler | None = None) -> ReplicaState:
        """Look again and again until so many replicas are counted."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            found = await self.state(scaler)
            if (found.current, found.leaving) == (current, leaving):
                return found
            assert time.monotonic() < deadline_s, found
            await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def drain_world(control_plane: ControlPlane, url: str, folder: Path) -> AsyncIterator[DrainWorld]:
    """A new namespace; its objects are listed again and again in the place of watches."""
    api, namespace = control_plane.api, f"test-{uuid.uuid4().hex[:8]}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    registry, reader, control, app = Registry(), CeleryReader(url), CeleryControl(url), make_app(url)
    async with KubeApi(kubeconfig=control_plane.admin_kubeconfig) as kube:
        resync = Resync(kube, registry, [namespace])
        listing = asyncio.create_task(_list(resync))
        world = DrainWorld(
            api=api,
            namespace=namespace,
            url=url,
            folder=folder,
            kube=kube,
            registry=registry,
            resync=resync,
            reader=reader,
            control=control,
            app=app,
        )
        await world.reading()
        try:
            yield world
        finally:
            world.scaler.stand_by()
            listing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listing
            for worker in world.workers.values():
                worker.kill()
            await reader.close()
            await control.close()
            app.close()
            api.delete(path("namespaces", name=namespace))


async def _list(resync: Resync) -> None:
    while True:
        await resync.whole()
        await asyncio.sleep(0.05)
