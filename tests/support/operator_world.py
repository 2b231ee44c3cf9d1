"""A namespace with an operator that serves it under manifests/rbac.yaml, for all tests of a module."""

from __future__ import annotations

import base64
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.control_plane.api import Api, Object, collection_of, path
from tests.support.control_plane.cluster import ControlPlane
from tests.support.control_plane.local import free_port
from tests.support.control_plane.plugin import rbac_for
from tests.support.operator_process import OperatorProcess, worker_pool
from tests.support.waiting import eventually


@dataclass(frozen=True, kw_only=True)
class World:
    """What the tests of a module share; ``role`` is the operator's own ClusterRole, to be changed at will."""

    api: Api
    namespace: str
    operator: OperatorProcess
    port: int
    role: Object

    def make(self, name: str, url: str, **options: Any) -> Object:
        """Create a pool of the bundled worker."""
        return dict(self.api.create(worker_pool(name, self.namespace, url, **options)))

    def secret(self, name: str, **values: str) -> None:
        """Put a Secret as it is to be, with ``_`` for the dots of its keys."""
        data = {key.replace("_", "."): base64.b64encode(text.encode()).decode() for key, text in values.items()}
        where = {"name": name, "namespace": self.namespace}
        self.api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": where, "data": data})

    def pool(self, name: str) -> Object:
        """The WorkerPool as it is now."""
        return dict(self.api.get(path("workerpools", self.namespace, name)))

    def status(self, name: str) -> Object:
        """Its status, empty before the first was written."""
        return dict(self.pool(name).get("status") or {})

    def condition(self, name: str, kind: str) -> Object:
        """One of its conditions, with texts that are empty when it has none."""
        found = [one for one in self.status(name).get("conditions", ()) if one["type"] == kind]
        return dict(found[0]) if found else {"status": "", "reason": "", "message": ""}

    def size(self, name: str) -> int | None:
        """The replicas asked for, None while there is no Deployment."""
        found = self.api.find(path("deployments", self.namespace, name))
        return None if found is None else int(found["spec"]["replicas"])

    def events(self, name: str) -> list[Object]:
        """The events of a pool."""
        found = self.api.list(path("events", self.namespace))
        return [event for event in found if event["involvedObject"]["name"] == name]

    def metrics(self) -> str:
        """What Prometheus would read."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def metric(self, metric: str, pool: str) -> float | None:
        """A sample of a pool that is the only one of its name, None where there is none."""
        begin = f'workerpool_{metric}{{namespace="{self.namespace}",pool="{pool}"'
        found = [line for line in self.metrics().splitlines() if line.startswith(begin)]
        return float(found[0].rpartition(" ")[2]) if found else None

    def says(self, name: str, kind: str, reason: str, *, within_s: float = 15) -> Object:
        """Wait for a condition with this reason, and return it."""

        def found() -> Object:
            now = self.condition(name, kind)
            assert now["reason"] == reason, f"{name}: {kind} is {now}"
            return now

        return eventually(found, within_s, f"{kind} {reason} of {name}")

    def reaches(self, name: str, replicas: int, *, within_s: float = 15) -> None:
        """Wait for a size."""

        def reached() -> bool:
            now = self.size(name)
            assert now == replicas, f"it is {now}"
            return True

        eventually(reached, within_s, f"{replicas} replicas of {name}")

    def log(self) -> str:
        """All that the operator said."""
        return self.operator.log.read_text(encoding="utf-8")

    def grant(self, role: Object) -> None:
        """Give the operator these cluster-wide rights and no others."""
        self.api.apply(role)


@contextmanager
def operator_world(control_plane: ControlPlane, folder: Path, arguments: Sequence[str] = ()) -> Iterator[World]:
    """A namespace and its operator, ready; its log is printed at the end."""
    api, namespace = control_plane.api, f"test-{uuid.uuid4().hex[:8]}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    eventually(lambda: api.find(path("serviceaccounts", namespace, "default")), 20, "the default service account")
    things = own_role(rbac_for(namespace), namespace)
    for thing in things:
        api.apply(thing)
    port = free_port()
    operator = OperatorProcess(
        kubeconfig=control_plane.kubeconfig_for("operator", namespace=namespace),
        namespace=namespace,
        folder=folder,
        arguments=("--port", str(port), *arguments),
    )
    role = next(thing for thing in things if thing["kind"] == "ClusterRole")
    try:
        with operator:
            world = World(api=api, namespace=namespace, operator=operator, port=port, role=role)
            eventually(lambda: leads(world), 30, "an operator that leads")
            yield world
    finally:
        print(operator.log.read_text(encoding="utf-8")[-8000:])  # noqa: T201 - shown by pytest when a test fails
        for thing in things:
            if thing["kind"].startswith("ClusterRole"):
                api.delete(f"{collection_of(thing)}/{thing['metadata']['name']}")
        api.delete(path("namespaces", name=namespace))


def leads(world: World) -> bool:
    """Whether the operator is up and leads."""
    assert world.operator.running, world.log()[-2000:]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{world.port}/readyz", timeout=5) as answer:
            return bool(answer.read() == b"leader\n")
    except OSError:
        return False


def own_role(things: list[Object], namespace: str) -> list[Object]:
    """The same rights, by a ClusterRole of this namespace's operator alone."""
    for thing in things:
        if thing["kind"] == "ClusterRole":
            thing["metadata"]["name"] += f"-{namespace}"
        if thing["kind"] == "ClusterRoleBinding":
            thing["roleRef"]["name"] += f"-{namespace}"
    return things


def without(role: Object, verb: str, resource: str) -> Object:
    """A ClusterRole that lacks one right."""
    rules = []
    for rule in role["rules"]:
        if resource not in rule["resources"]:
            rules.append(rule)
        elif verbs := [one for one in rule["verbs"] if one != verb]:
            rules.append({**rule, "verbs": verbs})
    return {**role, "rules": rules}
