"""The how-to's code is taken from the page and run: what a reader types works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workerpool_worker import api

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[3] / "docs" / "own-jobs.md"
WORKER = str(Path(sys.executable).with_name("workerpool-worker"))


def files() -> dict[str, str]:
    """The code blocks that begin with the name of their file."""
    blocks = re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return dict(blocks)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    jobs = tmp_path / "jobs"
    (jobs / "shop_jobs").mkdir(parents=True)
    (jobs / "shop_jobs" / "__init__.py").touch()
    for name, code in files().items():
        (jobs / name).write_text(code)
    return tmp_path


def done(folder: Path, *command: str) -> str:
    environment = {
        "PYTHONPATH": str(folder / "jobs"),
        "WORKERPOOL_JOBS": "shop_jobs.jobs:JOBS",
        "PATH": os.environ["PATH"],
    }
    ended = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_page_has_a_job_its_code_and_its_test() -> None:
    assert list(files()) == ["shop_jobs/jobs.py", "shop_jobs/review.py", "test_review.py"]


def test_the_pages_test_passes(folder: Path) -> None:
    assert "1 passed" in done(folder, sys.executable, "-m", "pytest", "-p", "no:asyncio", "jobs")


def test_the_worker_lists_the_pages_job_as_the_page_says(folder: Path) -> None:
    line = done(folder, WORKER, "tasks").splitlines()[-1]
    assert line.startswith("shop.ask_for_review ")
    assert " ".join(line.split()) in " ".join(PAGE.read_text().split())


def test_every_public_name_is_on_the_page() -> None:
    text = PAGE.read_text()
    # An effect is what `context.effect` gives, and business ids are the field `id`.
    assert [name for name in api.__all__ if name not in text and name not in {"Effect", "BusinessId"}] == []


def test_a_module_of_messages_costs_the_parent_neither_celery_nor_the_database() -> None:
    program = (
        "import sys, catalogue_sync.jobs, workerpool_worker.api as api\n"
        "print([name for name in ('sqlalchemy', 'celery', 'kombu', 'urllib3', 'catalogue_sync.sync') "
        "if name in sys.modules])\n"
        "print([name for name in api.__all__ if getattr(api, name, None) is None])"
    )
    path = str(Path(__file__).parents[3] / "examples" / "catalogue-sync")
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env={"PYTHONPATH": path}
    )
    assert done.stdout == "[]\n[]\n"
