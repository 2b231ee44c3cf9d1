"""The kind node from the inside: what a user cannot see through the API server, and a fault that comes from there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

KEPT = "/var/log/kept"
KEEP = f"""
mkdir -p {KEPT}
while true; do
    cp -rln /var/log/pods/. {KEPT}/ 2>/dev/null   # hard links: they go on growing, and outlive the pod
    read -r -t 0.5
    [ $? -gt 128 ] || exit 0                      # the other end of standard input is gone
done
"""


@dataclass(frozen=True, kw_only=True)
class Socket:
    """An established TCP connection as one end of it has it. Addresses are ``host:port``."""

    local: str
    remote: str


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node of a kind cluster; its name is its container's."""

    name: str

    def run(self, *command: str) -> str:
        """What a command printed on the node."""
        return subprocess.run(
            ["docker", "exec", self.name, *command], capture_output=True, text=True, timeout=60, check=True
        ).stdout

    def pid_of(self, container_id: str) -> int:
        """The process id, on the node, of a container's first process. ``container_id`` as a Pod's status has it."""
        found: dict[str, Any] = json.loads(self.run("crictl", "inspect", container_id.removeprefix("containerd://")))
        return int(found["info"]["pid"])

    def kill(self, container_id: str) -> None:
        """SIGKILL to all of a container, as the kernel does that is out of memory: nobody is asked or told."""
        self.run("kill", "-9", str(self.pid_of(container_id)))  # the first of its namespace: all others go with it

    def connections(self, container_id: str) -> set[Socket]:
        """The established TCP connections of a container's network."""
        pid = self.pid_of(container_id)
        lines = self.run("bash", "-c", f"cat /proc/{pid}/net/tcp /proc/{pid}/net/tcp6").splitlines()
        rows = [line.split() for line in lines if not line.lstrip().startswith("sl")]
        return {Socket(local=_address(row[1]), remote=_address(row[2])) for row in rows if row[3] == "01"}

    @contextmanager
    def keeping_logs(self) -> Iterator[None]:
        """Keep the logs of containers beyond the end of their pods, while the block runs and after it."""
        command = ["docker", "exec", "-i", self.name, "bash", "-c", KEEP]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            try:
                yield
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(20)

    def kept_logs(self, namespace: str, pod_prefix: str = "") -> dict[str, list[str]]:
        """Lines by ``pod/container/restart``: what the pods of a namespace ever said while logs were kept.

        No log at all is a failure: whoever looks for harm in nothing finds none.
        """
        files = self.run("find", KEPT, "-path", f"{KEPT}/{namespace}_{pod_prefix}*/*.log").split()
        assert files, f"the node kept no log of {namespace}/{pod_prefix}*"
        logs = {}
        for file in files:
            pod, container, number = file.removeprefix(f"{KEPT}/").split("/")
            lines = self.run("cat", file).splitlines()
            # time stream P|F text
            logs[f"{pod.split('_')[1]}/{container}/{number}"] = [line.split(" ", 3)[-1] for line in lines]
        return logs


def _address(text: str) -> str:
    host, port = text.split(":")
    # a word of the host at a time in the node's byte order, which is little-endian here as on every kind node
    words = [host[at : at + 8] for at in range(0, len(host), 8)]
    octets = [int(words[-1][at : at + 2], 16) for at in (6, 4, 2, 0)]
    return f"{'.'.join(map(str, octets))}:{int(port, 16)}"
