"""The programs that the tests of the chart run. One that is missing fails the tests that need it, by name."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "workerpool"

_REMEDIES = {
    "helm": "install Helm 3.14 or later: https://helm.sh/docs/intro/install/",
    "kubeconform": "install it: go install github.com/yannh/kubeconform/cmd/kubeconform@latest",
    "promtool": "install Prometheus, whose packages bring it along: apt install prometheus, brew install prometheus",
}


def program(name: str) -> str:
    """Where a program is."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not on PATH; {_REMEDIES[name]}", pytrace=False)
    return found


def run(name: str, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run one of the programs to its end, whatever its status."""
    command: Sequence[str] = (program(name), *arguments)
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
