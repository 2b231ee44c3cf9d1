"""Log lines: one JSON object a line on stderr, or text.

While a job runs, every line that its code writes, by whatever logger, says which job it is. No secret of the settings
is in any line.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from workerpool_worker.monitoring.redaction import Redaction, secrets_of
from workerpool_worker.runtime.process import is_child

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

# Libraries that tell of every connection and every statement at INFO.
_TALKATIVE = ("alembic", "celery", "fontTools", "fpdf", "kombu", "redis", "sqlalchemy", "urllib3")

_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OURS = frozenset({"fields", "job", "block", "data"})  # `data` is Celery's: a job's arguments
_NONE: Mapping[str, object] = {}

_job: ContextVar[Mapping[str, object]] = ContextVar("workerpool_job", default=_NONE)
_job_of_process: Mapping[str, object] = _NONE


@contextmanager
def job_fields(*, job_id: str, correlation_id: str | None, task: str, queue: str | None) -> Iterator[None]:
    """Have every line logged meanwhile say which job it belongs to.

    In a worker's child, lines of other threads too: all that runs there runs for the one job. Elsewhere, as in a
    producer that runs jobs inline, only those of the same context.
    """
    global _job_of_process  # noqa: PLW0603 - see above
    fields = {"job_id": job_id, "correlation_id": correlation_id or job_id, "task": task, "queue": queue}
    known = {name: value for name, value in fields.items() if value is not None}
    before, token = _job_of_process, _job.set(known)
    if is_child():
        _job_of_process = known
    try:
        yield
    finally:
        _job_of_process = before
        _job.reset(token)


class JobFilter(logging.Filter):
    """Gives every record the fields of the job it was written in, as `record.job`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let it pass."""
        record.job = _job.get() or _job_of_process
        return True


class JsonLines(logging.Formatter):
    """A record as one JSON object; `extra={"name": value}` and our own `extra={"fields": {...}}` add to it."""

    def __init__(self, redaction: Redaction | None = None) -> None:
        super().__init__()
        self._redaction = redaction or Redaction()

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        more = {**_extras(record), **getattr(record, "job", _NONE), **getattr(record, "fields", _NONE)}
        line |= {name: value for name, value in more.items() if name not in line}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return self._redaction.clean(json.dumps(line, default=str, ensure_ascii=False))


class TextLines(logging.Formatter):
    """The same for people."""

    def __init__(self, redaction: Redaction | None = None) -> None:
        super().__init__()
        self._redaction = redaction or Redaction()

    def format(self, record: logging.LogRecord) -> str:
        """The line, or several."""
        fields = {**getattr(record, "job", _NONE), **getattr(record, "fields", _NONE)}
        if fields.get("correlation_id") == fields.get("job_id"):
            fields.pop("correlation_id", None)
        words = " ".join(f"{name}={value}" for name, value in fields.items())
        block = getattr(record, "block", None)
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        text = f"{clock} {record.levelname:<7} {block or f'{record.getMessage()} {words}'.rstrip()}"
        parts = [text, self.formatException(record.exc_info) if record.exc_info else "", record.stack_info or ""]
        return self._redaction.clean("\n".join(part for part in parts if part))


def configure(settings: Settings) -> None:
    """Send all lines to stderr; those of Celery and other libraries only from WARNING on, unless the level is DEBUG."""
    redaction = Redaction(secrets_of(settings))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(redaction) if settings.log_format == "json" else TextLines(redaction))
    handler.addFilter(JobFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    debug = settings.log_level == "DEBUG"
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.INFO if debug else max(logging.WARNING, root.level))
    # Jobs that take Celery's own logger speak as loudly as others.
    logging.getLogger("celery.task").setLevel(settings.log_level)
    if not debug:
        # Their traceback of a failed job would repeat our outcome line at length.
        logging.getLogger("celery.app.trace").setLevel(logging.CRITICAL)
        logging.getLogger("celery.worker.request").setLevel(logging.CRITICAL)
        # "Connection lost, retrying" with the exception's repr: PoolConsumer says it in one line.
        logging.getLogger("celery.worker.consumer.consumer").setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD | _OURS}
