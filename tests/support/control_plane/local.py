"""Our own control plane: etcd, the API server and the controllers as processes on loopback ports."""

from __future__ import annotations

import csv
import secrets
import socket
import time
from pathlib import Path

import trustme

from .api import Api
from .kubeconfig import write_kubeconfig
from .process import Child
from .programs import Programs

READY_S = 60
ATTEMPTS = 3
CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LocalControlPlane:
    """Starts the processes one by one; ``close`` ends them all."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self.admin_kubeconfig = folder / "admin.kubeconfig"
        self.url = ""
        self.children: list[Child] = []

    def run(self, name: str, *arguments: str) -> Child:
        """Start one more program; it ends with the others."""
        child = Child(self.programs[name], list(arguments), self.folder)
        self.children.append(child)
        return child

    def check(self) -> None:
        """Fail with the last log lines of a program that has ended."""
        for child in self.children:
            child.check()

    def close(self) -> None:
        """End every program, the last one first."""
        for child in reversed(self.children):
            child.stop()
        self.children.clear()

    def start_server(self) -> None:
        """Start etcd and the API server and wait until it is ready."""
        for left in reversed(range(ATTEMPTS)):
            try:
                self._try_server()
            except AssertionError as error:
                self.close()
                # Somebody else took a port in between.
                if not left or "address already in use" not in str(error):
                    raise
            else:
                return

    def _try_server(self) -> None:
        port, etcd = free_port(), f"http://127.0.0.1:{free_port()}"
        self.url = f"https://127.0.0.1:{port}"
        self._write_credentials()
        self.run(
            "etcd", "--data-dir", "etcd", "--unsafe-no-fsync", "--log-level", "warn",
            "--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", "http://127.0.0.1:0",
        )  # fmt: skip
        self.run(
            "kube-apiserver", "--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--secure-port", str(port),
            "--tls-cert-file", "serving.pem", "--tls-private-key-file", "serving.pem",
            "--token-auth-file", "tokens.csv", "--authorization-mode", "RBAC",
            "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-key-file", "accounts.key", "--service-account-signing-key-file", "accounts.key",
            "--service-cluster-ip-range", "10.96.0.0/16", "--endpoint-reconciler-type", "none",
            # It taints new nodes until a controller that we do not run takes the taint away.
            "--disable-admission-plugins", "TaintNodesByCondition",
            # As on OpenShift: who names an owner needs the right to.
            "--enable-admission-plugins", "OwnerReferencesPermissionEnforcement",
            "--profiling=false", "--max-requests-inflight", "2000", "--max-mutating-requests-inflight", "1000",
        )  # fmt: skip
        with Api(self.admin_kubeconfig) as api:
            self._wait_ready(api)

    def start_controllers(self) -> None:
        """Start the controllers that the tests need; they work as soon as they have read what there is."""
        self.run(
            "kube-controller-manager", "--kubeconfig", str(self.admin_kubeconfig), "--leader-elect=false",
            "--controllers", ",".join(CONTROLLERS), "--secure-port", "0",
            "--kube-api-qps", "1000", "--kube-api-burst", "2000",
        )  # fmt: skip

    def _wait_ready(self, api: Api) -> None:
        deadline_s = time.monotonic() + READY_S
        while not _is_ready(api):
            self.check()
            if time.monotonic() > deadline_s:
                raise AssertionError(f"the API server is not ready after {READY_S} s; its log is {self.folder}")
            time.sleep(0.1)

    def _write_credentials(self) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        serving = authority.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
        authority.cert_pem.write_to_path(self.ca_file)
        serving.private_key_and_cert_chain_pem.write_to_path(self.folder / "serving.pem")
        # The API server takes the public half from it.
        authority.issue_cert("accounts").private_key_pem.write_to_path(self.folder / "accounts.key")
        token = secrets.token_urlsafe()
        with (self.folder / "tokens.csv").open("w", newline="") as tokens:
            csv.writer(tokens).writerow([token, "admin", "1", "system:masters"])
        write_kubeconfig(self.admin_kubeconfig, url=self.url, ca_file=self.ca_file, token=token)


def _is_ready(api: Api) -> bool:
    try:
        return api.request("GET", "/readyz", timeout_s=2).status == 200
    except Exception:  # noqa: BLE001 - not listening yet, in the words of whichever library noticed
        return False
