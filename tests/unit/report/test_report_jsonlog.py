"""The decision log: its keys, its nulls, and what it does when it cannot write."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.report.records import AWAY, START_S, make_notice, make_record
from workerpool_operator.core.decision import Reason
from workerpool_operator.core.observation import QueueDepth, Unavailable
from workerpool_operator.report.errors import ReportError
from workerpool_operator.report.jsonlog import DecisionLog, decision_line

pytestmark = pytest.mark.unit

KEYS = [
    "time",
    "pool",
    "ready",
    "running",
    "scheduled",
    "oldest_job_s",
    "current",
    "target",
    "reason",
    "message",
    "namespace",
    "trace",
    "outcome",
]


def test_the_keys_and_their_order_are_a_contract() -> None:
    record = make_record(
        ready=38, oldest_job_s=3.2, running=2, scheduled=5, target=4, reason=Reason.WORK_WAITING, message='a "b"\nc'
    )
    entry = json.loads(decision_line(record))
    assert list(entry) == KEYS
    values = [START_S, "email", 38, 2, 5, 3.2, 0, 4, "WorkWaiting", 'a "b"\nc', "default"]
    assert list(entry.values()) == [*values, [], {"kind": "Applied", "message": ""}]
    assert isinstance(entry["time"], float)
    assert "\n" not in decision_line(record)


def test_what_could_not_be_read_is_null_never_zero() -> None:
    entry = json.loads(decision_line(make_record(ready=AWAY, running=AWAY, current=3)))
    assert [entry[key] for key in KEYS[2:6]] == [None] * 4
    assert (entry["current"], entry["target"]) == (3, 3)


def test_a_part_of_a_sum_is_not_the_sum() -> None:
    queues: dict[str, QueueDepth | Unavailable] = {"a": QueueDepth(ready=7, oldest_job_s=9.0), "b": AWAY}
    entry = json.loads(decision_line(make_record(queues=queues, running=1)))
    assert entry["ready"] is None
    assert entry["oldest_job_s"] == 9.0
    assert entry["running"] == 1


def test_every_decision_is_in_the_file_at_once_and_earlier_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text('{"old": 1}\n')
    log = DecisionLog(path)
    log.record(make_record())
    log.record(make_record(at_s=1))
    log.notice(make_notice())
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    assert [json.loads(line)["time"] for line in lines[1:]] == [START_S, START_S + 1]
    log.close()
    log.close()
    log.record(make_record())
    assert len(path.read_text().splitlines()) == 3


def test_a_path_that_cannot_be_opened_is_one_line_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, hint in (
        (tmp_path, "it is a folder; name a file"),
        (tmp_path / "none" / "log", "does not exist; create it"),
        (tmp_path / "file" / "log", "is not a folder"),
        (Path("/proc/none"), "cannot write the decision log"),
        (tmp_path / "a\0b", "choose another file"),
    ):
        with pytest.raises(ReportError) as caught:
            DecisionLog(path)
        text = str(caught.value)
        assert hint in text
        assert repr(str(path)) in text
        assert "\n" not in text


def test_a_read_only_folder_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)  # rights do not hold for root, who may run the tests
    with pytest.raises(ReportError, match="permission denied; choose a file you may write"):
        DecisionLog(tmp_path / "log")


def test_a_full_disk_is_said_once_and_stops_nothing() -> None:
    said: list[str] = []
    log = DecisionLog("/dev/full", on_trouble=said.append)
    for at_s in range(5):
        log.record(make_record(at_s=at_s))
    log.close()
    assert len(said) == 1
    assert "/dev/full" in said[0]
    assert "No space left on device" in said[0]


def test_a_line_cut_by_a_full_disk_is_completed_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [10]
    write = os.write

    def limited(file: int, data: bytes) -> int:
        taken = data[: room[0]]
        if not taken:
            raise OSError(28, "No space left on device")
        room[0] -= len(taken)
        return write(file, taken)

    path, said = tmp_path / "log", list[str]()
    log = DecisionLog(path, on_trouble=said.append)
    monkeypatch.setattr(os, "write", limited)
    log.record(make_record(at_s=0))  # cut after 10 bytes
    log.record(make_record(at_s=1))  # lost
    room[0] = 5
    log.record(make_record(at_s=2))  # lost: the room does not even complete the first
    room[0] = 100_000
    log.record(make_record(at_s=3))
    monkeypatch.undo()
    log.close()
    assert [json.loads(line)["time"] for line in path.read_text().splitlines()] == [START_S, START_S + 3]
    assert len(said) == 2
    assert said[1].endswith("writing again; 2 decisions lost")
