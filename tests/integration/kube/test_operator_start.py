"""What keeps the operator from starting is said in one line."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.control_plane.kubeconfig import write_kubeconfig
from tests.support.control_plane.local import free_port
from tests.support.local_run import SCRIPTS

pytestmark = pytest.mark.integration


def started(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPTS / "workerpool"), "operator", "--host", "127.0.0.1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def only_line(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 2, run
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    assert not run.stdout, run.stdout
    assert lines[0].startswith("workerpool operator: ")
    return lines[0]


def test_a_kubeconfig_that_does_not_exist(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.kubeconfig"
    assert str(missing) in only_line(started("--port", "0", "--kubeconfig", str(missing)))


def test_a_kubeconfig_that_is_none(tmp_path: Path) -> None:
    broken = tmp_path / "broken.kubeconfig"
    broken.write_text("clusters: [")
    assert str(broken) in only_line(started("--port", "0", "--kubeconfig", str(broken)))


def test_a_worker_image_that_is_none() -> None:
    assert "--worker-image: 'two words' is not an image reference" in only_line(started("--worker-image", "two words"))


def test_an_api_server_that_refuses_connections(tmp_path: Path) -> None:
    url = f"https://127.0.0.1:{free_port()}"
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", url=url, ca_file=None, token="x")
    assert url.removeprefix("https://") in only_line(started("--port", "0", "--kubeconfig", str(kubeconfig)))


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", url="https://127.0.0.1:1", ca_file=None, token="x")
        assert f"port {port}" in only_line(started("--port", port, "--kubeconfig", str(kubeconfig)))
