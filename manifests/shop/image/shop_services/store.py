"""The mails received, in one file that only grows: a mail that was acknowledged outlives the process.

Each line is a JSON object with the mail's headers and its whole text in base64. A line is on disk (fsync) before the
sender hears "250 OK", so a line that a crash cut short belongs to a mail nobody was promised: it is dropped at start.
"""

from __future__ import annotations

import base64
import email
import json
import os
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from email import policy
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Mail:
    """What is known of a mail besides its text. `index` counts from 1, `received_at` is in Unix seconds."""

    index: int
    received_at: float
    sender: str
    to: list[str]
    subject: str
    job_id: str | None
    business_id: str | None
    message_id: str | None
    size_bytes: int

    def as_json(self) -> dict[str, Any]:
        """As `GET /mails` shows it: headers under their own names."""
        return {
            "index": self.index,
            "received_at": self.received_at,
            "from": self.sender,
            "to": self.to,
            "subject": self.subject,
            "X-Job-Id": self.job_id,
            "X-Business-Id": self.business_id,
            "Message-ID": self.message_id,
            "size": self.size_bytes,
        }


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a mail's line lies in the file, in bytes."""

    start: int
    length: int


class StoreError(Exception):
    """The file holds something that is no torn last line; the text says where."""


class Store:
    """Keeps mails. Safe to use from several threads; one process a file.

    Args:
        path: The file; made if missing, cut back to its last whole line if not.

    Raises:
        StoreError: a line in the middle cannot be read; nothing was changed.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._lock = threading.Lock()
        self._mails: list[Mail] = []
        self._places: list[_Place] = []
        self._end = self._load(path)
        self._file = path.open("r+b", buffering=0)
        self._file.truncate(self._end)

    def add(self, content: bytes, *, sender: str, to: list[str]) -> Mail:
        """Keep a mail; it is on disk when this returns.

        Raises:
            OSError: it could not be written; nothing of it is left.
        """
        headers = email.message_from_bytes(content, policy=policy.default)
        with self._lock:
            mail = Mail(
                index=len(self._mails) + 1,
                received_at=time.time(),
                sender=sender,
                to=to,
                subject=_header(headers["Subject"]) or "",
                job_id=_header(headers["X-Job-Id"]),
                business_id=_header(headers["X-Business-Id"]),
                message_id=_header(headers["Message-ID"]),
                size_bytes=len(content),
            )
            line = json.dumps({**asdict(mail), "content": base64.b64encode(content).decode()}).encode() + b"\n"
            self._write(line)
            self._places.append(_Place(start=self._end, length=len(line)))
            self._mails.append(mail)
            self._end += len(line)
        return mail

    def mails(self, *, since: int = 0) -> list[Mail]:
        """The mails whose index is greater than `since`, oldest first."""
        with self._lock:
            return self._mails[max(0, since) :]

    def content(self, index: int) -> bytes | None:
        """A mail as it came in; None where there is none of that index."""
        with self._lock:
            if not 1 <= index <= len(self._places):
                return None
            place = self._places[index - 1]
            line = os.pread(self._file.fileno(), place.length, place.start)
        return base64.b64decode(json.loads(line)["content"])

    def counts(self) -> dict[str, Any]:
        """How many mails there are, and which jobs or Message-IDs were seen more than once, and how often."""
        mails = self.mails()
        jobs = Counter(mail.job_id for mail in mails if mail.job_id)
        messages = Counter(mail.message_id for mail in mails if mail.message_id)
        return {
            "total": len(mails),
            "jobs": len(jobs),
            "without_job_id": len(mails) - jobs.total(),
            "duplicates": {job: count for job, count in jobs.items() if count > 1},
            "duplicate_message_ids": {one: count for one, count in messages.items() if count > 1},
        }

    def clear(self) -> int:
        """Forget every mail; how many there were. The next one has index 1."""
        with self._lock:
            self._file.truncate(0)
            os.fsync(self._file.fileno())
            count = len(self._mails)
            self._mails, self._places, self._end = [], [], 0
        return count

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _write(self, line: bytes) -> None:
        try:
            written = 0
            while written < len(line):
                written += os.pwrite(self._file.fileno(), line[written:], self._end + written)
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self._end)
            raise

    def _load(self, path: Path) -> int:
        """Read what an earlier process kept; where its last whole line ends."""
        end = 0
        with path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                try:
                    record = json.loads(line)
                    del record["content"]
                    self._mails.append(Mail(**record))
                except (ValueError, KeyError, TypeError) as error:
                    raise StoreError(f"{path}: line {len(self._mails) + 1} is no mail; move the file away") from error
                self._places.append(_Place(start=end, length=len(line)))
                end += len(line)
        return end


def _header(value: object) -> str | None:
    return None if value is None else str(value).strip()
