"""Official releases, checked against the checksums that are published with them."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from .programs import ETCD, KUBERNETES, KWOK, UNFINISHED, UnavailableError, cache_folder, go_platform

QUIET_S = 6  # without a byte for so long, connecting or reading, a download has failed
MIRROR = "WORKERPOOL_TEST_DOWNLOADS"
_KUBERNETES = f"https://dl.k8s.io/release/v{KUBERNETES}/bin/{{system}}/{{machine}}"
_ETCD = f"https://github.com/etcd-io/etcd/releases/download/v{ETCD}"
_KWOK = f"kubernetes-sigs/kwok/releases/download/v{KWOK}"


@dataclass(frozen=True, kw_only=True)
class Release:
    """Where a program and its SHA-256 are published; ``member`` is its place in an archive."""

    url: str
    sums: str
    member: str | None = None

    def here(self, system: str, machine: str) -> Release:
        """The release for a platform."""

        def fill(text: str) -> str:
            return text.replace("{system}", system).replace("{machine}", machine)

        return Release(url=fill(self.url), sums=fill(self.sums), member=self.member and fill(self.member))


def _kubernetes(name: str) -> Release:
    return Release(url=f"{_KUBERNETES}/{name}", sums=f"{_KUBERNETES}/{name}.sha256")


RELEASES = {
    "etcd": Release(
        url=f"{_ETCD}/etcd-v{ETCD}-{{system}}-{{machine}}.tar.gz",
        sums=f"{_ETCD}/SHA256SUMS",
        member=f"etcd-v{ETCD}-{{system}}-{{machine}}/etcd",
    ),
    # kwok publishes no file of checksums; GitHub states the digest of each file of a release.
    "kwok": Release(
        url=f"https://github.com/{_KWOK}/kwok-{{system}}-{{machine}}",
        sums=f"https://api.github.com/repos/kubernetes-sigs/kwok/releases/tags/v{KWOK}",
    ),
    "kubectl": _kubernetes("kubectl"),
    "kube-apiserver": _kubernetes("kube-apiserver"),
    "kube-controller-manager": _kubernetes("kube-controller-manager"),
    "kube-scheduler": _kubernetes("kube-scheduler"),
}


class Download:
    """Downloads into the cache."""

    name = "official releases"

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def find(self, names: Collection[str]) -> Mapping[str, Path]:
        """Download each of the programs; the first failure ends it, what came before it stays in the cache."""
        system, machine = go_platform()
        if system != "linux":
            raise UnavailableError("the servers are released for Linux only")
        folder, found = cache_folder(), {}
        for name in names:
            release = RELEASES[name].here(system, machine)
            try:
                found[name] = self._fetch(release, folder / name)
            except (OSError, http.client.HTTPException, tarfile.TarError, KeyError) as error:
                raise UnavailableError(f"{release.url}: {error}") from error
        return found

    def _fetch(self, release: Release, target: Path) -> Path:
        file_name = release.url.rpartition("/")[2]
        with _open(release.sums) as answer:
            wanted = published_sha256(answer.read().decode(), file_name)
        if wanted is None:
            raise UnavailableError(f"{release.sums} has no SHA-256 of {file_name}")
        self._say(f"downloading {release.url}")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=UNFINISHED) as folder:
            file = Path(folder) / file_name
            got = _save(release.url, file)
            if got != wanted:
                raise UnavailableError(f"{release.url} has SHA-256 {got}, published is {wanted}")
            if release.member is not None:
                file = _unpack(file, release.member)
            file.chmod(0o755)
            return file.replace(target)


def published_sha256(text: str, file_name: str) -> str | None:
    """The SHA-256 of a file in a SHA256SUMS, in a file that holds just one, or in GitHub's list of a release."""
    if text.startswith("{"):
        digests = {one["name"]: str(one.get("digest") or "") for one in json.loads(text)["assets"]}
        return digests.get(file_name, "").removeprefix("sha256:") or None
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if [len(words) for words in lines] == [1]:
        return lines[0][0]
    return next((words[0] for words in lines if words[-1].lstrip("*") == file_name), None)


def _open(url: str) -> http.client.HTTPResponse:
    mirror = os.environ.get(MIRROR)
    if mirror == "":
        raise UnavailableError(f"{MIRROR} is empty: turned off")
    if mirror is not None:
        url = f"{mirror.rstrip('/')}/{url.removeprefix('https://')}"
    response: http.client.HTTPResponse = urllib.request.urlopen(url, timeout=QUIET_S)  # noqa: S310 - our own table's
    return response


def _save(url: str, file: Path) -> str:
    """Save what is at an address; its SHA-256."""
    digest = hashlib.sha256()
    with _open(url) as answer, file.open("wb") as out:
        while part := answer.read(1 << 20):
            digest.update(part)
            out.write(part)
    return digest.hexdigest()


def _unpack(archive: Path, member: str) -> Path:
    with tarfile.open(archive) as tar:
        content = tar.extractfile(member)
        if content is None:
            raise UnavailableError(f"{member} is no file")
        with content:
            program = archive.with_name("program")
            program.write_bytes(content.read())
            return program
