"""What probes are told of a heartbeat file, at any time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workerpool_worker.monitoring.health import STALE_S, STARTING_S, health, readiness

pytestmark = pytest.mark.unit

NOW_S = 1_000_000.0


def beaten(file: Path, *, content: str, at_s: float) -> Path:
    file.write_text(content)
    os.utime(file, (at_s, at_s))
    return file


@pytest.mark.parametrize(
    ("content", "age_s", "up_s", "status"),
    [
        ("consuming\n", 1, 10_000, 200),
        ("consuming\n", STALE_S, 10_000, 200),
        ("consuming\n", STALE_S + 1, 10_000, 503),
        ("", STALE_S + 1, STARTING_S - 1, 200),  # a start that takes long
        ("", STALE_S + 1, STARTING_S, 503),
        ("", 1, 10_000, 200),  # waits for its broker, and beats
    ],
)
def test_alive(tmp_path: Path, content: str, age_s: float, up_s: float, status: int) -> None:
    file = beaten(tmp_path / "beat", content=content, at_s=NOW_S - age_s)
    assert health(file, now_s=NOW_S, started_s=NOW_S - up_s)[0] == status


def test_ready_is_a_matter_of_content_whatever_its_age(tmp_path: Path) -> None:
    assert readiness(beaten(tmp_path / "beat", content="", at_s=NOW_S))[0] == 503
    assert readiness(beaten(tmp_path / "beat", content="consuming\n", at_s=0))[0] == 200


def test_no_file_is_told(tmp_path: Path) -> None:
    for status, text in (health(tmp_path / "none", now_s=NOW_S, started_s=NOW_S), readiness(tmp_path / "none")):
        assert (status, text) == (503, "no heartbeat: No such file or directory\n")
