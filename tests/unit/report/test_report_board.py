"""What the board keeps, how it fans out, and what is told of it as JSON and as metrics."""

from __future__ import annotations

import io
import json

import pytest

from tests.unit.report.records import AWAY, EMAIL, START_S, make_notice, make_record
from workerpool_operator.core.decision import Reason
from workerpool_operator.core.observation import Cause, QueueDepth, Unavailable
from workerpool_operator.ports import CycleRecord, Notice, NoticeKind, Outcome, OutcomeKind
from workerpool_operator.report.board import Board, Progress
from workerpool_operator.report.fanout import Sinks, say_on_stderr
from workerpool_operator.report.state import marks, state

pytestmark = pytest.mark.unit


def test_the_history_is_bounded_and_keeps_unknown_apart_from_zero() -> None:
    board = Board(max_points=3)
    for at_s in range(4):
        board.record(make_record(at_s=at_s, ready=at_s))
    board.record(make_record(at_s=4, ready=AWAY, running=AWAY))
    points = board.pools[EMAIL].points
    assert [point.backlog for point in points] == [2, 3, None]
    assert points[-1].running is None
    assert points[-1].time_s == START_S + 4


def test_peaks_and_counts() -> None:
    board = Board()
    up = {"reason": Reason.WORK_WAITING, "target": 4}
    board.record(make_record(ready=38, running=2, oldest_job_s=3.0, **up))  # type: ignore[arg-type]
    board.record(make_record(ready=9, oldest_job_s=9.5, current=4))
    board.record(make_record(current=4, target=0))
    board.record(make_record(outcome=Outcome(kind=OutcomeKind.FAILED, message="no"), **up))  # type: ignore[arg-type]
    for kind in (NoticeKind.REPLICA_STARTED, NoticeKind.REPLICA_CRASHED, NoticeKind.REPLICA_KILLED):
        board.notice(make_notice(kind))
    view = board.pools[EMAIL]
    assert (view.scaled("up"), view.scaled("down")) == (1, 1)
    assert (view.started, view.crashes, view.kills) == (1, 1, 1)
    assert (view.peak_backlog, view.peak_running, view.peak_desired) == (38, 2, 4)
    assert view.longest_oldest_job_s == 9.5
    assert [trouble.kind for trouble in view.troubles] == ["Failed"]


def test_a_broker_that_is_away_is_one_trouble_and_a_first_reading_is_none() -> None:
    board = Board()
    assert board.broker_up is None
    wait = Unavailable(cause=Cause.NOT_YET_READ, message="")
    board.record(make_record(ready=wait, running=wait))
    assert board.broker_up is None
    board.record(make_record(queues={"a": AWAY, "b": AWAY}, running=AWAY))
    assert board.broker_up is False
    assert [trouble.text for trouble in board.pools[EMAIL].troubles] == [AWAY.message]
    board.record(make_record())
    assert board.broker_up is True


def test_a_trouble_of_one_queue_names_it() -> None:
    board = Board()
    wrong = Unavailable(cause=Cause.WRONG_TYPE, message="it is a string, not a list")
    board.record(make_record(queues={"a": QueueDepth(ready=1), "b": wrong}))
    assert [trouble.text for trouble in board.pools[EMAIL].troubles] == ["queue b: it is a string, not a list"]


def test_listeners_hear_of_every_change_until_they_stop() -> None:
    board, heard = Board(), list[int]()
    stop = board.listen(lambda: heard.append(board.version))
    board.record(make_record())
    board.notice(make_notice())
    board.say("hello")
    board.progress = Progress(text="first wave")
    board.progress = Progress(text="first wave")  # no change
    board.forget(EMAIL)
    board.forget(EMAIL)  # no change
    stop()
    stop()
    board.record(make_record())
    assert heard == [1, 2, 3, 4, 5]


class Broken:
    """A sink that fails at everything."""

    def record(self, _record: CycleRecord) -> None:
        raise RuntimeError("first line\nsecond line")

    def notice(self, _notice: Notice) -> None:
        raise RuntimeError


def test_a_failing_sink_is_named_once_and_harms_nobody() -> None:
    first, last, said = Board(), Board(), list[str]()
    sinks = Sinks([first, Broken(), last, Broken()], on_trouble=said.append)
    for _ in range(3):
        sinks.record(make_record())
        sinks.notice(make_notice())
    assert first.version == last.version == 6
    assert len(said) == 2
    assert "Broken" in said[0]
    assert "RuntimeError: first line second line" in said[0]


def test_by_default_trouble_goes_to_stderr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Sinks([Broken()]).record(make_record())
    assert capsys.readouterr().err.count("\n") == 1
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    say_on_stderr("nobody hears this, and that is no failure")


def test_the_state_has_the_log_lines_keys_first_and_only_new_points_when_asked() -> None:
    board = Board(max_points=3)
    for at_s in range(5):
        board.record(make_record(at_s=at_s, ready=at_s))
    whole = state(board)["pools"][0]
    assert list(whole)[:11] == [
        *("time", "pool", "ready", "running", "scheduled", "oldest_job_s"),
        *("current", "target", "reason", "message", "namespace"),
    ]
    assert {key: whole[key] for key in ("min", "max", "busy", "ready_replicas")} == {
        "min": 0,
        "max": 20,
        "busy": 0,
        "ready_replicas": 0,
    }
    assert [point["ready"] for point in whole["history"]] == [2, 3, 4]
    since = marks(board)
    assert state(board, since=since)["pools"][0]["history"] == []
    board.record(make_record(at_s=-100, ready=9))  # the clock was set back
    assert [point["ready"] for point in state(board, since=since)["pools"][0]["history"]] == [9]


def test_the_state_is_json_with_nulls_and_messages_as_they_are() -> None:
    board = Board()
    assert state(board)["broker_up"] is None
    board.notice(make_notice(message="<script>alert(1)</script>"))
    assert state(board)["pools"] == []
    board.record(make_record(ready=AWAY, running=AWAY, busy=None))
    board.progress = Progress(text="second wave", done=40, total=120)
    board.say("a message")
    told = json.loads(json.dumps(state(board)))
    pool = told["pools"][0]
    assert [pool[key] for key in ("ready", "running", "scheduled", "oldest_job_s", "busy")] == [None] * 5
    assert pool["queues"]["email"]["cause"] == "Unreachable"
    assert pool["notices"][0]["message"] == "<script>alert(1)</script>"
    assert pool["notices"][0]["bad"] is True
    assert told["progress"] == {"text": "second wave", "done": 40, "total": 120}
    assert told["messages"] == ["a message"]
