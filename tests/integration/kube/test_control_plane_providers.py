"""Where the control plane comes from, and what is said and done where it comes from nowhere."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.control_plane.cluster import ControlPlane
from tests.support.control_plane.download import RELEASES, Download, published_sha256
from tests.support.control_plane.find import find_programs
from tests.support.control_plane.process import Child
from tests.support.control_plane.programs import NAMES, UnavailableError, cache_folder, go_platform
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
NEEDS_ONE = str(HERE / "test_control_plane.py")
COUNT = Path(NEEDS_ONE).read_text(encoding="utf-8").count("\ndef test_")
NEEDS_NONE = f"{__file__}::test_a_checksum_is_found_in_every_form_it_is_published_in"
DIGEST = "a" * 64


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any provider: no Go, nothing cached, downloads from a closed port; its cache."""
    for name in ("KUBEBUILDER_ASSETS", "WORKERPOOL_TEST_KUBECONFIG", "CI", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("WORKERPOOL_TEST_DOWNLOADS", "http://127.0.0.1:1")
    return cache_folder()


def run_pytest(folder: Path, *tests: str, **env: str) -> subprocess.CompletedProcess[str]:
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'inner'}"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ignore(_line: str) -> None:
    """Nobody listens."""


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(("ci", "status"), [("", 0), ("false", 0), ("true", 1)])
def test_tests_without_a_control_plane_are_named_last_and_fail_only_in_ci(tmp_path: Path, ci: str, status: int) -> None:
    done = run_pytest(tmp_path, NEEDS_ONE, NEEDS_NONE, CI=ci)

    *_, told, remedy, totals = done.stdout.splitlines()
    assert told.startswith(f"NOT RUN: {COUNT} tests need a Kubernetes control plane: no etcd, kube-apiserver")
    assert "no go on PATH" in told
    assert "install Go" in remedy
    assert totals.startswith(f"1 passed, {COUNT} deselected")
    assert done.returncode == status


@pytest.mark.usefixtures("bare")
def test_they_are_named_and_fail_in_ci_also_where_several_processes_run_the_tests(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, NEEDS_ONE, NEEDS_NONE, "-n", "2", CI="true")

    assert f"NOT RUN: {COUNT} tests need a Kubernetes control plane" in done.stdout
    assert done.returncode == 1


@pytest.mark.usefixtures("bare")
def test_a_kubeconfig_that_was_named_but_is_of_no_use_stops_everything(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, NEEDS_ONE, WORKERPOOL_TEST_KUBECONFIG=str(tmp_path / "missing"))

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"WORKERPOOL_TEST_KUBECONFIG={tmp_path / 'missing'}" in done.stderr


@pytest.mark.usefixtures("bare", "simulated_nodes")
def test_the_tests_run_on_a_cluster_that_was_named(control_plane: ControlPlane, tmp_path: Path) -> None:
    done = run_pytest(tmp_path, NEEDS_ONE, WORKERPOOL_TEST_KUBECONFIG=str(control_plane.admin_kubeconfig))

    assert done.stdout.splitlines()[-1].startswith(f"{COUNT} passed"), done.stdout


@pytest.mark.usefixtures("bare")
def test_the_ambient_kubeconfig_is_never_used(control_plane: ControlPlane, tmp_path: Path) -> None:
    done = run_pytest(tmp_path, NEEDS_ONE, NEEDS_NONE, KUBECONFIG=str(control_plane.admin_kubeconfig))

    assert f"NOT RUN: {COUNT} tests" in done.stdout


def test_a_checksum_is_found_in_every_form_it_is_published_in() -> None:
    listed = json.dumps({"assets": [{"name": "other", "digest": None}, {"name": "it", "digest": f"sha256:{DIGEST}"}]})
    for text in (DIGEST, f"{DIGEST}\n", f"{'b' * 64}  other\n{DIGEST}  it\n", f"{DIGEST} *it\n", listed):
        assert published_sha256(text, "it") == DIGEST, text
    for text in ("", f"{DIGEST}  other\n{DIGEST}  more\n", listed.replace('"it"', '"more"')):
        assert published_sha256(text, "it") is None, text
    assert published_sha256(listed, "other") is None


@contextmanager
def mirror(folder: Path) -> Iterator[str]:
    """A web server with the files of a folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("honest", [True, False])
def test_a_download_is_kept_only_if_its_checksum_is_right(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, honest: bool
) -> None:
    release = RELEASES["kubectl"].here(*go_platform())
    file = tmp_path / "web" / release.url.removeprefix("https://")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"the program")
    sha256 = hashlib.sha256(b"the program" if honest else b"another").hexdigest()
    file.with_name("kubectl.sha256").write_text(sha256)
    bare.mkdir(parents=True)

    with mirror(tmp_path / "web") as url:
        monkeypatch.setenv("WORKERPOOL_TEST_DOWNLOADS", url)
        if honest:
            assert Download(ignore).find(["kubectl"]) == {"kubectl": bare / "kubectl"}
            assert os.access(bare / "kubectl", os.X_OK)
        else:
            with pytest.raises(UnavailableError, match=r"has SHA-256 \w+, published is"):
                Download(ignore).find(["kubectl"])
            assert list(bare.iterdir()) == []


def test_a_second_run_waits_for_the_first_and_takes_what_it_fetched(bare: Path) -> None:
    bare.mkdir(parents=True)
    said: list[str] = []
    with ThreadPoolExecutor(1) as pool, (bare / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = pool.submit(find_programs, said.append)
        eventually(lambda: said, 10, "the second run says that it waits")
        for name in NAMES:
            (bare / name).touch(mode=0o755)
        fcntl.flock(lock, fcntl.LOCK_UN)
        programs = second.result(10)

    assert programs["etcd"] == bare / "etcd"
    assert programs.said.endswith("from the cache")


def test_a_process_that_ends_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    shell = shutil.which("sh")
    assert shell
    child = Child(Path(shell), ["-c", "echo the port is taken >&2; exit 3"], tmp_path)
    eventually(lambda: not is_running(child), 10, "it ends")

    with pytest.raises(AssertionError, match=r"sh ended with status 3(.|\n)*the port is taken"):
        child.check()
    child.stop()


def is_running(child: Child) -> bool:
    try:
        child.check()
    except AssertionError:
        return False
    return True
