"""``workerpool explain`` of a cluster: a leader and a standby, asked through a real API server's pod proxy.

The operators are processes here; a Pod object for each gives the API server the address at which they listen.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from tests.support.control_plane.api import Api, Object, path
from tests.support.control_plane.cluster import ControlPlane
from tests.support.control_plane.local import free_port
from tests.support.local_run import SCRIPTS
from tests.support.operator_process import OperatorProcess, worker_pool
from tests.support.waiting import eventually
from workerpool_operator.local.redis_server import RedisServer

pytestmark = pytest.mark.integration

LABELS = {"app.kubernetes.io/component": "operator", "app.kubernetes.io/part-of": "workerpool"}


def own_address() -> str:
    """An address of this machine that an API server would proxy to: neither loopback nor link-local."""
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family == socket.AF_INET:
                found = ipaddress.ip_address(one.address)
                if not found.is_loopback and not found.is_link_local:
                    return one.address
    raise AssertionError("this machine has no address but loopback: an API server proxies to none")


@dataclass(kw_only=True)
class Cluster:
    """A namespace with operators in it, asked as different users."""

    plane: ControlPlane
    namespace: str
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def api(self) -> Api:
        return self.plane.api

    def pod_of(self, name: str, port: int) -> None:
        """A Pod of an operator that listens on a port of this machine."""
        self.ports[name] = port
        container = {"name": "operator", "image": "none", "ports": [{"name": "metrics", "containerPort": port}]}
        self.api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": self.namespace, "labels": LABELS},
                # nobody is to run it
                "spec": {"schedulerName": "nobody", "containers": [container]},
            }
        )
        address = own_address()
        status = {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}
        self.api.patch(path("pods", self.namespace, name, "status"), status)

    def explain(
        self, *arguments: str, kubeconfig: Path | None = None, program: tuple[str, ...] = ("workerpool",)
    ) -> subprocess.CompletedProcess[str]:
        file = kubeconfig or self.plane.admin_kubeconfig
        env = {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}", "KUBECONFIG": str(file)}
        command = [*program, "explain", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    def told(self, *arguments: str, **options: Any) -> Object:
        done = self.explain(*arguments, "--operator-namespace", self.namespace, "-o", "json", **options)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def user(self, name: str, *rights: tuple[str, str]) -> Path:
        """A kubeconfig of an account with these rights in the namespace: verb and resource."""
        rbac, where = "rbac.authorization.k8s.io", {"name": name, "namespace": self.namespace}
        rules = [{"apiGroups": [""], "verbs": [verb], "resources": [resource]} for verb, resource in rights]
        subject = {"kind": "ServiceAccount", "name": f"workerpool-{name}", "namespace": self.namespace}
        role = {"apiGroup": rbac, "kind": "Role", "name": name}
        self.api.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": where, "rules": rules})
        binding = {"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": where}
        self.api.apply({**binding, "roleRef": role, "subjects": [subject]})
        return self.plane.kubeconfig_for(name, namespace=self.namespace)

    def page(self, name: str, where: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{own_address()}:{self.ports[name]}{where}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""


@pytest.fixture
def cluster(
    control_plane: ControlPlane, operator_kubeconfig: Path, namespace: str, tmp_path: Path
) -> Iterator[Cluster]:
    """``operator-b`` leads and ``operator-a``, which comes first in every listing, stands by."""
    found = Cluster(plane=control_plane, namespace=namespace)
    where = {"name": "workerpool-operator", "namespace": namespace}
    # a Lease that is there and free: no waiting for a leader that nobody knows of
    found.api.create({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": where})
    with ExitStack() as stack:
        for name, role in (("operator-b", "leader"), ("operator-a", "standby")):
            port = free_port()
            stack.enter_context(
                OperatorProcess(
                    kubeconfig=operator_kubeconfig,
                    namespace=namespace,
                    folder=tmp_path,
                    name=name,
                    arguments=("--host", own_address(), "--port", str(port)),
                )
            )
            found.pod_of(name, port)
            eventually(lambda name=name, role=role: found.page(name, "/readyz") == (200, f"{role}\n"), 30, role)  # type: ignore[misc]
        yield found


@pytest.fixture
def email(cluster: Cluster, redis_server: RedisServer) -> str:
    """A pool at the size that thirty-five jobs ask for."""
    cluster.api.create(worker_pool("email", cluster.namespace, redis_server.url))
    with redis.Redis.from_url(redis_server.url) as client:
        client.rpush("email", *["{}"] * 35)

    def sized() -> bool:
        status, body = cluster.page("operator-b", f"/explain/{cluster.namespace}/email")
        assert status == 200, body
        return bool(json.loads(body)["decision"]["current"] == 4)

    eventually(sized, 30, "a decision at four replicas")
    return "email"


def test_the_leader_is_asked_through_the_api_server(cluster: Cluster, email: str) -> None:
    found = cluster.told("wp/email", "-n", cluster.namespace)
    assert found["toldBy"] == f"the operator operator-b in namespace {cluster.namespace}"
    assert found["pool"] == {"namespace": cluster.namespace, "name": email}
    assert [(queue["name"], queue["ready"]) for queue in found["queues"]] == [("email", 35)]
    assert (found["rules"][0]["rule"], found["rules"][0]["after"]) == ("demand", 4)
    assert found["decision"]["target"] == 4

    assert cluster.plane.kubectl is not None, "kubectl is missing"
    plugin = (str(cluster.plane.kubectl), "workerpool")
    done = cluster.explain(
        "wp/email", "-n", cluster.namespace, "--operator-namespace", cluster.namespace, program=plugin
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{cluster.namespace}/email: 4 replicas  ")
    assert "queue email  35 ready" in done.stdout


def test_a_port_at_hand_is_asked_directly_and_a_standby_names_the_leader(cluster: Cluster, email: str) -> None:
    def at(name: str) -> subprocess.CompletedProcess[str]:
        return cluster.explain("email", "--address", f"http://{own_address()}:{cluster.ports[name]}")

    assert at("operator-b").stdout.startswith(f"{cluster.namespace}/email: ")
    status, body = cluster.page("operator-a", f"/explain/{cluster.namespace}/email")
    leader = json.loads(body)["leader"]
    assert (status, bool(leader)) == (503, True)
    refused = at("operator-a")
    assert refused.returncode == 2
    assert f"this process does not lead; {leader} leads" in refused.stderr


def test_a_pool_that_is_gone_or_was_never_there(cluster: Cluster, email: str) -> None:
    wrong = cluster.explain("emial", "-n", cluster.namespace, "--operator-namespace", cluster.namespace)
    assert wrong.returncode == 1
    assert f"there is no WorkerPool emial in namespace {cluster.namespace}; there are email" in wrong.stderr
    cluster.api.delete(path("workerpools", cluster.namespace, email))
    where = f"/explain/{cluster.namespace}/email"
    eventually(lambda: cluster.page("operator-b", where)[0] == 404, 15, "the pool is forgotten")


def test_a_pool_that_was_never_decided_is_told_by_its_status(cluster: Cluster) -> None:
    pool = worker_pool("orphan", cluster.namespace, "redis://unused:6379/0")
    pool["spec"]["broker"] = {"urlSecretRef": {"name": "no-such-secret", "key": "url"}}
    cluster.api.create(pool)

    def explained() -> bool:
        done = cluster.explain("orphan", "-n", cluster.namespace, "--operator-namespace", cluster.namespace)
        assert done.returncode == 1, done.stdout
        assert "Ready is " in done.stderr
        assert "no-such-secret" in done.stderr, done.stderr
        return done.stderr.count("\n") == 1

    assert eventually(explained, 20, "the status says why")


def test_rights_that_are_missing_are_named(cluster: Cluster, email: str) -> None:
    nobody = cluster.user("nobody")
    refused = cluster.explain("email", "-n", cluster.namespace, kubeconfig=nobody)
    assert refused.returncode == 2
    assert f"you may not list pods in namespace {cluster.namespace}" in refused.stderr
    assert refused.stderr.count("\n") == 1

    viewer = cluster.user("viewer", ("list", "pods"))
    refused = cluster.explain("email", "-n", cluster.namespace, kubeconfig=viewer)
    assert refused.returncode == 2
    assert f"`get` on `pods/proxy` in namespace {cluster.namespace}" in refused.stderr
    assert f"kubectl -n {cluster.namespace} port-forward operator-" in refused.stderr
    assert refused.stderr.count("\n") == 1

    editor = cluster.user("editor", ("list", "pods"), ("get", "pods/proxy"))
    allowed = cluster.explain("email", kubeconfig=editor)  # the namespace is that of the context
    assert allowed.returncode == 0, allowed.stderr
    assert allowed.stdout.startswith(f"{cluster.namespace}/email: 4 replicas")


def test_an_operator_that_is_gone_is_said_with_what_the_api_server_says(cluster: Cluster, email: str) -> None:
    for name in cluster.ports:
        cluster.api.delete(path("pods", cluster.namespace, name), gracePeriodSeconds=0)
    none = cluster.explain(email, "-n", cluster.namespace, "--operator-namespace", cluster.namespace)
    assert (none.returncode, none.stdout) == (2, "")
    assert f"no operator runs in namespace {cluster.namespace}: no running pod has the labels" in none.stderr
    cluster.pod_of("operator-dead", free_port())
    dead = cluster.explain(email, "-n", cluster.namespace, "--operator-namespace", cluster.namespace)
    assert dead.returncode == 2
    assert "the API server cannot reach the operator operator-dead" in dead.stderr
    assert "connection refused" in dead.stderr
    assert dead.stderr.count("\n") == 1
