"""The programs a control plane is made of, and the versions the tests are written against."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

KUBERNETES = "1.36.3"
ETCD = "3.6.7"
KWOK = "0.8.0"

NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kubectl")
UNFINISHED = "unfinished-"  # how folders in the cache begin that belong to a download or a build under way


class UnavailableError(Exception):
    """A provider cannot give what it was asked for; the text says why in one line."""


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Where each program is, and a line about where they came from."""

    paths: Mapping[str, Path]
    said: str

    def __getitem__(self, name: str) -> Path:
        return self.paths[name]


def cache_folder() -> Path:
    """Where downloaded and built programs are kept, outside any checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "workerpool" / "control-plane" / f"k8s-{KUBERNETES}_etcd-{ETCD}_kwok-{KWOK}"


def in_folder(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Those programs that a folder has."""
    return {name: folder / name for name in names if os.access(folder / name, os.X_OK)}


def go_platform() -> tuple[str, str]:
    """System and machine as Go and the release downloads name them."""
    machine = platform.machine().lower()
    return platform.system().lower(), {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
