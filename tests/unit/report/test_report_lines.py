"""Plain lines: when one is printed, what it says, and what happens when nobody reads."""

from __future__ import annotations

import datetime as dt
import io

import pytest

from tests.unit.report.records import AWAY, make_notice, make_record
from workerpool_operator.core.decision import Reason
from workerpool_operator.core.observation import Cause, Unavailable
from workerpool_operator.ports import Outcome, OutcomeKind, PoolKey
from workerpool_operator.report.lines import PlainLines

pytestmark = pytest.mark.unit


class Printed:
    """Plain lines and what they printed since the last look."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.lines = PlainLines(self.stream, zone=dt.UTC)

    def take(self) -> list[str]:
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return text.splitlines()


def test_a_change_of_size_reads_like_a_sentence() -> None:
    out = Printed()
    out.lines.record(
        make_record(ready=38, target=4, reason=Reason.WORK_WAITING, message="38 waiting + 2 running at 10 per replica")
    )
    assert out.take() == [
        "22:13:20 email      0 -> 4  WorkWaiting       38 waiting + 2 running at 10 per replica",
    ]


def test_nothing_is_printed_while_nothing_changes() -> None:
    out = Printed()
    for at_s in range(100):
        out.lines.record(make_record(at_s=at_s, message=f"wording {at_s}"))
    assert len(out.take()) == 1


def test_size_and_reason_changes_are_printed_and_flips_of_the_reason_are_held_back() -> None:
    out = Printed()
    busy = {"current": 2, "ready": 1}
    out.lines.record(make_record(reason=Reason.WORK_WAITING, current=2, ready=1))
    for at_s in (0.1, 0.2, 0.3):
        out.lines.record(make_record(at_s=at_s, reason=Reason.KEEPING_UP, current=2, ready=1))
    assert len(out.take()) == 1
    out.lines.record(make_record(at_s=1.5, reason=Reason.KEEPING_UP, current=2, ready=1))
    assert "KeepingUp" in out.take()[0]
    out.lines.record(make_record(at_s=1.6, reason=Reason.KEEPING_UP, target=3, **busy))  # type: ignore[arg-type]
    assert "2 -> 3" in out.take()[0]


def test_the_same_failed_move_is_one_line_and_a_repeated_success_is_two() -> None:
    out = Printed()
    failed = Outcome(kind=OutcomeKind.FAILED, message="out of quota")
    for at_s in range(3):
        out.lines.record(make_record(at_s=at_s, target=4, reason=Reason.WORK_WAITING, outcome=failed))
    lines = out.take()
    assert len(lines) == 2
    assert "scaling failed: out of quota" in lines[1]
    out.lines.record(make_record(at_s=4, current=4, reason=Reason.WORK_WAITING))
    assert "Recovered" in out.take()[1]
    out.lines.record(make_record(at_s=5, current=3, target=4, reason=Reason.WORK_WAITING))
    assert "3 -> 4" in out.take()[0]


def test_broker_trouble_is_said_once_however_it_is_worded_and_so_is_its_end() -> None:
    out = Printed()
    out.lines.record(make_record())
    out.take()
    for at_s in range(1, 9):
        away = Unavailable(cause=Cause.TIMEOUT, message=f"no answer for {at_s} s")
        out.lines.record(make_record(at_s=at_s, ready=away, running=away, reason=Reason.BROKER_UNREADABLE))
    lines = out.take()
    assert len(lines) == 2
    assert "Problem           no answer for 1 s" in lines[1]
    out.lines.record(make_record(at_s=9))
    assert "Recovered" in out.take()[1]


def test_a_first_reading_under_way_is_not_trouble() -> None:
    out = Printed()
    wait = Unavailable(cause=Cause.NOT_YET_READ, message="nothing was read so far")
    out.lines.record(make_record(ready=wait, running=wait, reason=Reason.BROKER_UNREADABLE))
    assert len(out.take()) == 1


def test_a_busy_pool_beats_every_ten_seconds_with_its_numbers() -> None:
    out = Printed()
    for at_s in range(25):
        out.lines.record(
            make_record(at_s=at_s, ready=12, oldest_job_s=65, running=3, scheduled=1, current=2, ready_replicas=1)
        )
    lines = out.take()
    assert len(lines) == 3
    assert lines[1].endswith("12 waiting, 3 running, 1 scheduled, oldest 1 m 05 s, 1 of 2 ready")


def test_an_unreadable_pool_beats_with_question_marks() -> None:
    out = Printed()
    for at_s in (0, 10):
        out.lines.record(make_record(at_s=at_s, ready=AWAY, running=AWAY, current=2))
    assert "? waiting, ? running" in out.take()[-1]


def test_notices_and_messages_are_lines_and_namespaces_show_where_there_are_two() -> None:
    out = Printed()
    out.lines.notice(make_notice(message="exited with 1\n\x1b[31mred"))
    out.lines.say("log is full")
    out.lines.record(make_record(key=PoolKey(namespace="shop", name="email")))
    first, second, third = out.take()
    assert "ReplicaCrashed    exited with 1 [31mred" in first
    assert second == "log is full"
    assert "shop/email" in third


def test_a_closed_pipe_ends_it_quietly() -> None:
    class Pipe(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    ended: list[int] = []
    lines = PlainLines(Pipe(), on_closed=lambda: ended.append(1))
    lines.record(make_record())
    lines.notice(make_notice())
    assert lines.closed
    assert ended == [1]


def test_a_full_disk_behind_a_redirection_loses_a_line_and_no_more() -> None:
    class Disk(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    disk = Disk()
    lines = PlainLines(disk)
    lines.say("lost")
    disk.full = False
    lines.say("kept")
    assert not lines.closed
    assert disk.getvalue() == "kept\n"


def test_characters_that_the_output_does_not_have_are_replaced() -> None:
    raw = io.BytesIO()
    lines = PlainLines(io.TextIOWrapper(raw, encoding="ascii"))
    lines.record(make_record(message="naïve …"))
    assert raw.getvalue().rstrip().endswith(b"na?ve ?")
