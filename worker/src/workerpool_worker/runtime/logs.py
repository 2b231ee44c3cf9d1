"""Log lines: one JSON object a line on stderr, or text."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workerpool_worker.settings import Settings


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
