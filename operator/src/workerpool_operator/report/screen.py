"""What the live terminal view shows, as lines of styled text that fit a width and a height. Pure; ``live`` draws it."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from workerpool_operator.core.decision import Reason
from workerpool_operator.ports import Notice, NoticeKind
from workerpool_operator.report.board import Board, PoolView, Progress
from workerpool_operator.report.humanise import clock, count, duration, one_line, plural, shorten
from workerpool_operator.report.numbers import Numbers
from workerpool_operator.report.sparkline import resample, sparkline

Line = tuple[tuple[str, str], ...]
"""Pairs of text and style; a style is words such as ``bold red``, or empty."""

BAD_NOTICES = frozenset({NoticeKind.REPLICA_CRASHED, NoticeKind.REPLICA_KILLED, NoticeKind.START_FAILED})
"""Notices that a person should look at."""

_WIDE = 112
_MAX_NOTICES = 4
_MAX_PROBLEM_LINES = 3
_SHORT_LINES = 2
_TALL = 24
_QUIET = frozenset({Reason.IDLE.value, Reason.AT_MINIMUM.value, Reason.SCHEDULED_MINIMUM.value})
_COLUMNS = (("WAITING", 9), ("RUNNING", 9), ("SCHEDULED", 11), ("OLDEST", 10))
_REPLICA_COLUMNS = (("BUSY", 6), ("READY", 7), ("DESIRED", 9), ("MIN-MAX", 10))
_COLUMNS_WIDTH = sum(width for _, width in (*_COLUMNS, *_REPLICA_COLUMNS))


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """What there is to draw on. ``window_s`` is how many seconds the small graphs reach back."""

    width: int
    height: int
    ascii_only: bool = False
    window_s: float = 120.0
    zone: dt.tzinfo | None = None

    @property
    def name_width(self) -> int:
        """The columns that a pool's name has."""
        spare = min(self.width, _WIDE) - _COLUMNS_WIDTH - 1
        return max(6, min(spare, 24))


def compose(board: Board, canvas: Canvas, *, title: str, elapsed_s: float) -> list[Line]:
    """All lines of the view, at most ``canvas.height`` of them where two pools fit at all."""
    head = [_title(board, canvas, title, elapsed_s)]
    if board.progress:
        head.append(_progress(board.progress, canvas))
    head += _problems(board, canvas)
    head += [(), _header(canvas)]
    foot = _footer(board, canvas)
    views = [view for view in board.pools.values() if view.record]
    if not views:
        return [*head[:-2], (), (("  waiting for the first reading of a pool", "dim"),), *foot]
    return [*head, *_pools(views, canvas, canvas.height - len(head) - len(foot) - 1), *foot]


def _title(board: Board, canvas: Canvas, title: str, elapsed_s: float) -> Line:
    dot = " - " if canvas.ascii_only else " · "
    if board.broker_up is None:
        broker = ("broker not read yet", "dim")
    elif board.broker_up:
        broker = ("broker up", "green")
    else:
        partly = any(view.broker_up for view in board.pools.values())
        broker = ("broker partly unreadable" if partly else "broker unreadable", "bold red")
    rest = f"{dot}{plural(len(board.pools), 'pool')}{dot}{duration(elapsed_s)}"
    return ((one_line(title), "bold"), (dot, "dim"), broker, (rest, "dim"))


def _progress(progress: Progress, canvas: Canvas) -> Line:
    text = one_line(progress.text)
    if progress.total <= 0:
        return ((shorten(text, canvas.width), "cyan"),)
    share = min(1.0, max(0.0, progress.done / progress.total))
    bar_width = 30 if canvas.width >= _WIDE else 18
    text = shorten(text, canvas.width - bar_width - 9)
    full, empty = ("#", "-") if canvas.ascii_only else ("█", "░")
    filled = round(share * bar_width)
    return (
        (text + "  ", "cyan"),
        (full * filled, "cyan"),
        (empty * (bar_width - filled), "dim"),
        (f" {share:4.0%}", "cyan"),
    )


