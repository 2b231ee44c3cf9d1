"""Builds the images, each only when what it is made of has changed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.cluster.errors import CommandError
from tools.cluster.process import run
from tools.cluster.surroundings import build_arguments

ROOT: Final = Path(__file__).resolve().parent.parent.parent
BUILD_S: Final = 1800.0
_LABEL: Final = "dev.workerpool.content"
_LOCKED: Final = ("tools/uv.txt", "pyproject.toml", "uv.lock", "operator/pyproject.toml", "worker/pyproject.toml")


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image of this repository."""

    tag: str
    dockerfile: str
    inputs: tuple[str, ...]
    """Files and folders that the Dockerfile copies, from the repository's root."""


OPERATOR: Final = Image(
    tag="ghcr.io/workerpool/operator:0.1.0",
    dockerfile="operator/Dockerfile",
    inputs=(*_LOCKED, "LICENSE", "operator/src"),
)
WORKER: Final = Image(
    tag="ghcr.io/workerpool/worker:0.1.0",
    dockerfile="worker/Dockerfile",
    inputs=(*_LOCKED, "LICENSE", "worker/src"),
)
SHOP_SERVICES: Final = Image(
    tag="workerpool/shop-services:dev",
    dockerfile="manifests/shop/image/Dockerfile",
    inputs=("manifests/shop/image",),
)
ALL_IMAGES: Final = (OPERATOR, WORKER, SHOP_SERVICES)


@dataclass(frozen=True, kw_only=True)
class Built:
    """What became of one image."""

    image: Image
    was_built: bool
    """False where the one that was there is made of just the same."""


def build(image: Image, *, root: Path = ROOT, env: Mapping[str, str] = os.environ) -> Built:
    """Build the image unless the one of that tag was made of the very same files and base image."""
    arguments = build_arguments(env)
    wanted = content(image, root=root, base=_base(root / image.dockerfile, arguments))
    if wanted == _label(image.tag):
        return Built(image=image, was_built=False)
    command = ["docker", "build", "--file", image.dockerfile, "--tag", image.tag, "--label", f"{_LABEL}={wanted}"]
    for name in arguments:
        # Without a value: docker takes it from its environment, and a proxy's password stays out of the process list.
        command += ["--build-arg", name]
    run([*command, "."], cwd=root, env={"DOCKER_BUILDKIT": "1", **arguments}, timeout_s=BUILD_S)
    return Built(image=image, was_built=True)


def build_all(images: Sequence[Image] = ALL_IMAGES) -> list[str]:
    """Build these images and give their tags."""
    return [build(image).image.tag for image in images]


def content(image: Image, *, root: Path = ROOT, base: str = "") -> str:
    """A hash of all that makes the image: the base image, the Dockerfile, the names, modes and bytes of the files."""
    digest = hashlib.sha256(base.encode())
    for path in _files(root, (image.dockerfile, ".dockerignore", *image.inputs)):
        executable = os.access(path, os.X_OK)
        data = path.read_bytes()
        digest.update(f"\0{path.relative_to(root).as_posix()}\0{executable:d}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def identity(tag: str) -> str | None:
    """The id of the image that Docker has under this tag; None if it has none."""
    try:
        return run(["docker", "image", "inspect", "--format", "{{.Id}}", tag]).strip()
    except CommandError as error:
        if "no such image" in error.said.lower():
            return None
        raise


def _label(tag: str) -> str | None:
    if identity(tag) is None:
        return None
    labels = json.loads(run(["docker", "image", "inspect", "--format", "{{json .Config.Labels}}", tag])) or {}
    found = labels.get(_LABEL)
    return found if isinstance(found, str) else None


def _base(dockerfile: Path, arguments: Mapping[str, str]) -> str:
    """The base image by its id where Docker has it, so that a newer one is noticed, else by its name."""
    default = re.search(r"^ARG BASE_IMAGE=(\S+)", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
    name = arguments.get("BASE_IMAGE") or (default.group(1) if default else "")
    return (identity(name) or name) if name else ""


def _files(root: Path, names: Sequence[str]) -> list[Path]:
    """Every file of these files and folders, in one order, without what Python leaves beside its sources."""
    found: set[Path] = set()
    for name in names:
        start = root / name
        found |= {path for path in start.rglob("*") if path.is_file()} if start.is_dir() else {start}
    return sorted(path for path in found if path.exists() and "__pycache__" not in path.parts)
