"""What a command becomes before it is started, what logs say, how exits and messages to the guardian read."""

from __future__ import annotations

from pathlib import Path

import pytest

from workerpool_operator.local.guardian import Ward, apply
from workerpool_operator.local.launch import expand
from workerpool_operator.local.logs import LogFollower, last_line
from workerpool_operator.local.replica import describe_exit, was_killed

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("argument", "expanded"),
    [
        ("$(WORKERPOOL_REPLICA)@%h", "email-1@%h"),
        ("$(NOBODY)", "$(NOBODY)"),
        ("$$(WORKERPOOL_REPLICA)", "$(WORKERPOOL_REPLICA)"),
        ("$WORKERPOOL_REPLICA $(date", "$WORKERPOOL_REPLICA $(date"),
        ("$(EMPTY)x", "x"),
    ],
)
def test_variables_are_replaced_as_kubernetes_does(argument: str, expanded: str) -> None:
    assert expand([argument], {"WORKERPOOL_REPLICA": "email-1", "EMPTY": ""}) == [expanded]


@pytest.mark.parametrize(
    ("text", "since", "line"),
    [
        ("a\nb\n\n  \n", 0, "b"),
        ("Traceback\nValueError: no", 0, "ValueError: no"),
        ("of an earlier life\n", 19, ""),
        ("", 0, ""),
        ("x" * 20_000, 0, "x" * 8192),
    ],
)
def test_the_last_words_of_a_process(tmp_path: Path, text: str, since: int, line: str) -> None:
    log = tmp_path / "email-1.log"
    log.write_text(text)
    assert last_line(log, since_bytes=since) == line


def test_no_log_no_last_words(tmp_path: Path) -> None:
    assert last_line(tmp_path / "none", since_bytes=0) == ""


def test_a_log_is_followed_line_by_line(tmp_path: Path) -> None:
    log = tmp_path / "email-1.log"
    follower = LogFollower(log, since_bytes=0)
    assert follower.new_lines() == []
    with log.open("ab", buffering=0) as file:
        file.write(b"one\ntw")
        assert follower.new_lines() == ["one"]
        file.write(b"o\r\nthr\xffee")
        assert follower.new_lines() == ["two"]
        assert follower.new_lines(final=True) == ["thr\ufffdee"]


def test_a_line_without_end_is_given_in_pieces(tmp_path: Path) -> None:
    log = tmp_path / "email-1.log"
    log.write_bytes(b"x" * 200_000)
    follower = LogFollower(log, since_bytes=0)
    assert sum(len(line) for line in follower.new_lines(final=True)) == 200_000


@pytest.mark.parametrize(
    ("status", "words", "killed"),
    [
        (0, "exited with status 0", False),
        (3, "exited with status 3", False),
        (137, "exited with status 137", True),
        (-9, "was ended by SIGKILL", True),
        (-15, "was ended by SIGTERM", False),
        (-63, "was ended by signal 63", False),
    ],
)
def test_how_an_end_reads(status: int, words: str, killed: bool) -> None:
    assert describe_exit(status) == words
    assert was_killed(status) is killed


def test_the_guardian_understands_its_messages_and_survives_half_a_one() -> None:
    wards: dict[int, Ward] = {}
    for line in (
        "+ 10 2.5\n",
        "+ 11 30\n",
        "l 12 5\n",
        "t 10\n",
        "- 11\n",
        "t 99\n",
        "- 99\n",
        "\n",
        "+ 1",
        "+",
        "? 1",
    ):
        apply(wards, line)
    assert wards == {10: Ward(grace_s=2.5, told=True), 12: Ward(grace_s=5.0, last=True)}
