"""The supervisor of the images for Tilt: real programs, started again when their code changes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import eventually
from tools.cluster.reload.reload import copy_code

SUPERVISE = """
import sys
from pathlib import Path
from tools.cluster.reload.reload import Supervisor
sys.exit(Supervisor([sys.executable, "-m", "app"], Path(sys.argv[1])).run())
"""
SERVES = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit({status}))
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("{says}", child.pid, flush=True)
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    (tmp_path / "copy" / "app").mkdir(parents=True)
    (tmp_path / "copy" / "app" / "__init__.py").touch()
    return tmp_path / "copy"


Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(copy: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start_it(code: str) -> subprocess.Popen[bytes]:
        (copy / "app" / "__main__.py").write_text(code)
        with (tmp_path / "out").open("wb") as out:
            command = [sys.executable, "-c", SUPERVISE, str(copy)]
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        started.append(process)
        return process

    yield start_it
    for process in started:
        process.kill()
        process.wait()


def said(copy: Path) -> str:
    return (copy.parent / "out").read_text()


def is_running(pid: int) -> bool:
    """Whether the process lives; one that is dead and not yet collected does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_change_starts_the_program_again_and_takes_its_children_along(copy: Path, start: Start) -> None:
    process = start(SERVES.format(says="first", status=0))
    eventually(lambda: "first" in said(copy), 20, "the first start")
    child = int(said(copy).split("first ")[1].split()[0])
    assert is_running(child)

    (copy / "app" / "__main__.py").write_text(SERVES.format(says="second", status=0))

    eventually(lambda: "second" in said(copy), 20, "the second start")
    eventually(lambda: not is_running(child), 5, "the end of the first one's child")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_an_edit_that_does_not_start_waits_for_the_next_one(copy: Path, start: Start) -> None:
    process = start(SERVES.format(says="first", status=0))
    eventually(lambda: "first" in said(copy), 20, "the first start")
    (copy / "app" / "__main__.py").write_text("this is no Python\n")
    eventually(lambda: "waiting for the next change" in said(copy), 20, "the failed start")
    assert process.poll() is None
    (copy / "app" / "__main__.py").write_text(SERVES.format(says="mended", status=0))
    eventually(lambda: "mended" in said(copy), 20, "the start after the next edit")


def test_code_that_nobody_edited_ends_the_pod_with_its_own_status(start: Start) -> None:
    assert start("raise SystemExit(3)\n").wait(20) == 3


def test_the_programs_answer_to_sigterm_is_the_supervisors(copy: Path, start: Start) -> None:
    process = start(SERVES.format(says="first", status=7))
    eventually(lambda: "first" in said(copy), 20, "the start")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 7


def test_the_copy_keeps_what_was_written_into_it_first(tmp_path: Path) -> None:
    shipped, copy = tmp_path / "shipped", tmp_path / "copy"
    for name in ("__init__.py", "a.py", "b.py", "__pycache__/a.pyc"):
        path = shipped / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("shipped")
    (shipped / "app-0.1.dist-info").mkdir()
    (copy / "app").mkdir(parents=True)
    (copy / "app" / "a.py").write_text("edited")

    copy_code(shipped, copy)

    assert (copy / "app" / "a.py").read_text() == "edited"
    assert (copy / "app" / "b.py").read_text() == "shipped"
    assert sorted(path.name for path in (copy / "app").iterdir()) == ["__init__.py", "a.py", "b.py"]

    (copy / "app" / "b.py").unlink()
    copy_code(shipped, copy)  # the container starts again in the same pod
    assert not (copy / "app" / "b.py").exists()
