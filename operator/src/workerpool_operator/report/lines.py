"""Plain lines for a standard output that is no terminal: one when something changes, one now and then while busy."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from workerpool_operator.core.decision import Reason
from workerpool_operator.ports import CycleRecord, Notice, PoolKey
from workerpool_operator.report.humanise import clock, count, duration, one_line
from workerpool_operator.report.numbers import Numbers, Trouble, numbers, troubles

HEARTBEAT_S = 10.0
"""A pool that is not idle has a line at least this often."""

REASON_HOLD_S = 1.0
"""A reason that flips back and forth while the size stays has a line at most this often."""

_REASON_WIDTH = max(len(reason.value) for reason in Reason)
_SIZE_WIDTH = 8


@dataclass(kw_only=True, slots=True)
class _Said:
    """What was last printed of a pool."""

    move: tuple[int, int] | None
    target: int
    reason: str
    troubles: frozenset[str]
    time_s: float


class PlainLines:
    """A sink that prints: a line when a pool's size, reason or trouble changes, each notice, and heartbeats.

    Once the reader of the output is gone (a closed pipe), it is silent, and says so once to ``on_closed``.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        heartbeat_s: float = HEARTBEAT_S,
        zone: dt.tzinfo | None = None,
        on_closed: Callable[[], None] | None = None,
    ) -> None:
        """Nothing is printed yet.

        Args:
            stream: Where to print, standard output when None.
            heartbeat_s: The least time in seconds between two lines of a busy pool where nothing changes.
            zone: The time zone of the times of day, local time when None.
            on_closed: Called once when nobody reads the output any more.
        """
        self._stream = stream if stream is not None else sys.stdout
        self._heartbeat_s = heartbeat_s
        self._zone = zone
        self._on_closed = on_closed
        self._said: dict[PoolKey, _Said] = {}
        self._namespaces: set[str] = set()
        self._name_width = 8
        self.closed = False
        """Whether the reader of the output is gone."""

    def record(self, record: CycleRecord) -> None:
        """Print what changed, if anything did."""
        now, wrong = numbers(record), troubles(record)
        said = self._said.get(record.key)
        changed = said is None or _changed(said, now, wrong)
        if not changed and not (said and self._heartbeat_due(said, now)):
            if said:  # a size that was reached: the next move is news even when it is the same again
                said.move = _move(now)
            return
        self._said[record.key] = _Said(
            move=_move(now), target=now.target, reason=now.reason, troubles=_kinds(wrong), time_s=now.time_s
        )
        text = now.message if changed else _state(now)
        self._print(now.time_s, record.key, _size(now), f"{now.reason:<{_REASON_WIDTH}}  {text}")
        if changed:
            self._print_troubles(record.key, now.time_s, said.troubles if said else frozenset(), wrong)

    def notice(self, notice: Notice) -> None:
        """Print the notice."""
        self._print(notice.time_s, notice.key, "", f"{notice.kind.value:<{_REASON_WIDTH}}  {notice.message}")

    def say(self, line: str) -> None:
        """Print a line that belongs to no pool."""
        self._write(one_line(line))

    def _heartbeat_due(self, said: _Said, now: Numbers) -> bool:
        return not _idle(now) and now.time_s - said.time_s >= self._heartbeat_s

    def _print_troubles(self, key: PoolKey, time_s: float, before: frozenset[str], after: tuple[Trouble, ...]) -> None:
        for trouble in after:
            if trouble.kind not in before:
                self._print(time_s, key, "", f"{'Problem':<{_REASON_WIDTH}}  {trouble.text}")
        if before and not after:
            self._print(time_s, key, "", f"{'Recovered':<{_REASON_WIDTH}}  everything can be read and scaled again")

    def _print(self, time_s: float, key: PoolKey, size: str, text: str) -> None:
        self._namespaces.add(key.namespace)
        name = one_line(key.name if len(self._namespaces) == 1 else str(key))
        self._name_width = max(self._name_width, len(name))
        line = f"{clock(time_s, self._zone)} {name:<{self._name_width}} {size:>{_SIZE_WIDTH}}  {text}"
        self._write(one_line(line))

    def _write(self, line: str) -> None:
        if self.closed:
            return
        try:
            print(line, file=self._stream, flush=True)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._write(line.encode(encoding, "replace").decode(encoding))
        except (BrokenPipeError, ValueError):  # ValueError: the stream was closed
            self._end()
        except OSError:
            # a full disk behind a redirection: this line is lost, the next may not be
            return

    def _end(self) -> None:
        self.closed = True
        if self._stream is sys.stdout:
            # what is left in its buffer must not raise again when the interpreter flushes it at exit
            with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
        if self._on_closed:
            self._on_closed()


def _move(now: Numbers) -> tuple[int, int] | None:
    return (now.current, now.target) if now.current != now.target else None


def _changed(said: _Said, now: Numbers, wrong: tuple[Trouble, ...]) -> bool:
    move = _move(now)
    if (move is not None and move != said.move) or now.target != said.target or _kinds(wrong) != said.troubles:
        return True
    return now.reason != said.reason and now.time_s - said.time_s >= REASON_HOLD_S


def _kinds(wrong: tuple[Trouble, ...]) -> frozenset[str]:
    return frozenset(trouble.kind for trouble in wrong)


def _idle(now: Numbers) -> bool:
    return now.ready == 0 and now.running == 0 and now.current == now.target


def _size(now: Numbers) -> str:
    return f"{now.current} -> {now.target}" if now.current != now.target else f"{now.target}"


def _state(now: Numbers) -> str:
    parts = [f"{count(now.ready)} waiting", f"{count(now.running)} running"]
    if now.scheduled:
        parts.append(f"{count(now.scheduled)} scheduled")
    if now.oldest_job_s is not None:
        parts.append(f"oldest {duration(now.oldest_job_s)}")
    parts.append(f"{now.ready_replicas} of {now.target} ready")
    return ", ".join(parts)
