"""What the live view shows, at which sizes."""

from __future__ import annotations

import datetime as dt
import io

import pytest
from rich.console import Console

from tests.unit.report.records import AWAY, EMAIL, make_notice, make_record
from workerpool_operator.core.decision import Reason
from workerpool_operator.ports import PoolKey
from workerpool_operator.report.board import Board, Progress
from workerpool_operator.report.live import LiveView
from workerpool_operator.report.screen import Canvas, Line, compose

pytestmark = pytest.mark.unit


def texts(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def shown(board: Board, *, width: int = 80, height: int = 30, ascii_only: bool = False) -> str:
    canvas = Canvas(width=width, height=height, ascii_only=ascii_only, zone=dt.UTC)
    return "\n".join(texts(compose(board, canvas, title="workerpool local", elapsed_s=65)))


def busy_board(pools: int = 1) -> Board:
    board = Board()
    for at_s in range(60):
        for index in range(pools):
            key = EMAIL if index == 0 else PoolKey(namespace="default", name=f"a-pool-with-a-long-name-{index:03d}")
            work = {"ready": at_s, "running": 2, "oldest_job_s": 3.24, "scheduled": 7, "current": 3, "target": 4}
            why = "38 waiting + 2 running at 10 per replica ask for 4, one more than there are now"
            record = make_record(at_s=at_s, key=key, busy=2, reason=Reason.WORK_WAITING, message=why, **work)  # type: ignore[arg-type]
            board.record(record)
    return board


def test_a_pool_shows_its_work_its_replicas_and_why() -> None:
    lines = shown(busy_board()).splitlines()
    assert lines[0] == "workerpool local · broker up · 1 pool · 1 m 05 s"
    header = next(line for line in lines if line.startswith("POOL"))
    row = next(line for line in lines if line.startswith("email"))
    assert header.split() == [
        "POOL",
        "WAITING",
        "RUNNING",
        "SCHEDULED",
        "OLDEST",
        "BUSY",
        "READY",
        "DESIRED",
        "MIN-MAX",
    ]
    assert row.split() == ["email", "59", "2", "7", "3.2", "s", "2", "3", "4", "0-20"]
    assert "  WorkWaiting  38 waiting + 2 running" in shown(busy_board())
    assert "█" in shown(busy_board())


@pytest.mark.parametrize("width", [40, 80, 100, 112, 140, 200])
@pytest.mark.parametrize("height", [16, 24, 50])
@pytest.mark.parametrize("pools", [1, 3, 40])
def test_it_fits_the_terminal(width: int, height: int, pools: int) -> None:
    board = busy_board(pools)
    for _ in range(9):
        board.notice(make_notice(message="exited with code 1: " + "words " * 40))
    board.say("a message " * 30)
    board.progress = Progress(text="second wave: 40 of 120 orders placed " * 3, done=40, total=120)
    lines = shown(board, width=width, height=height).splitlines()
    assert len(lines) <= height
    if width >= 80:  # below that lines are cut by the terminal
        assert max(len(line) for line in lines) <= width
    assert any(line.startswith("email") for line in lines)


def test_where_not_all_pools_fit_those_in_trouble_come_first_and_the_rest_is_counted() -> None:
    board = busy_board(40)
    last = list(board.pools)[-1]
    board.record(make_record(at_s=61, key=last, ready=AWAY, running=AWAY, reason=Reason.BROKER_UNREADABLE))
    lines = shown(board, height=20).splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("POOL")) + 1
    assert lines[first].split()[1:4] == ["?", "?", "?"]
    assert "more with less to tell" in lines[-1]


def test_problems_are_said_once_with_the_pools_that_have_them_in_red() -> None:
    board = busy_board(5)
    for key in list(board.pools):
        board.record(make_record(at_s=61, key=key, ready=AWAY, running=AWAY, reason=Reason.BROKER_UNREADABLE))
    lines = compose(board, Canvas(width=140, height=40), title="t", elapsed_s=1)
    problems = [line for line in lines if line and AWAY.message in line[0][0]]
    assert len(problems) == 1
    assert problems[0][0][1] == "bold red"
    assert "and 2 more" in problems[0][0][0]
    assert ("broker unreadable", "bold red") in lines[0]


def test_before_the_first_reading_it_says_so() -> None:
    assert "waiting for the first reading of a pool" in shown(Board())
    assert "broker not read yet" in shown(Board())


def test_progress_has_a_bar_or_is_a_text() -> None:
    board = busy_board()
    board.progress = Progress(text="second wave: 40 of 120 orders placed", done=40, total=120)
    assert "second wave: 40 of 120 orders placed  ██████░░░░░░░░░░░░  33%" in shown(board)
    board.progress = Progress(text="waiting for the pool to go back to zero")
    assert "back to zero" in shown(board)
    assert "%" not in shown(board).splitlines()[1]
    board.progress = Progress(text="over", done=200, total=100)
    assert "100%" in shown(board)


def test_names_and_messages_cannot_move_the_cursor() -> None:
    board = Board()
    board.record(make_record(key=PoolKey(namespace="a", name="x\x1b[2J"), message="[red]not markup[/]\x1b]0;title\x07"))
    board.notice(make_notice(message="\x1b[31m\nnext"))
    text = shown(board)
    assert "\x1b" not in text
    assert "[red]not markup[/]" in text


async def test_it_draws_on_a_terminal_and_on_one_without_colour_or_unicode() -> None:
    for environment, encoding in (({}, "utf-8"), ({"NO_COLOR": "1"}, "ascii")):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding)
        console = Console(
            file=stream, force_terminal=True, width=100, height=30, _environ={"TERM": "xterm", **environment}
        )
        board = busy_board()
        board.notice(make_notice(message="naïve … " * 30))
        with LiveView(board, title="t", console=console) as view:
            view.refresh()
            assert not view.closed
        stream.flush()
        drawn = raw.getvalue().decode(encoding)
        assert "email" in drawn
        assert ("\x1b[33m" in drawn) is (not environment)


async def test_a_terminal_that_is_gone_ends_the_drawing_and_not_the_loop() -> None:
    class Gone(io.StringIO):
        gone = False

        def write(self, text: str) -> int:
            if self.gone:
                raise OSError(5, "Input/output error")
            return super().write(text)

    stream = Gone()
    view = LiveView(busy_board(), console=Console(file=stream, force_terminal=True, width=80, height=30, _environ={}))
    view.start()
    stream.gone = True
    await view.run(interval_s=0)
    assert view.closed
    view.stop()
