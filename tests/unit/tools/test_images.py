"""An image is built again when, and only when, something it is made of has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.cluster.images import ALL_IMAGES, ROOT, Image, content

IMAGE = Image(tag="x:1", dockerfile="app/Dockerfile", inputs=("lock", "app/src"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "app" / "src" / "deep").mkdir(parents=True)
    (tmp_path / "app" / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "lock").write_text("one\n")
    (tmp_path / "app" / "src" / "deep" / "a.py").write_text("a = 1\n")
    return tmp_path


def edit(root: Path) -> None:
    (root / "app" / "src" / "deep" / "a.py").write_text("a = 2\n")


def add(root: Path) -> None:
    (root / "app" / "src" / "b.py").write_text("")


def rename(root: Path) -> None:
    (root / "app" / "src" / "deep" / "a.py").rename(root / "app" / "src" / "deep" / "c.py")


def make_executable(root: Path) -> None:
    (root / "app" / "src" / "deep" / "a.py").chmod(0o755)


def edit_dockerfile(root: Path) -> None:
    (root / "app" / "Dockerfile").write_text("FROM scratch\nUSER 1\n")


def edit_lock(root: Path) -> None:
    (root / "lock").write_text("two\n")


def ignore_more(root: Path) -> None:
    (root / ".dockerignore").write_text("**/a.py\n")


@pytest.mark.parametrize("change", [edit, add, rename, make_executable, edit_dockerfile, edit_lock, ignore_more])
def test_what_is_copied_counts(root: Path, change: Callable[[Path], None]) -> None:
    before = content(IMAGE, root=root)
    change(root)
    assert content(IMAGE, root=root) != before


def test_a_newer_base_image_counts(root: Path) -> None:
    assert content(IMAGE, root=root, base="sha256:1") != content(IMAGE, root=root, base="sha256:2")


def test_bytecode_and_what_is_not_copied_do_not_count(root: Path) -> None:
    before = content(IMAGE, root=root)
    (root / "app" / "src" / "__pycache__").mkdir()
    (root / "app" / "src" / "__pycache__" / "a.pyc").write_bytes(b"1")
    (root / "app" / "README.md").write_text("more\n")
    (root / "lock").touch()
    assert content(IMAGE, root=root) == before


@pytest.mark.parametrize("image", ALL_IMAGES, ids=lambda image: image.tag)
def test_everything_a_dockerfile_copies_is_among_its_inputs(image: Image) -> None:
    lines = (ROOT / image.dockerfile).read_text().splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from=" not in line]
    copied = {name.rstrip("/") for names in copies for name in names}
    assert copied
    uncovered = [n for n in copied if not any(n == i or n.startswith(f"{i}/") for i in image.inputs)]
    assert uncovered == []
    assert [name for name in image.inputs if not (ROOT / name).exists()] == []
