"""A namespace with an operator at work in it, a Redis and a stock Celery producer: pools that have something to do."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from celery import Celery

from tests.support.celery_apps.plain import make_app
from tests.support.control_plane.api import Api, Object, path
from tests.support.control_plane.cluster import ControlPlane
from tests.support.operator_process import OperatorProcess, worker_pool
from tests.support.operator_world import operator_world
from tests.support.waiting import T, eventually

BEAT_EVERY_S = 0.5


@dataclass(kw_only=True)
class Pools:
    """Says in a word what tests ask and do. A pool is named as its queue, so that tests do not meet."""

    api: Api
    namespace: str
    url: str
    operator: OperatorProcess
    app: Celery
    metrics: Callable[[], str]
    """What Prometheus would read of the operator."""

    # -- doing

    def create(self, name: str, *, url: str = "", **fields: object) -> Object:
        """Create a pool."""
        made: Object = self.api.create(worker_pool(name, self.namespace, url or self.url, **fields))  # type: ignore[arg-type]
        return made

    def patch(self, name: str, **spec: object) -> Object:
        """Change fields of a pool's spec; the pool as it is then."""
        changed: Object = self.api.patch(self.where("workerpools", name), {"spec": spec})
        return changed

    def delete(self, plural: str, name: str) -> None:
        """Delete an object."""
        self.api.delete(self.where(plural, name))

    def enqueue(self, queue: str, count: int, task: str = "quick", args: Sequence[object] = ()) -> None:
        """Send real messages that nobody works on, unless a test starts workers."""
        with self.app.producer_pool.acquire(block=True) as producer:
            for _ in range(count):
                self.app.send_task(task, args=list(args), queue=queue, producer=producer)

    def drain(self, queue: str) -> None:
        """Take all that waits out of a queue."""
        with self.app.connection_for_write() as connection, connection.SimpleQueue(queue) as waiting:
            waiting.clear()

    # -- asking

    def where(self, plural: str, name: str) -> str:
        """The address of an object."""
        return path(plural, self.namespace, name)

    def get(self, plural: str, name: str) -> Object:
        """An object that is there."""
        found: Object = self.api.get(self.where(plural, name))
        return found

    def find(self, plural: str, name: str) -> Object | None:
        """An object, None where there is none."""
        found: Object | None = self.api.find(self.where(plural, name))
        return found

    def size(self, name: str) -> int | None:
        """The size asked of a Deployment, None where there is none."""
        found = self.find("deployments", name)
        return None if found is None else int(found["spec"]["replicas"])

    def status(self, name: str) -> Object:
        """The status of a pool, empty before the first."""
        return dict(self.get("workerpools", name).get("status") or {})

    def condition(self, name: str, kind: str) -> tuple[str, str]:
        """A condition of a pool: its status and its reason; empty before it is known."""
        found = {one["type"]: one for one in self.status(name).get("conditions", [])}
        return (found[kind]["status"], found[kind]["reason"]) if kind in found else ("", "")

    def events(self, name: str) -> set[str]:
        """The reasons of a pool's events."""
        return {
            str(one["reason"])
            for one in self.api.list(path("events", self.namespace))
            if (one["involvedObject"]["kind"], one["involvedObject"]["name"]) == ("WorkerPool", name)
        }

    def pods(self, selector: str) -> list[str]:
        """The names of the pods that are ready and stay."""
        return sorted(
            str(one["metadata"]["name"])
            for one in self.api.list(path("pods", self.namespace), selector=selector)
            if "deletionTimestamp" not in one["metadata"]
            and any(c["type"] == "Ready" and c["status"] == "True" for c in one["status"].get("conditions", ()))
        )

    # -- waiting

    def until(self, condition: Callable[[], T], what: str, within_s: float = 20) -> T:
        """Wait until something holds."""
        return eventually(condition, within_s, what)

    def until_size(self, name: str, wanted: int, within_s: float = 20) -> None:
        """Wait until a Deployment was given a size."""

        def so() -> bool:
            found = self.size(name)
            assert found == wanted, f"it has {found}"
            return True

        eventually(so, within_s, f"{name} has {wanted} replicas")

    def until_condition(self, name: str, kind: str, wanted: tuple[str, str], within_s: float = 20) -> None:
        """Wait until a condition has this status and reason."""

        def so() -> bool:
            found = self.condition(name, kind)
            assert found == wanted, f"it is {found}"
            return True

        eventually(so, within_s, f"{kind} of {name} is {wanted}")

    def until_ready(self, name: str, within_s: float = 20) -> None:
        """Wait until the status tells that a pool works, and is of its present spec."""

        def so() -> bool:
            pool = self.get("workerpools", name)
            found = pool.get("status") or {}
            ready = [one["reason"] for one in found.get("conditions", ()) if one["type"] == "Ready"]
            assert ready == ["Operational"], ready
            return bool(found["observedGeneration"] == pool["metadata"]["generation"])

        eventually(so, within_s, f"{name} is ready as it is now")

    def polls(self, count: int) -> None:
        """Wait until the operator has looked so often at a pool made for this: its pin moves at each look."""
        name = f"clock-{uuid.uuid4().hex[:6]}"
        self.create(name, worker={"image": "example.org/clock:1"})
        for number in range(1, count + 1):
            self.patch(name, replicas=1 + number % 2)
            self.until_size(name, 1 + number % 2)
        self.delete("workerpools", name)


@contextmanager
def pools_of(plane: ControlPlane, folder: Path, url: str) -> Iterator[Pools]:
    """A new namespace with its operator under the rights of manifests/rbac.yaml."""
    app = make_app(url)
    with operator_world(plane, folder) as world:
        yield Pools(
            api=world.api, namespace=world.namespace, url=url, operator=world.operator, app=app, metrics=world.metrics
        )
    app.close()


def comparable(thing: Object) -> Object:
    """An object without what every write changes, and without its size."""
    passing = ("managedFields", "resourceVersion", "generation")
    metadata = {key: value for key, value in thing["metadata"].items() if key not in passing}
    notes = metadata.get("annotations", {}).items()
    metadata["annotations"] = {key: value for key, value in notes if key != "deployment.kubernetes.io/revision"}
    return {"metadata": metadata, "spec": {key: value for key, value in thing["spec"].items() if key != "replicas"}}


class Beats:
    """Heartbeats of workers that are not there, through Celery's own dispatcher; ``active`` may change at any time."""

    def __init__(self, url: str, active: dict[str, int]) -> None:
        self._app, self.active = make_app(url), active
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._end.set()
        self._thread.join()
        self._app.close()

    def _run(self) -> None:
        with self._app.connection_for_write() as connection:
            while not self._end.wait(BEAT_EVERY_S):
                for pod, active in list(self.active.items()):
                    dispatcher = self._app.events.Dispatcher(connection, hostname=f"celery@{pod}", enabled=True)
                    dispatcher.send("worker-heartbeat", active=active, processed=active, freq=2)
                    dispatcher.close()
