"""Log lines: one JSON object a line on stderr, and one line a job that ended."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings

_log = logging.getLogger("workerpool_worker.jobs")


class JsonLines(logging.Formatter):
    """A record as one JSON object; `extra={"fields": {...}}` adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextLines(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = " ".join(f"{name}={value}" for name, value in getattr(record, "fields", {}).items())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        text = f"{clock} {record.levelname:<7} {record.getMessage()} {fields}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(settings: Settings) -> None:
    """Send our lines to stderr; Celery's and kombu's only from WARNING on, unless the level is DEBUG."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    debug = settings.log_level == "DEBUG"
    root.setLevel(logging.INFO if debug else logging.WARNING)
    logging.getLogger("workerpool_worker").setLevel(settings.log_level)
    if not debug:
        # Their traceback of a failed job would repeat our outcome line at length.
        logging.getLogger("celery.app.trace").setLevel(logging.CRITICAL)
        logging.getLogger("celery.worker.request").setLevel(logging.CRITICAL)
        # "Connection lost, retrying" with the exception's repr: PoolConsumer says it in one line.
        logging.getLogger("celery.worker.consumer.consumer").setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)


def job_ended(
    *, job_id: str, task: str, queue: str, outcome: str, seconds: float, wait_s: float | None, **more: object
) -> None:
    """One line a try of a job: how it ended, how long it ran and how long it had waited, in seconds."""
    fields: dict[str, object] = {"job_id": job_id, "task": task, "queue": queue, "outcome": outcome}
    fields["seconds"] = round(seconds, 4)
    fields["wait_seconds"] = None if wait_s is None else round(wait_s, 3)
    fields |= {name: value for name, value in more.items() if value is not None}
    level = logging.ERROR if outcome == "failed" else logging.INFO
    _log.log(level, "job %s", outcome, extra={"fields": fields})


def preload_failed(error: Exception) -> None:
    """A fresh child could not get ready ahead of its first job."""
    _log.warning("not ready yet: %s: %s", type(error).__name__, error)
