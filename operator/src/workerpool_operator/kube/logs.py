"""Log lines of the operator: JSON for machines or text for people, on standard output; never a secret.

Our loggers, Kopf's and those of libraries go through the same handler. What a line is about comes from ``extra``
(``pool``, ``namespace``, ``reason``; see :func:`about`) or from the object that Kopf attaches to its lines.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import sys
from typing import TextIO

from workerpool_operator.ports import CycleRecord, Notice, OutcomeKind, PoolKey
from workerpool_operator.report.numbers import troubles

log = logging.getLogger(__name__)

_NEVER_DEBUG = ("aiohttp", "asyncio", "kubernetes", "urllib3", "redis")
"""Libraries whose debug lines carry requests and answers, and so credentials."""

_SECRETS = (
    # redis://user:password@host: whatever stands before the last @ of the authority; passwords may hold a /
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s\"'<>]*@"), r"\1***@"),
    (re.compile(r"(?i)\b(bearer|authorization[\"']?\s*[:=]\s*[\"']?\w+)\s+[A-Za-z0-9._~+/=-]{12,}"), r"\1 ***"),
    (re.compile(r"(?i)\b(password|passwd|token)(\"?'?\s*[=:]\s*\"?'?)[^\s\"',;}]+"), r"\1\2***"),
)


def about(key: PoolKey, *, reason: str = "") -> dict[str, str]:
    """The ``extra`` of a line about a pool: ``log.info("...", extra=about(key))``."""
    return {"namespace": key.namespace, "pool": key.name} | ({"reason": reason} if reason else {})


def configure(*, json_lines: bool = True, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all log lines to the stream, replacing every handler of the root logger.

    Args:
        json_lines: One JSON object a line; else text.
        level: The least level to show: DEBUG, INFO, WARNING or ERROR.
        stream: Standard output when None.
    """
    handler = logging.StreamHandler(stream if stream is not None else sys.stdout)
    handler.setFormatter(JsonFormatter() if json_lines else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name in _NEVER_DEBUG:
        logging.getLogger(name).setLevel(max(logging.INFO, root.level))


def without_secrets(text: str) -> str:
    """The text with what looks like credentials replaced. The last line of defence: nothing should get here."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class JsonFormatter(logging.Formatter):
    """``time``, ``level``, ``logger``, ``message``, and ``namespace``, ``pool``, ``reason``, ``exception`` if any."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
            **_about(record),
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """``time LEVEL logger namespace/pool: message``, and the exception below it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, or more with an exception."""
        on = _about(record)
        where = "/".join(on[name] for name in ("namespace", "pool") if name in on)
        reason = f"[{on['reason']}] " if "reason" in on else ""
        message = record.getMessage().replace("\n", "\\n")
        line = f"{_time(record)} {record.levelname:<7} {record.name} {where + ': ' if where else ''}{reason}{message}"
        if record.exc_info and record.exc_info[0] is not None:
            line += "\n" + self.formatException(record.exc_info)
        return without_secrets(line)


def _time(record: logging.LogRecord) -> str:
    return dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _about(record: logging.LogRecord) -> dict[str, str]:
    found: dict[str, str] = {}
    ref = getattr(record, "k8s_ref", None)  # what Kopf attaches: apiVersion, kind, name, uid, namespace
    if isinstance(ref, dict):
        found |= {"namespace": str(ref.get("namespace") or ""), str(ref.get("kind") or "object"): str(ref.get("name"))}
        if "WorkerPool" in found:
            found["pool"] = found.pop("WorkerPool")
    for name in ("namespace", "pool", "reason"):
        value = getattr(record, name, None)
        if isinstance(value, str):
            found[name] = without_secrets(value)
    return {name: value for name, value in found.items() if value}


class DecisionLines:
    """A sink that logs changes of size, and what goes wrong with a pool: when it begins and when it ends."""

    def __init__(self) -> None:
        self._wrong: dict[PoolKey, frozenset[str]] = {}

    def record(self, record: CycleRecord) -> None:
        """Log what is new in this cycle, if anything is."""
        key, decision = record.key, record.decision
        if record.outcome.kind is OutcomeKind.APPLIED and decision.target != decision.current:
            extra = about(key, reason=decision.reason.value)
            more = f" ({record.outcome.message})" if record.outcome.message else ""
            log.info("scaled %d -> %d: %s%s", decision.current, decision.target, decision.message, more, extra=extra)
        wrong, before = troubles(record), self._wrong.get(key)
        if not wrong and before is None:
            return
        for trouble in wrong:
            if before is None or trouble.kind not in before:
                log.warning("%s", trouble.text, extra=about(key, reason=trouble.kind))
        if wrong:
            self._wrong[key] = frozenset(trouble.kind for trouble in wrong)
        else:
            del self._wrong[key]
            log.info("everything can be read and scaled again", extra=about(key, reason="Recovered"))

    def notice(self, notice: Notice) -> None:
        """Log what happened outside a cycle."""
        log.info("%s", notice.message, extra=about(notice.key, reason=notice.kind.value))

    def forget(self, key: PoolKey) -> None:
        """Forget a pool that is no more."""
        self._wrong.pop(key, None)
