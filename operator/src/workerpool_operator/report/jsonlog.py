"""Every decision as one line of JSON: the record that graphs, tests and questions are answered from later."""

from __future__ import annotations

import json
import os
from pathlib import Path

from workerpool_operator.ports import CycleRecord, Notice
from workerpool_operator.report.errors import ReportError
from workerpool_operator.report.explain import logged_trace
from workerpool_operator.report.fanout import Say, say_on_stderr
from workerpool_operator.report.humanise import plural
from workerpool_operator.report.numbers import numbers


def decision_line(record: CycleRecord) -> str:
    """One decision as JSON, without the line break.

    The keys and their order are a contract: ``time`` (Unix seconds), ``pool``, ``ready``, ``running``, ``scheduled``,
    ``oldest_job_s``, ``current``, ``target``, ``reason``, ``message``, ``namespace``, ``trace`` (the rules that
    changed the answer, each with ``rule``, ``after``, ``reason``, ``message``) and ``outcome`` (``kind``, ``message``).
    What could not be read is null.
    """
    now = numbers(record)
    return json.dumps(
        {
            "time": float(now.time_s),
            "pool": record.key.name,
            "ready": now.ready,
            "running": now.running,
            "scheduled": now.scheduled,
            "oldest_job_s": now.oldest_job_s,
            "current": now.current,
            "target": now.target,
            "reason": now.reason,
            "message": now.message,
            "namespace": record.key.namespace,
            "trace": logged_trace(record.decision.trace),
            "outcome": {"kind": record.outcome.kind.value, "message": record.outcome.message},
        }
    )


class DecisionLog:
    """A sink that appends one JSON line for every decision, each written whole before the next is taken.

    When the disk is full later on, that is said once, decisions are counted as lost, and writing resumes by itself; a
    line that was cut in the middle is completed first, so that the file stays readable line by line.
    """

    def __init__(self, path: Path | str, *, on_trouble: Say = say_on_stderr) -> None:
        """Open the file, creating it when its folder exists.

        Args:
            path: Where to append.
            on_trouble: Takes one line when writing begins to fail, and one when it works again.

        Raises:
            ReportError: It cannot be opened; the text names the file and what to do.
        """
        self.path = Path(path)
        self._on_trouble = on_trouble
        self._torn = b""  # the rest of a line of which a part is already in the file
        self._failing = False
        self._lost = 0
        self._closed = False
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        try:
            self._file = os.open(self.path, flags, 0o644)
        except (OSError, ValueError) as error:
            raise ReportError(_cannot_open(self.path, error)) from error

    def record(self, record: CycleRecord) -> None:
        """Append the decision."""
        if self._closed:
            return
        data = self._torn + decision_line(record).encode() + b"\n"
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError as error:
            self._missed(data, written, error)
            return
        self._torn = b""
        if self._failing:
            lost, self._failing, self._lost = self._lost, False, 0
            self._on_trouble(f"workerpool: {self.path}: writing again; {plural(lost, 'decision')} lost")

    def notice(self, notice: Notice) -> None:
        """Nothing: this file holds decisions only, so that every line has the same keys."""

    def close(self) -> None:
        """Close the file; records after that are ignored."""
        if not self._closed:
            self._closed = True
            os.close(self._file)

    def _missed(self, data: bytes, written: int, error: OSError) -> None:
        into_line = written - len(self._torn)
        if into_line <= 0:
            self._lost += 1
        # what is missing of the line that is half in the file must come before anything else
        self._torn = data[written:] if into_line > 0 else self._torn[written:]
        if not self._failing:
            self._failing = True
            what = error.strerror or str(error)
            self._on_trouble(
                f"workerpool: {self.path}: decisions are not being logged: {what}; the pools go on without the log,"
                " and it resumes when the file can be written again"
            )


def _cannot_open(path: Path, error: OSError | ValueError) -> str:
    what = f"cannot write the decision log {str(path)!r}: "
    if isinstance(error, IsADirectoryError) or path.is_dir():
        return what + "it is a folder; name a file, for example " + repr(str(path / "decisions.jsonl"))
    if isinstance(error, FileNotFoundError):
        return what + f"the folder {str(path.parent)!r} does not exist; create it or choose another file"
    if isinstance(error, NotADirectoryError):
        return what + f"{str(path.parent)!r} is not a folder; choose another file"
    if isinstance(error, PermissionError):
        return what + "permission denied; choose a file you may write or change its rights"
    if isinstance(error, OSError) and error.strerror:
        return what + error.strerror[0].lower() + error.strerror[1:] + "; choose another file"
    return what + f"{error}; choose another file"
