"""What is missing is said in one line, before anything is done."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tools.cluster import needs
from tools.cluster.__main__ import main
from tools.cluster.errors import ClusterError


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH; ``/bin/sh`` needs none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_every_missing_program_is_named_with_where_to_get_it(only: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(only, "docker", "exit 0")
    program(only, "kubectl", "exit 0")
    assert main(["up", "--name", "nobody"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("workerpool: not installed: kind (https://kind.sigs.k8s.io/")
    assert "helm (https://helm.sh/" in said
    assert "kubectl (" not in said
    assert said.count("\n") == 1


def test_a_docker_that_does_not_run_is_said_so(only: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(only, "docker", "echo 'Cannot connect to the Docker daemon at unix:///x. Is it running?' >&2; exit 1")
    assert main(["images"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("Docker does not run. Start it")


def test_a_disk_that_is_nearly_full_is_refused(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(only, "docker", f"echo {only}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100 * 1024**3, 98 * 1024**3, 2 * 1024**3))
    with pytest.raises(ClusterError, match=r"has 2\.0 GiB free; 5 are needed\. `docker system prune`"):
        needs.check("docker")


def test_a_docker_on_another_machine_is_not_measured(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(only, "docker", "echo /no/such/folder/here")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 0))
    needs.check("docker")
