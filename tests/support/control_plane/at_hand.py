"""Programs that are on this machine already."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from .programs import UnavailableError, cache_folder, in_folder


class Assets:
    """The folder that ``KUBEBUILDER_ASSETS`` names, as other Kubernetes projects have it."""

    name = "$KUBEBUILDER_ASSETS"

    def find(self, names: Collection[str]) -> Mapping[str, Path]:
        """Those that are there."""
        folder = os.environ.get("KUBEBUILDER_ASSETS")
        if not folder:
            raise UnavailableError("not set")
        found = in_folder(Path(folder), names)
        if not found:
            raise UnavailableError(f"{folder} has none of them")
        return found


class OnPath:
    """kubectl may be any that is installed; the servers may not, they would be of any version."""

    name = "PATH"

    def find(self, names: Collection[str]) -> Mapping[str, Path]:
        """The kubectl on PATH, if it is asked for."""
        found = shutil.which("kubectl") if "kubectl" in names else None
        return {"kubectl": Path(found)} if found else {}


class Cache:
    """What an earlier run downloaded or built."""

    name = "the cache"

    def find(self, names: Collection[str]) -> Mapping[str, Path]:
        """Those that are there."""
        return in_folder(cache_folder(), names)