def _problems(board: Board, canvas: Canvas) -> list[Line]:
    """Every problem once, with the pools that have it: what to do is read there, not once a pool."""
    pools: dict[str, list[str]] = {}
    for view in board.pools.values():
        for trouble in view.troubles:
            pools.setdefault(one_line(trouble.text), []).append(view.key.name)
    lines: list[Line] = []
    for text, names in pools.items():
        who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004
        wrapped = _wrap(f"! {who}: {text}", canvas.width, indent="  ", max_lines=_MAX_PROBLEM_LINES)
        lines += [((part, "bold red"),) for part in wrapped]
    return lines[: 2 * _MAX_PROBLEM_LINES]


def _header(canvas: Canvas) -> Line:
    names = "".join(f"{name:>{width}}" for name, width in (*_COLUMNS, *_REPLICA_COLUMNS))
    text = f"{'POOL':<{canvas.name_width}}{names}"
    if canvas.width >= _WIDE:
        waiting, replicas = _spark_widths(canvas)
        text += f"   {'WAITING':<{waiting}}  {'REPLICAS':<{replicas}}"
    return ((text.ljust(canvas.width)[: canvas.width], "dim underline"),)


def _pools(views: Sequence[PoolView], canvas: Canvas, room: int) -> list[Line]:
    """Every pool in full where there is room, else in short; where even that is too much, those that need a look."""
    full = [line for view in views for line in (*_pool(view, canvas, full=True), ())]
    if len(full) <= room:
        return full
    shown = list(views)
    if _SHORT_LINES * len(views) > room:
        shown = sorted(views, key=_attention)[: max(1, (room - 1) // _SHORT_LINES)]
    lines = [line for view in shown for line in _pool(view, canvas, full=False)]
    if len(shown) < len(views):
        lines.append(((f"  and {plural(len(views) - len(shown), 'pool')} more with less to tell", "dim"),))
    return lines


def _attention(view: PoolView) -> tuple[bool, bool, int]:
    now = view.now
    waiting = (now.ready or 0) + (now.running or 0) if now else 0
    return (not view.troubles, now is None or now.reason in _QUIET, -waiting)


def _pool(view: PoolView, canvas: Canvas, *, full: bool) -> list[Line]:
    now = view.now
    if now is None:
        return []
    wide = canvas.width >= _WIDE
    waiting, replicas = _graphs(view, canvas, now)
    first: Line = (*_name(view, canvas), *_work(now), *_replicas(now))
    if wide:
        first = (*first, ("   ", ""), waiting, ("  ", ""), replicas)
    lines = [first, *_why(view, canvas, now, max_lines=2 if full else 1)]
    if full and not wide:
        lines.append((("  waiting ", "dim"), waiting, ("  replicas ", "dim"), replicas))
    return lines


def _why(view: PoolView, canvas: Canvas, now: Numbers, *, max_lines: int) -> list[Line]:
    first, *more = _wrap(f"  {now.reason}  {one_line(now.message)}", canvas.width, indent="    ", max_lines=max_lines)
    cut = len(now.reason) + 2
    return [((first[:cut], _reason_style(view, now)), (first[cut:], "")), *(((part, ""),) for part in more)]


def _wrap(text: str, width: int, *, indent: str, max_lines: int) -> list[str]:
    return textwrap.wrap(
        text, width, subsequent_indent=indent, max_lines=max_lines, placeholder=" …", break_on_hyphens=False
    ) or [""]


def _name(view: PoolView, canvas: Canvas) -> Line:
    text = shorten(one_line(view.key.name), canvas.name_width, ellipsis="~" if canvas.ascii_only else "…")
    return ((f"{text:<{canvas.name_width}}", "bold"),)


def _work(now: Numbers) -> Line:
    none_waits = now.ready == 0 and now.oldest_job_s is None
    oldest_style = "bold red" if now.ready is None and now.oldest_job_s is None else "" if now.ready else "dim"
    values = (
        (count(now.ready), _number_style(now.ready, "yellow")),
        (count(now.running), _number_style(now.running, "green")),
        (count(now.scheduled), _number_style(now.scheduled, "cyan")),
        ("-" if none_waits else duration(now.oldest_job_s), oldest_style),
    )
    return _cells(values, _COLUMNS)


def _replicas(now: Numbers) -> Line:
    moving = now.target != now.ready_replicas
    values = (
        (count(now.busy), _number_style(now.busy, "green")),
        (count(now.ready_replicas), "" if now.ready_replicas else "dim"),
        (count(now.target), "bold" if moving else "" if now.target else "dim"),
        (f"{now.minimum}-{now.maximum}", "dim"),
    )
    return _cells(values, _REPLICA_COLUMNS)


def _cells(values: Sequence[tuple[str, str]], columns: Sequence[tuple[str, int]]) -> Line:
    pairs = zip(values, columns, strict=True)
    return tuple((f"{text:>{width}}", style) for (text, style), (_, width) in pairs)


def _number_style(number: int | None, style: str) -> str:
    if number is None:
        return "bold red"
    return style if number else "dim"


def _reason_style(view: PoolView, now: Numbers) -> str:
    if view.troubles or now.reason in (Reason.BROKER_UNREADABLE.value, Reason.FALLBACK.value):
        return "bold red"
    return "dim" if now.reason in _QUIET else "cyan"


def _spark_widths(canvas: Canvas) -> tuple[int, int]:
    if canvas.width >= _WIDE:
        spare = canvas.width - canvas.name_width - _COLUMNS_WIDTH - 5
        return spare - spare // 2, spare // 2
    spare = canvas.width - len("  waiting ") - len("  replicas ")
    return spare - spare // 2, spare // 2


def _graphs(view: PoolView, canvas: Canvas, now: Numbers) -> Line:
    widths = _spark_widths(canvas)
    start_s = now.time_s - canvas.window_s

    def graph(pairs: list[tuple[float, float | None]], width: int) -> str:
        values = resample(pairs, start_s=start_s, end_s=now.time_s, width=width)
        while values and values[0] is None:  # before the first reading there is nothing to say
            values.pop(0)
        return sparkline(values, ascii_only=canvas.ascii_only).ljust(width)

    waiting: list[tuple[float, float | None]] = [(point.time_s, point.backlog) for point in view.points]
    replicas: list[tuple[float, float | None]] = [(point.time_s, point.ready_replicas) for point in view.points]
    return (graph(waiting, widths[0]), "yellow"), (graph(replicas, widths[1]), "green")


def _footer(board: Board, canvas: Canvas) -> list[Line]:
    notices = sorted(
        (notice for view in board.pools.values() for notice in view.notices), key=lambda notice: notice.time_s
    )
    lines = [line for notice in notices[-_MAX_NOTICES:] for line in _notice(notice, canvas)]
    max_lines = 2 if canvas.height >= _TALL else 1
    for text in board.messages[-2:]:
        lines += [((part, "yellow"),) for part in _wrap(one_line(text), canvas.width, indent="  ", max_lines=max_lines)]
    return lines


def _notice(notice: Notice, canvas: Canvas) -> list[Line]:
    bad = notice.kind in BAD_NOTICES
    head = f"{clock(notice.time_s, canvas.zone)} {one_line(notice.key.name)}  "
    text = f"{head}{notice.kind.value}  {one_line(notice.message)}"
    max_lines = 2 if bad and canvas.height >= _TALL else 1
    first, *more = _wrap(text, canvas.width, indent=" " * 9, max_lines=max_lines)
    kind_end = len(head) + len(notice.kind.value)
    return [
        (
            (first[: len(head)], "dim"),
            (first[len(head) : kind_end], "bold red" if bad else "dim"),
            (first[kind_end:], "red" if bad else ""),
        ),
        *(((part, "red"),) for part in more),
    ]
