"""Finds the programs and the room that are needed, or says what to install."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from tools.cluster.errors import ClusterError
from tools.cluster.process import run

LEAST_FREE_BYTES: Final = 5 * 1024**3
"""Room for the node image, the images and a build; below a tenth of the disk the kubelet evicts pods anyway."""

_INSTALL: Final = {
    "docker": "https://docs.docker.com/engine/install/",
    "kind": "https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
    "helm": "https://helm.sh/docs/intro/install/",
}


def check(*programs: str) -> None:
    """Raises ``ClusterError`` with one line if a program is missing, Docker does not run or its disk is nearly full."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        what = ", ".join(f"{name} ({_INSTALL[name]})" for name in missing)
        raise ClusterError(f"not installed: {what}")
    if "docker" in programs:
        _docker()


def _docker() -> None:
    # Asked first: `docker info` with a format complains about the format where no Docker answers.
    run(["docker", "version", "--format", "{{.Server.Version}}"], timeout_s=30)
    root = Path(run(["docker", "info", "--format", "{{.DockerRootDir}}"], timeout_s=30).strip())
    # Where Docker runs in a machine of its own (Docker Desktop, a remote one) its folder is not here to be measured.
    if root.is_dir():
        free = shutil.disk_usage(root).free
        if free < LEAST_FREE_BYTES:
            need = LEAST_FREE_BYTES // 1024**3
            raise ClusterError(
                f"the disk of {root} has {free / 1024**3:.1f} GiB free; {need} are needed. "
                "`docker system prune` frees what Docker no longer needs"
            )
