"""The demo as a user runs it, whole and broken on purpose: nothing lost, nothing done twice."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.local_run import SCRIPTS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

KEYS = [
    "jobs_enqueued", "jobs_completed", "jobs_lost", "duplicate_effects", "busy_workers_killed", "peak_replicas",
    "seconds_to_first_replica", "seconds_to_first_job", "max_wait_s", "final_replicas",
]  # fmt: skip


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPTS / "workerpool"), "demo", "--output", "out", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=220, check=False)


def figures(done: subprocess.CompletedProcess[str]) -> dict[str, float]:
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, float] = json.loads(done.stdout)
    assert list(found) == KEYS
    assert found["jobs_enqueued"] == found["jobs_completed"] > 500
    assert found["jobs_lost"] == found["duplicate_effects"] == found["busy_workers_killed"] == 0
    assert found["final_replicas"] == 0
    assert found["peak_replicas"] >= 6
    return found


def decisions(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / "decisions.jsonl").read_text().splitlines()]


def test_a_rush_hour(tmp_path: Path) -> None:
    found = figures(demo(tmp_path, "--json"))
    assert 0 <= found["seconds_to_first_replica"] <= found["seconds_to_first_job"]
    log = decisions(tmp_path)
    for pool in ("email", "order", "payment"):
        course = [d["target"] for d in log if d["pool"] == pool]
        assert course[0] == course[-1] == 0 < max(course)
    assert (tmp_path / "out" / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "out" / "invoices").glob("*.pdf"))) == 200
    assert len(list((tmp_path / "out" / "mails").glob("*.eml"))) == 440


def test_a_worker_killed_in_mid_job(tmp_path: Path) -> None:
    done = demo(tmp_path, "--json", "--chaos", "worker")
    figures(done)
    assert "kill -9 of a busy" in done.stderr
    assert "ReplicaCrashed" in done.stderr


def test_redis_away_for_five_seconds(tmp_path: Path) -> None:
    done = demo(tmp_path, "--chaos", "redis")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    table = {
        cells[1].strip(): cells[2].strip() for line in done.stdout.splitlines() if len(cells := line.split("│")) == 4
    }
    assert table["jobs lost"] == table["done twice"] == "0"
    assert table["sizes held while Redis was away"] == "yes"
    assert int(table["polls until Redis was read again"]) <= 2
    away = [d for d in decisions(tmp_path) if d["reason"] == "BrokerUnreadable"]
    assert len(away) >= 3 * 8, "three pools were blind for about five seconds at two polls a second"
    assert all(d["target"] == d["current"] and d["ready"] is None for d in away)


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    done = demo(tmp_path)
    assert done.returncode == 2
    assert "is not empty and is no demo's folder" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "out" / "thesis.txt").exists()
