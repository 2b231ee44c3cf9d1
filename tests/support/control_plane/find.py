"""Where the programs come from: what is at hand first, then what can be fetched, then what can be built."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from .programs import NAMES, Programs, UnavailableError, cache_folder, in_folder


class Provider(Protocol):
    """One place that programs may come from."""

    name: str

    def find(self, names: Collection[str]) -> Mapping[str, Path]:
        """Those of the programs it has; raises UnavailableError with the reason when it has none of them."""


class Assets:
    """The folder that ``KUBEBUILDER_ASSETS`` names, as other Kubernetes projects have it."""

    name = "$KUBEBUILDER_ASSETS"

    def find(self, names: Collection[str]) -> Mapping[str, Path]:
        folder = os.environ.get("KUBEBUILDER_ASSETS")
        if not folder:
            raise UnavailableError("not set")
        return in_folder(Path(folder), names)


class OnPath:
    """kubectl may be any that is installed; the servers may not, they would be of any version."""

    name = "PATH"

    def find(self, names: Collection[str]) -> Mapping[str, Path]:
        found = shutil.which("kubectl") if "kubectl" in names else None
        return {"kubectl": Path(found)} if found else {}


class Cache:
    """What an earlier run downloaded or built."""

    name = "the cache"

    def find(self, names: Collection[str]) -> Mapping[str, Path]:
        return in_folder(cache_folder(), names)


PROVIDERS: tuple[Provider, ...] = (Assets(), OnPath(), Cache())


def find_programs(providers: Collection[Provider] = PROVIDERS) -> Programs:
    """Find every program, each at the first provider that has it.

    Raises:
        UnavailableError: Some are nowhere; the text says which, and what each provider said.
    """
    found: dict[str, Path] = {}
    used: list[str] = []
    why: list[str] = []
    for provider in providers:
        missing = [name for name in NAMES if name not in found]
        if not missing:
            break
        try:
            more = provider.find(missing)
        except UnavailableError as error:
            why.append(f"{provider.name}: {error}")
            continue
        found.update(more)
        if more:
            used.append(f"{', '.join(more)} from {provider.name}")
    missing = [name for name in NAMES if name not in found]
    if missing:
        raise UnavailableError(f"no {', '.join(missing)} ({'; '.join(why)})")
    return Programs(paths=found, said="; ".join(used))
