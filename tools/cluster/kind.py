"""One kind cluster: made, checked, filled with images, talked to, deleted.

Every kubectl and helm command names the cluster's own context, and that context is checked to be the one that kind
gives out: whatever cluster a person works with otherwise is never touched.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tools.cluster.errors import ClusterError, CommandError
from tools.cluster.images import ROOT
from tools.cluster.process import QUICK_S, answers, run

CREATE_S: Final = 600.0
LOAD_S: Final = 600.0
_API_S: Final = 90.0


def own_kubeconfig(name: str) -> Path:
    """A kubeconfig of this cluster's own, in the user's cache: made for programs, which leave a person's alone."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "workerpool" / "clusters" / f"{name}.kubeconfig"


@dataclass(frozen=True)
class Cluster:
    """A kind cluster of this name, there or not.

    Without ``kubeconfig`` it is the person's usual one, as kind does it: the context ``kind-NAME`` is added there and
    becomes the current one when the cluster is made.
    """

    name: str = "workerpool"
    kubeconfig: Path | None = None

    @property
    def context(self) -> str:
        """Its name in the kubeconfig."""
        return f"kind-{self.name}"

    @property
    def environment(self) -> dict[str, str]:
        """What programs have to have in their environment to find the cluster; nothing for the usual kubeconfig."""
        return {"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig else {}

    def exists(self) -> bool:
        """Whether kind knows it, in whatever state."""
        return self.name in run(["kind", "get", "clusters"]).split()

    def ensure(self, *, node_image: str | None = None, config: Path = ROOT / "kind.yaml") -> bool:
        """Make the cluster, or see to it that the one that exists answers. True if it was made.

        ``node_image`` is ``$KIND_NODE_IMAGE``, else kind's own choice.
        """
        if self.exists():
            self._revive()
            return False
        if self.kubeconfig:
            self.kubeconfig.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = ["kind", "create", "cluster", "--name", self.name, "--config", str(config), "--wait", "120s"]
        if image := node_image or os.environ.get("KIND_NODE_IMAGE"):
            command += ["--image", image]
        run(command, env=self.environment, timeout_s=CREATE_S)
        return True

    def delete(self) -> bool:
        """Delete this cluster and no other. True if there was one."""
        there = self.exists()
        # Also where there is none: what a broken start left behind, and the entry of the kubeconfig, go too.
        run(["kind", "delete", "cluster", "--name", self.name], env=self.environment)
        if self.kubeconfig:
            self.kubeconfig.unlink(missing_ok=True)
        return there

    def require(self) -> None:
        """Raises ``ClusterError`` unless the cluster exists and its context is kind's."""
        if not self.exists():
            raise ClusterError(f"there is no kind cluster {self.name}. `make kind-up` makes one")
        self._align()

    def nodes(self) -> dict[str, str]:
        """Its nodes (Docker containers) and their states, such as ``running``."""
        label = f"label=io.x-k8s.kind.cluster={self.name}"
        said = run(["docker", "ps", "--all", "--filter", label, "--format", "{{.Names}} {{.State}}"])
        return dict(line.split(" ", 1) for line in said.splitlines() if line.strip())

    def load(self, *tags: str) -> None:
        """Bring images from Docker to the nodes; those that are there already, by their ids, are left out by kind."""
        if tags:
            run(["kind", "load", "docker-image", "--name", self.name, *tags], timeout_s=LOAD_S)

    def image_ids(self, tag: str) -> frozenset[str]:
        """The digests by which the nodes know the image of this tag; empty if no node has it."""
        found: set[str] = set()
        for node in self.nodes():
            try:
                said = run(["docker", "exec", node, "crictl", "inspecti", "--output", "json", tag])
            except CommandError as error:
                if "no such image" not in error.said.lower():
                    raise
                continue
            status = json.loads(said)["status"]
            found |= {digest_of(name) for name in (status["id"], *status.get("repoDigests", []))}
        return frozenset(found)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = QUICK_S) -> str:
        """Run kubectl on this cluster; what it wrote to standard output."""
        command = ["kubectl", "--context", self.context, *arguments]
        return run(command, stdin=stdin, env=self.environment, timeout_s=timeout_s)

    def get(self, *arguments: str) -> Any:
        """``kubectl get ... -o json``, parsed."""
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def apply(self, *arguments: str, stdin: str | None = None) -> str:
        """``kubectl apply --server-side``: of ``-f FILE``, ``-k FOLDER`` or, with ``stdin``, ``-f -``."""
        # Forced: these objects are from this repository, and whoever edited them by hand gets the repository's back.
        return self.kubectl("apply", "--server-side", "--force-conflicts", *arguments, stdin=stdin)

    def helm(self, *arguments: str, timeout_s: float = QUICK_S) -> str:
        """Run helm on this cluster; what it wrote to standard output."""
        return run(["helm", "--kube-context", self.context, *arguments], env=self.environment, timeout_s=timeout_s)

    def _revive(self) -> None:
        """Start nodes that a restart of Docker left stopped, and wait for the API server."""
        nodes = self.nodes()
        if stopped := [node for node, state in nodes.items() if state != "running"]:
            run(["docker", "start", *stopped])
        try:
            self._align()
            self._wait_for_api()
        except CommandError as error:
            raise ClusterError(
                f"the kind cluster {self.name} exists, but does not answer ({error}). "
                f"Delete it (`kind delete cluster --name {self.name}`) and try again"
            ) from error

    def _align(self) -> None:
        """Make the context point to this cluster and nowhere else."""
        given_out = run(["kind", "get", "kubeconfig", "--name", self.name])
        found = re.search(r"^\s*server: (\S+)$", given_out, re.MULTILINE)
        if found and self._server() == found.group(1):
            return
        if self.kubeconfig:
            self.kubeconfig.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        run(["kind", "export", "kubeconfig", "--name", self.name], env=self.environment)

    def _server(self) -> str | None:
        """Where the context of this name points to in the kubeconfig; None if there is none."""
        view = ["kubectl", "config", "view", "--context", self.context, "--minify", "--output"]
        try:
            return run([*view, "jsonpath={.clusters[0].cluster.server}"], env=self.environment)
        except CommandError:
            return None

    def _wait_for_api(self) -> None:
        deadline_s = time.monotonic() + _API_S
        ready: Sequence[str] = ["kubectl", "--context", self.context, "get", "--raw", "/readyz"]
        while not answers(ready, env=self.environment, timeout_s=10):
            if time.monotonic() > deadline_s:
                run(ready, env=self.environment, timeout_s=10)
                return
            time.sleep(1)


def digest_of(reference: str) -> str:
    """The bare digest of ``sha256:…`` or ``name@sha256:…``: kubelet, containerd and Docker dress it differently."""
    return reference.rpartition("sha256:")[2]
