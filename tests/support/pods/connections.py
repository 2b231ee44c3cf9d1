"""Who really talks to whom, and whether the NetworkPolicies of the cluster would let them.

For clusters whose network plugin does not enforce policies: the connections are read from the pods' own sockets, and
the policies are judged as the API describes them. Only what the project's policies use is understood; anything else
is an error, not a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.pods.kubectl import Kubectl
from tests.support.pods.node import Node

Body = Mapping[str, Any]
EPHEMERAL = 32768
"""Linux gives out local ports from here on; nothing of ours listens above."""

API_SERVER = "API server"


@dataclass(frozen=True, kw_only=True, order=True)
class Connection:
    """A TCP connection: who opened it, to whom, and to which port of the pod behind the Service."""

    origin: str
    target: str
    port: int


@dataclass(kw_only=True)
class Network:
    """A namespace's pods, Services and policies at one moment."""

    pods: Sequence[Body]
    services: Sequence[Body]
    policies: Sequence[Body]

    @classmethod
    def of(cls, kubectl: Kubectl) -> Network:
        return cls(
            pods=[pod for pod in kubectl.items("pods") if pod["status"].get("podIP")],
            services=kubectl.items("services"),
            policies=kubectl.items("networkpolicies"),
        )

    def connections(self, node: Node) -> dict[Connection, bool]:
        """The connections that are open now, and whether the policies allow each."""
        found: dict[Connection, bool] = {}
        for pod in self.pods:
            container = pod["status"].get("containerStatuses", [{}])[0]
            if "running" not in container.get("state", {}):
                continue
            for socket in node.connections(container["containerID"]):
                (host, port), local = _split(socket.remote), _split(socket.local)[1]
                if host.startswith("127.") or local < EPHEMERAL or port >= EPHEMERAL:
                    continue
                target, real_port = self._target(host, port)
                connection = Connection(
                    origin=component(pod), target=component(target) if target else API_SERVER, port=real_port
                )
                found[connection] = self._allowed(pod, target, real_port)
        return found

    def _target(self, host: str, port: int) -> tuple[Body | None, int]:
        """The pod behind an address, and its port; None: nobody's in this namespace."""
        for service in self.services:
            if service["spec"].get("clusterIP") == host:
                selector = service["spec"]["selector"]
                pod = next(pod for pod in self.pods if selector.items() <= pod["metadata"]["labels"].items())
                entry = next(entry for entry in service["spec"]["ports"] if entry["port"] == port)
                return pod, _number(entry.get("targetPort", port), pod)
        return next((pod for pod in self.pods if pod["status"]["podIP"] == host), None), port

    def _allowed(self, origin: Body, target: Body | None, port: int) -> bool:
        return self._lets("Egress", origin, target, port) and (
            target is None or self._lets("Ingress", target, origin, port)
        )

    def _lets(self, direction: str, pod: Body, other: Body | None, port: int) -> bool:
        """Whether the policies that select the pod in this direction let it talk with the other one."""
        mine = [
            policy["spec"]
            for policy in self.policies
            if direction in policy["spec"]["policyTypes"] and _selects(policy["spec"]["podSelector"], pod)
        ]
        if not mine:
            return True
        listener = pod if direction == "Ingress" else other
        peers, field = ("from", "ingress") if direction == "Ingress" else ("to", "egress")
        rules = [rule for spec in mine for rule in spec.get(field) or ()]
        return any(_port_in(rule, port, listener) and _peer_in(rule.get(peers), other) for rule in rules)


def component(pod: Body) -> str:
    """What a pod is, for people."""
    labels = pod["metadata"].get("labels", {})
    if pool := labels.get("workerpool.dev/pool"):
        return f"worker {pool}"
    name = labels.get("app.kubernetes.io/name", pod["metadata"]["name"])
    return str(labels.get("app.kubernetes.io/component", name) if name == "workerpool" else name)


def _selects(selector: Body, pod: Body) -> bool:
    assert set(selector) <= {"matchLabels"}, selector
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    labels: Mapping[str, str] = pod["metadata"].get("labels", {})
    return wanted.items() <= labels.items()


def _port_in(rule: Body, port: int, listener: Body | None) -> bool:
    entries = rule.get("ports")
    return not entries or any(
        entry.get("protocol", "TCP") == "TCP" and _number(entry["port"], listener) == port for entry in entries
    )


def _peer_in(peers: Iterable[Body] | None, other: Body | None) -> bool:
    if not peers:
        return True
    for peer in peers:
        assert set(peer) == {"podSelector"}, peer
        if other is not None and _selects(peer["podSelector"], other):
            return True
    return False


def _number(port: int | str, pod: Body | None) -> int:
    """A port by its number, or by the name a pod's container gives it."""
    if isinstance(port, int) or pod is None:
        return int(port)
    ports = [entry for container in pod["spec"]["containers"] for entry in container.get("ports", ())]
    return next(int(entry["containerPort"]) for entry in ports if entry.get("name") == port)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
