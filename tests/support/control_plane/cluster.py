"""What the tests hold in their hands: a cluster with its address, its administrator and its other users."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .api import Api, Object, path
from .kubeconfig import write_kubeconfig
from .local import LocalControlPlane

SYSTEM_NAMESPACE = "workerpool-system"
TOKEN_S = 6 * 3600


@dataclass(kw_only=True)
class ControlPlane:
    """A running cluster."""

    api: Api  # as the administrator
    folder: Path  # for files that belong to the session
    ca_file: Path | None
    kubectl: Path | None
    said: str  # where it comes from
    local: LocalControlPlane | None = None  # its processes, where they are ours
    _users: dict[tuple[str, str], Path] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return self.api.url

    @property
    def admin_kubeconfig(self) -> Path:
        """May do everything."""
        return self.api.kubeconfig

    def check(self) -> None:
        """Fail with the last log lines of a process of ours that has ended."""
        if self.local is not None:
            self.local.check()

    def kubeconfig_for(self, user: str, *, namespace: str = SYSTEM_NAMESPACE) -> Path:
        """A kubeconfig of ``admin``, or of the service account ``workerpool-<user>``, made when it is missing.

        A new account may do nothing but what every account may; it works on any cluster, unlike a made-up user.
        """
        if user == "admin":
            return self.admin_kubeconfig
        if (user, namespace) not in self._users:
            self._users[user, namespace] = self._make_user(f"workerpool-{user}", namespace)
        return self._users[user, namespace]

    def _make_user(self, name: str, namespace: str) -> Path:
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        where = {"name": name, "namespace": namespace}
        self.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": where})
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_S},
        }
        answer = self.api.call("POST", path("serviceaccounts", namespace, name, "token"), request)
        return write_kubeconfig(
            self.folder / f"{namespace}.{name}.kubeconfig",
            url=self.url,
            ca_file=self.ca_file,
            token=answer["status"]["token"],
            namespace=namespace,
        )


def is_established(crd: Object) -> bool:
    """Whether the API server serves a CustomResourceDefinition already."""
    conditions = crd.get("status", {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
