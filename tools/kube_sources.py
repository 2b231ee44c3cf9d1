"""Files of published versions: out of Go modules, or from the same tags on GitHub.

A module needs a Go toolchain and a module proxy, and is checked against Go's checksum database. It comes first.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_MIRROR = "WORKERPOOL_TEST_DOWNLOADS"  # as for the tests' control plane, see docs/testing.md
_DOWNLOAD_S = 30
_GO_S = 10 * 60


class SchemaError(Exception):
    """The schemas cannot be had here. The text says what was tried, and what to install."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A published version: the Go module and the repository of the same content."""

    module: str
    repository: str
    version: str
    files: Sequence[str]


def fetch(source: Source) -> Mapping[str, bytes]:
    """The files of a source.

    Raises:
        SchemaError: Neither Go nor a download gives them.
    """
    why = []
    for way in (_from_go, _from_github):
        try:
            return way(source)
        except SchemaError as error:
            why.append(str(error))
    what = f"{source.module} v{source.version}"
    remedy = "install Go (https://go.dev/dl/), or reach raw.githubusercontent.com"
    raise SchemaError(f"no schemas of {what}: {'; '.join(why)}. Any one makes it work: {remedy}")


def _from_go(source: Source) -> Mapping[str, bytes]:
    """Out of a module, in a module cache of its own: unpacked, Kubernetes takes 80 MB a version."""
    go = shutil.which("go")
    if go is None:
        raise SchemaError("no go on PATH")
    with tempfile.TemporaryDirectory(prefix="workerpool-") as scratch:
        own = {"GOMODCACHE": f"{scratch}/modules", "GOFLAGS": "-modcacherw", "GOWORK": "off"}
        command = [go, "mod", "download", "-json", f"{source.module}@v{source.version}"]
        try:
            done = subprocess.run(
                command,
                cwd=scratch,
                env={**os.environ, **own},
                capture_output=True,
                text=True,
                timeout=_GO_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SchemaError(f"go mod download took more than {_GO_S} s") from error
        if done.returncode != 0:
            raise SchemaError(f"go mod download: {_error_of(done.stdout) or done.stderr.strip()}")
        folder = Path(json.loads(done.stdout)["Dir"])
        return {file: (folder / file).read_bytes() for file in source.files}


def _error_of(answer: str) -> str:
    try:
        return str(json.loads(answer).get("Error", ""))
    except ValueError:
        return ""


def _from_github(source: Source) -> Mapping[str, bytes]:
    host = "https://raw.githubusercontent.com"
    mirror = os.environ.get(_MIRROR)
    if mirror == "":
        raise SchemaError(f"{_MIRROR} is empty: downloads are turned off")
    if mirror is not None:
        host = f"{mirror.rstrip('/')}/{host.removeprefix('https://')}"
    found = {}
    for file in source.files:
        url = f"{host}/{source.repository}/v{source.version}/{file}"
        try:
            with urllib.request.urlopen(url, timeout=_DOWNLOAD_S) as answer:  # noqa: S310 - our own table's
                found[file] = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise SchemaError(f"{url}: {error}") from error
    return found
